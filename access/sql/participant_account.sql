-- A participant that is not deleted.
-- $1 uuid or null, $2 static token or null
-- -> id, uuid, name, is_enabled, has_token, id_project, token, key of static tokens (null: the installation has none); no row: unknown
-- Index: t_participants_participant_uuid_key or t_participants_participant_token_key
SELECT id, uuid, name, is_enabled, has_token, id_project, token, key FROM terasocket.participant_account(by_uuid => $1, by_token => $2)
