-- Consumes connect tokens, as redeem.sql one.
-- $1 text[] kinds, $2 bytea[] SHA-256 of the tokens -> place (from 1), whether somebody else has it in hand, id, uuid, name, counter; a
-- place without a row: refused
-- Index: the primary key of connect_tokens
SELECT r.place, r.is_held, coalesce(r.id, 0), coalesce(r.uuid, ''), coalesce(r.name, ''), coalesce(r.counter, 0)
FROM   terasocket.redeem_connect_tokens($1, $2) r
