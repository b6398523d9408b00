-- Takes an attempt at the password of this username, and looks up its account: exact match, the first, not deleted.
-- $1 SHA-256 of the username, $2 the username (null: an impossible one)
-- -> attempts (null: none left), seconds to wait; id (null: unknown), uuid, name, password hash, may log in, id_project, token
-- Index: the primary key of login_attempts; t_participants is scanned, as by OpenTera
SELECT c.attempts, c.seconds, p.id, coalesce(p.uuid, ''), coalesce(p.name, ''), coalesce(p.password, ''),
       coalesce(p.is_enabled AND p.has_login, false), coalesce(p.id_project, 0), p.token
FROM   terasocket.count_attempt('participant', $1) c LEFT JOIN terasocket.participant_account(by_username => $2) p ON true
