-- Whether a token is disabled, and the keys that may have signed it.
-- $1 "user" or "participant", $2 SHA-256 of the token -> is_disabled, keys (the one that signs first)
-- Index: the primary key of disabled_tokens
SELECT is_disabled, keys FROM terasocket.token_check($1, $2)
