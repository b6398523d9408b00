-- What a user's token is made of.
-- $1 id_user -> key that signs, jti, uuid, name, is_superadmin, service_access (JSON object: service key -> array of roles); no row: gone or disabled
-- Index: the primary keys
SELECT terasocket.signing_key('user'), gen_random_uuid()::text, uuid, name, is_superadmin, service_access
FROM   terasocket.user_token_claims($1)
