-- Consumes connect tokens, as redeem.sql does one.
-- $1 text[] kinds, $2 bytea[] SHA-256 of the tokens -> position (from 1), whether another transaction holds it, id, uuid, name, counter;
-- no row for a position: refused
-- Index: the primary key of connect_tokens
SELECT r.place, r.is_held, coalesce(r.id, 0), coalesce(r.uuid, ''), coalesce(r.name, ''), coalesce(r.counter, 0)
FROM   terasocket.redeem_connect_tokens($1, $2) r
