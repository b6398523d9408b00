-- What a participant's dynamic token is made of.
-- $1 id_participant -> key that signs, jti, uuid, name; no row: gone or disabled
-- Index: the primary keys
SELECT terasocket.signing_key('participant'), gen_random_uuid()::text, uuid, name
FROM   terasocket.participant_account(by_id => $1) WHERE is_enabled
