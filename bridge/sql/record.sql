-- OpenTera's user manager was told of these.
-- $1 bigint: the term; $2 text[], $3 integer[]: kinds and ids; $4 boolean[]: whether they came
-- Index: bridge_told_pkey
SELECT terasocket.bridge_record($1, $2, $3, $4)
