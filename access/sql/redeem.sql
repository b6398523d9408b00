-- Consumes a connect token (one DELETE ... RETURNING).
-- $1 kind, $2 token -> id, uuid, name, counter of the token; no row: refused
-- Index: the primary key of connect_tokens
SELECT id, uuid, name, counter FROM terasocket.redeem_connect_token($1, $2)
