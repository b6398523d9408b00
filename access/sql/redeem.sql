-- Consumes a connect token (one DELETE ... RETURNING).
-- $1 kind, $2 token -> id, uuid, name, the snapshot in which it was redeemed; no row: refused
-- Index: the primary key of connect_tokens
SELECT id, uuid, name, pg_current_snapshot()::text FROM terasocket.redeem_connect_token($1, $2)
