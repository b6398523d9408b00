-- Accounts of users, for the door, and what it changes in them.

-- user_account: a user that is not deleted, by one of the three arguments; it may be disabled. password is its bcrypt hash. (OpenTera
-- before 1.3 lacks the columns that are read from the row as JSON.)
CREATE OR REPLACE FUNCTION terasocket.user_account(by_username text DEFAULT NULL, by_uuid text DEFAULT NULL, by_id integer DEFAULT NULL)
RETURNS TABLE (id integer, uuid text, name text, username text, password text, is_enabled boolean, must_change boolean, needs_2fa boolean, has_otp boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT u.id_user, u.user_uuid::text, concat_ws(' ', u.user_firstname, u.user_lastname), u.user_username::text, u.user_password::text, u.user_enabled,
           coalesce((r ->> 'user_force_password_change')::boolean, false), coalesce((r ->> 'user_2fa_enabled')::boolean, false),
           coalesce((r ->> 'user_2fa_otp_enabled')::boolean AND r ->> 'user_2fa_otp_secret' <> '', false)
    FROM  (SELECT n.id_user FROM OPENTERA.t_users n WHERE n.user_username = by_username
           UNION ALL
           SELECT n.id_user FROM OPENTERA.t_users n WHERE n.user_uuid = by_uuid
           UNION ALL
           SELECT by_id WHERE by_id IS NOT NULL) who (id_user)
    JOIN   OPENTERA.t_users u ON u.id_user = who.id_user AND u.deleted_at IS NULL, to_jsonb(u) r;
END $$;

-- login_session_user: the user of a second step. No row: unknown, expired, or a deleted or disabled user.
CREATE OR REPLACE FUNCTION terasocket.login_session_user(hash bytea) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT u.id_user
            FROM   terasocket.login_sessions s
            JOIN   OPENTERA.t_users u ON u.id_user = s.id_user AND u.user_enabled AND u.deleted_at IS NULL
            WHERE  s.hash = login_session_user.hash AND s.expires_at > clock_timestamp());
END $$;

-- user_token_claims: OpenTera's claims in the token of a user. service_access lists the global roles of its groups, by the key of their
-- service; a superadmin has none. No row: deleted or disabled.
CREATE OR REPLACE FUNCTION terasocket.user_token_claims(id_user integer)
RETURNS TABLE (uuid text, name text, is_superadmin boolean, service_access jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT u.user_uuid::text, concat_ws(' ', u.user_firstname, u.user_lastname), u.user_superadmin,
           coalesce((SELECT jsonb_object_agg(role.service_key, role.names)
                     FROM  (SELECT s.service_key, jsonb_agg(DISTINCT r.service_role_name ORDER BY r.service_role_name) AS names
                            FROM   OPENTERA.t_users_users_groups m
                            JOIN   OPENTERA.t_users_groups g     ON g.id_user_group = m.id_user_group AND g.deleted_at IS NULL
                            JOIN   OPENTERA.t_services_access sa ON sa.id_user_group = g.id_user_group AND sa.deleted_at IS NULL
                            JOIN   OPENTERA.t_services_roles r   ON r.id_service_role = sa.id_service_role AND r.deleted_at IS NULL
                                                                AND r.id_project IS NULL AND r.id_site IS NULL
                            JOIN   OPENTERA.t_services s         ON s.id_service = r.id_service AND s.deleted_at IS NULL
                            WHERE  m.id_user = u.id_user AND m.deleted_at IS NULL AND NOT u.user_superadmin
                            GROUP  BY s.service_key) role), '{}')
    FROM   OPENTERA.t_users u WHERE u.id_user = user_token_claims.id_user AND u.user_enabled AND u.deleted_at IS NULL;
END $$;

-- The last time step of which a user has shown the code: a code is valid once.

-- otp_secret: the secret of a user with two-factor authentication by codes, null otherwise.
CREATE OR REPLACE FUNCTION terasocket.otp_secret(id_user integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT nullif(u.user_2fa_otp_secret, '') FROM OPENTERA.t_users u
            WHERE u.id_user = otp_secret.id_user AND u.user_2fa_enabled AND u.user_2fa_otp_enabled AND u.user_enabled AND u.deleted_at IS NULL);
END $$;

-- accept_otp: false if a code of this step or of a later one was accepted before. who: as in login_attempts.
CREATE OR REPLACE FUNCTION terasocket.accept_otp(id_user integer, step bigint, who bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO terasocket.otp_steps AS o (id_user, step) VALUES (accept_otp.id_user, accept_otp.step)
    ON CONFLICT ON CONSTRAINT otp_steps_pkey DO UPDATE SET step = excluded.step WHERE o.step < excluded.step;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM terasocket.forget_attempts('otp', accept_otp.who);
    RETURN true;
END $$;

-- otp_blocked: whether a user has no attempts left.
CREATE OR REPLACE FUNCTION terasocket.otp_blocked(who bytea) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM terasocket.login_attempts a
                   WHERE a.kind = 'otp' AND a.who = otp_blocked.who AND a.attempts >= 5 AND a.expires_at > clock_timestamp());
END $$;

-- set_otp: false if the user is not to use two-factor authentication, or has a secret already.
CREATE OR REPLACE FUNCTION terasocket.set_otp(id_user integer, secret text, with_email boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE OPENTERA.t_users u
    SET    user_2fa_otp_enabled = true, user_2fa_otp_secret = set_otp.secret, user_2fa_email_enabled = set_otp.with_email
    WHERE  u.id_user = set_otp.id_user AND u.user_2fa_enabled AND u.user_enabled AND u.deleted_at IS NULL
      AND  NOT (u.user_2fa_otp_enabled AND coalesce(u.user_2fa_otp_secret, '') <> '');
    RETURN FOUND;
END $$;

-- change_password: false if the password need not be changed, or old is no longer its hash. Both are bcrypt hashes.
CREATE OR REPLACE FUNCTION terasocket.change_password(id_user integer, old text, new text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE OPENTERA.t_users u SET user_password = change_password.new, user_force_password_change = false
    WHERE  u.id_user = change_password.id_user AND u.user_force_password_change AND u.user_password = change_password.old
      AND  u.user_enabled AND u.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM terasocket.login_sessions s WHERE s.id_user = change_password.id_user;
    RETURN true;
END $$;
