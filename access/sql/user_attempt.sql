-- Takes an attempt at the password of this username, and looks up its account: exact match, not deleted.
-- $1 SHA-256 of the username, $2 the username (null: an impossible one)
-- -> attempts (null: none left), seconds to wait; id (null: unknown), uuid, name, password hash, is_enabled, must_change, needs_2fa,
-- has_otp
-- Index: the primary key of login_attempts, t_users_user_username_key
SELECT c.attempts, c.seconds, u.id, coalesce(u.uuid, ''), coalesce(u.name, ''), coalesce(u.password, ''), coalesce(u.is_enabled, false),
       coalesce(u.must_change, false), coalesce(u.needs_2fa, false), coalesce(u.has_otp, false)
FROM   terasocket.count_attempt('user', $1) c LEFT JOIN terasocket.user_account(by_username => $2) u ON true
