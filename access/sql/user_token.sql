-- The contents of a user's token.
-- $1 id_user -> signing key, jti, uuid, name, is_superadmin, service_access (JSON object: service key -> array of roles); no row: deleted
-- or disabled
-- Index: the primary keys
SELECT terasocket.signing_key('user'), gen_random_uuid()::text, uuid, name, is_superadmin, service_access
FROM   terasocket.user_token_claims($1)
