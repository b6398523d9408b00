-- Stores the status of an online device, and announces it.
-- $1 id_device, $2 status (JSON text), $3 its timestamp (text of a number) -> false: the device is offline
-- Index: the primary key of online
SELECT terasocket.device_status($1, $2, $3::text::numeric)
