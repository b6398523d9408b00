-- A user that is not deleted.
-- $1 uuid or null, $2 id or null -> id, uuid, name, username, is_enabled, must_change, needs_2fa, has_otp; no row: unknown
-- Index: t_users_user_uuid_key or the primary key
SELECT id, uuid, name, username, is_enabled, must_change, needs_2fa, has_otp FROM terasocket.user_account(by_uuid => $1, by_id => $2)
