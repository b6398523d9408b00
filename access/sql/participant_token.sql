-- The contents of a participant's dynamic token.
-- $1 id_participant -> signing key, jti, uuid, name; no row: deleted or disabled
-- Index: the primary keys
SELECT terasocket.signing_key('participant'), gen_random_uuid()::text, uuid, name
FROM   terasocket.participant_account(by_id => $1) WHERE is_enabled
