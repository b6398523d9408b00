-- Whether a token is disabled, and what it may be signed with.
-- $1 "user" or "participant", $2 SHA-256 of the token -> is_disabled, keys (the one that signs first)
-- Index: the primary key of disabled_tokens
SELECT is_disabled, keys FROM terasocket.token_check($1, $2)
