-- Records that OpenTera's user manager was told that these principals disconnected.
-- $1 bigint: the term; $2 text[], $3 integer[]: kinds and ids
-- Index: bridge_told_pkey
SELECT terasocket.bridge_record($1, $2, $3)
