-- Closes the sockets of a user, participant or device, for a user or a service.
-- $1 caller ("user", "service"), $2 its id, $3 kind of the target, $4 its id (null: by UUID), $5 its UUID -> done, self or forbidden
-- Index: the primary keys and the unique keys of the UUIDs
SELECT terasocket.disconnect($1, $2, $3, $4, $5)
