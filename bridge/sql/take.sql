-- Writes messages from Redis in one transaction.
-- $1 bigint: the term; $2 bigint: number of items written before; $3 bytea: mark of the last message; $4 integer: how many items of it
-- are written then, 0: all; $5 text[], $6 text[], $7 text[]: kind, place and content of each item (bridge_take)
-- Result: number from 1, SQLSTATE and reason of each refused item; or the number of items written before, and 00000. SQLSTATE
-- TB001: another gateway holds the bridge
-- Index: those of publish()
SELECT t.n, t.state, t.problem FROM terasocket.bridge_take($1, $2, $3, $4, $5, $6, $7) t
