-- Writes what came from Redis, in one transaction.
-- $1 bigint: the term; $2 bigint: how many items it has written before; $3 bytea: mark of its last message
-- $4 text[], $5 text[], $6 text[]: of each item what it is, its place and its content (bridge_take)
-- Result: of each item that was refused its number from 1, SQLSTATE and why; or how many were written before, and 00000. SQLSTATE TB001: the bridge is another's
-- Index: those of publish()
SELECT t.n, t.state, t.problem FROM terasocket.bridge_take($1, $2, $3, $4, $5, $6) t
