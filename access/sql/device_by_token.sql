-- The device with this static token, and the key that signs such tokens.
-- $1 token -> id, uuid, name, is_enabled, key (null: the installation has none); no row: unknown or deleted
-- Index: t_devices_device_token_key
SELECT id, uuid, name, is_enabled, key FROM terasocket.device_by_token($1)
