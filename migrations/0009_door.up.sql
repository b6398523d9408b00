-- The door: what logging in, and out, keeps for the whole cluster (OpenTera's sheet login).

-- ---- Signing keys: several a name. One signs, the one that never retires; those before it verify until they retire.
ALTER TABLE terasocket.signing_keys DROP CONSTRAINT signing_keys_pkey;
ALTER TABLE terasocket.signing_keys
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN retires_at timestamptz,
    ADD CONSTRAINT signing_keys_name CHECK (name IN ('user', 'participant', 'service'));
CREATE UNIQUE INDEX signing_keys_signs ON terasocket.signing_keys (name) WHERE retires_at IS NULL;
COMMENT ON COLUMN terasocket.signing_keys.retires_at IS 'null: the key that signs; else it verifies until then';

-- random_text: base64url of 32 random bytes. PostgreSQL's strong random source is in reach only through UUIDs of 122
-- random bits: three make up 256.
CREATE FUNCTION terasocket.random_text() RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT rtrim(translate(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
                                  'base64'), '+/', '-_'), '=')
$$;

-- signing_key: the key that signs, 32 random characters; made when it is needed for the first time. Whoever may execute
-- it may pass for anybody of that name.
CREATE FUNCTION terasocket.signing_key(name text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_key text;
BEGIN
    LOOP
        SELECT k.key INTO found_key FROM terasocket.signing_keys k WHERE k.name = signing_key.name AND k.retires_at IS NULL;
        IF FOUND THEN
            RETURN found_key;
        END IF;
        -- another session may do the same at this moment: then its key counts
        INSERT INTO terasocket.signing_keys (name, key) VALUES (signing_key.name, left(terasocket.random_text(), 32))
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- service_token_key: as before, the key that signs. A service asks for it anew when it signs: after a rotation the old
-- one is good for the overlap only.
CREATE OR REPLACE FUNCTION terasocket.service_token_key() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN terasocket.signing_key('service');
END $$;

-- verifying_keys: the keys that verify, the one that signs first. None is made.
CREATE FUNCTION terasocket.verifying_keys(name text) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT k.key FROM terasocket.signing_keys k
                 WHERE k.name = verifying_keys.name AND (k.retires_at IS NULL OR k.retires_at > clock_timestamp()) ORDER BY k.id DESC);
END $$;

-- rotate_signing_key: makes a new key, which signs from now on. None of those before it verifies for longer than overlap.
CREATE FUNCTION terasocket.rotate_signing_key(name text, overlap interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF overlap IS NULL OR overlap < interval '0' OR overlap > interval '90 days' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'overlap must be between 0 and 90 days';
    END IF;
    LOCK TABLE terasocket.signing_keys IN SHARE ROW EXCLUSIVE MODE;
    UPDATE terasocket.signing_keys k SET retires_at = least(k.retires_at, clock_timestamp() + overlap)
    WHERE  k.name = rotate_signing_key.name;
    INSERT INTO terasocket.signing_keys (name, key) VALUES (rotate_signing_key.name, left(terasocket.random_text(), 32));
END $$;

-- ---- Disabled tokens: refused until they expire. Logged: a crash must not revive one.
CREATE TABLE terasocket.disabled_tokens (
    hash        bytea       PRIMARY KEY,   -- SHA-256 of the token
    expires_at  timestamptz NOT NULL
);
CREATE INDEX disabled_tokens_expiry ON terasocket.disabled_tokens (expires_at);

-- disable_token: false when it was disabled before.
CREATE FUNCTION terasocket.disable_token(hash bytea, expires_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO terasocket.disabled_tokens AS d (hash, expires_at) VALUES (disable_token.hash, disable_token.expires_at)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;

-- token_check: whether a token is disabled, and the keys that verify those of its name.
CREATE FUNCTION terasocket.token_check(name text, hash bytea) RETURNS TABLE (is_disabled boolean, keys text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT EXISTS (SELECT FROM terasocket.disabled_tokens d WHERE d.hash = token_check.hash), terasocket.verifying_keys(token_check.name);
END $$;

-- ---- Attempts: counted before the comparison that they are for, by the name as it was given, whether anybody has it or not.
-- Unlogged: after a crash of the server everybody has all attempts again.
CREATE UNLOGGED TABLE terasocket.login_attempts (
    kind        text        NOT NULL CHECK (kind IN ('user', 'participant', 'otp')),
    who         bytea       NOT NULL,   -- SHA-256 of the username, or of the id of a user for otp
    attempts    integer     NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (kind, who)
);

-- count_attempt: takes an attempt, of 5. attempts is which one it is, null when there was none left: then seconds is how
-- long to wait. Each attempt starts the time anew, a refusal does not.
CREATE FUNCTION terasocket.count_attempt(kind text, who bytea, OUT attempts integer, OUT seconds double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    memory interval := CASE WHEN count_attempt.kind = 'otp' THEN interval '900 seconds' ELSE interval '120 seconds' END;
BEGIN
    LOOP
        INSERT INTO terasocket.login_attempts AS a (kind, who, attempts, expires_at)
        VALUES (count_attempt.kind, count_attempt.who, 1, clock_timestamp() + memory)
        ON CONFLICT ON CONSTRAINT login_attempts_pkey DO UPDATE
        SET    attempts = CASE WHEN a.expires_at > clock_timestamp() THEN a.attempts + 1 ELSE 1 END, expires_at = clock_timestamp() + memory
        WHERE  a.attempts < 5 OR a.expires_at <= clock_timestamp()
        RETURNING a.attempts INTO count_attempt.attempts;
        seconds := extract(epoch FROM memory);
        EXIT WHEN FOUND;
        SELECT extract(epoch FROM a.expires_at - clock_timestamp()) INTO seconds
        FROM   terasocket.login_attempts a WHERE a.kind = count_attempt.kind AND a.who = count_attempt.who;
        EXIT WHEN FOUND;
    END LOOP;
END $$;

-- forget_attempts: after a success.
CREATE FUNCTION terasocket.forget_attempts(kind text, who bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM terasocket.login_attempts a WHERE a.kind = forget_attempts.kind AND a.who = forget_attempts.who;
END $$;

-- ---- Failures by address (an IPv6 address by its /64), for all gateways: 60 at once, then one a second. until is when
-- they are forgotten.
CREATE UNLOGGED TABLE terasocket.address_failures (
    address  text        PRIMARY KEY,
    until    timestamptz NOT NULL
);

-- address_failed: counts a failure. No address waits for longer than two minutes.
CREATE FUNCTION terasocket.address_failed(address text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO terasocket.address_failures AS a (address, until) VALUES (address_failed.address, clock_timestamp() + interval '1 second')
    ON CONFLICT ON CONSTRAINT address_failures_pkey DO UPDATE
    SET    until = least(greatest(a.until, clock_timestamp()) + interval '1 second', clock_timestamp() + interval '180 seconds');
END $$;

-- address_wait: seconds until this address may try again; 0: now.
CREATE FUNCTION terasocket.address_wait(address text) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT greatest(extract(epoch FROM a.until - clock_timestamp()) - 59, 0)
                     FROM terasocket.address_failures a WHERE a.address = address_wait.address), 0);
END $$;

-- ---- Second steps of a login: a password was right, more is asked for.
CREATE UNLOGGED TABLE terasocket.login_sessions (
    hash        bytea       PRIMARY KEY,   -- SHA-256 of the secret
    id_user     integer     NOT NULL,
    expires_at  timestamptz NOT NULL DEFAULT clock_timestamp() + interval '15 minutes'
);

CREATE FUNCTION terasocket.start_login_session(hash bytea, id_user integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO terasocket.login_sessions (hash, id_user) VALUES (start_login_session.hash, start_login_session.id_user);
END $$;

CREATE FUNCTION terasocket.end_login_session(hash bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM terasocket.login_sessions s WHERE s.hash = end_login_session.hash;
END $$;

-- ---- Users
-- user_account: a user that is not deleted, by one of the three; enabled or not. password is its bcrypt hash.
CREATE FUNCTION terasocket.user_account(by_username text DEFAULT NULL, by_uuid text DEFAULT NULL, by_id integer DEFAULT NULL)
RETURNS TABLE (id integer, uuid text, name text, username text, password text, is_enabled boolean, must_change boolean, needs_2fa boolean, has_otp boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT u.id_user, u.user_uuid::text, concat_ws(' ', u.user_firstname, u.user_lastname), u.user_username::text, u.user_password::text, u.user_enabled,
           u.user_force_password_change, u.user_2fa_enabled, u.user_2fa_otp_enabled AND coalesce(u.user_2fa_otp_secret, '') <> ''
    FROM  (SELECT n.id_user FROM OPENTERA.t_users n WHERE n.user_username = by_username
           UNION ALL
           SELECT n.id_user FROM OPENTERA.t_users n WHERE n.user_uuid = by_uuid
           UNION ALL
           SELECT by_id WHERE by_id IS NOT NULL) who (id_user)
    JOIN   OPENTERA.t_users u ON u.id_user = who.id_user AND u.deleted_at IS NULL;
END $$;

-- login_session_user: whose second step it is. No row: unknown, over, or of a user that is gone or disabled.
CREATE FUNCTION terasocket.login_session_user(hash bytea) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT u.id_user
            FROM   terasocket.login_sessions s
            JOIN   OPENTERA.t_users u ON u.id_user = s.id_user AND u.user_enabled AND u.deleted_at IS NULL
            WHERE  s.hash = login_session_user.hash AND s.expires_at > clock_timestamp());
END $$;

-- user_token_claims: what OpenTera puts into the token of a user. service_access names the global roles of its groups, by
-- the key of their service; a superadmin has none. No row: gone or disabled.
CREATE FUNCTION terasocket.user_token_claims(id_user integer)
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

-- The last time step whose code a user has shown: a code is good once.
CREATE TABLE terasocket.otp_steps (
    id_user  integer PRIMARY KEY,
    step     bigint  NOT NULL
);

-- otp_secret: that of a user with two-factor authentication by codes, null otherwise.
CREATE FUNCTION terasocket.otp_secret(id_user integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT nullif(u.user_2fa_otp_secret, '') FROM OPENTERA.t_users u
            WHERE u.id_user = otp_secret.id_user AND u.user_2fa_enabled AND u.user_2fa_otp_enabled AND u.user_enabled AND u.deleted_at IS NULL);
END $$;

-- accept_otp: false when a code of this step or of a later one was accepted before. who: as in login_attempts.
CREATE FUNCTION terasocket.accept_otp(id_user integer, step bigint, who bytea) RETURNS boolean
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

-- otp_blocked: whether a user has no attempt left.
CREATE FUNCTION terasocket.otp_blocked(who bytea) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM terasocket.login_attempts a
                   WHERE a.kind = 'otp' AND a.who = otp_blocked.who AND a.attempts >= 5 AND a.expires_at > clock_timestamp());
END $$;

-- set_otp: false when the user is not to use two-factor authentication, or has a secret already.
CREATE FUNCTION terasocket.set_otp(id_user integer, secret text, with_email boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE OPENTERA.t_users u
    SET    user_2fa_otp_enabled = true, user_2fa_otp_secret = set_otp.secret, user_2fa_email_enabled = set_otp.with_email
    WHERE  u.id_user = set_otp.id_user AND u.user_2fa_enabled AND u.user_enabled AND u.deleted_at IS NULL
      AND  NOT (u.user_2fa_otp_enabled AND coalesce(u.user_2fa_otp_secret, '') <> '');
    RETURN FOUND;
END $$;

-- change_password: false when the password need not be changed, or is not old any more. Both are bcrypt hashes.
CREATE FUNCTION terasocket.change_password(id_user integer, old text, new text) RETURNS boolean
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

-- ---- Participants
-- participant_account: a participant that is not deleted, by one of the four; enabled or not. Usernames are not unique: the
-- first. key: what OpenTera signs static tokens with (null: it has none).
CREATE FUNCTION terasocket.participant_account(by_username text DEFAULT NULL, by_uuid text DEFAULT NULL, by_id integer DEFAULT NULL, by_token text DEFAULT NULL)
RETURNS TABLE (id integer, uuid text, name text, password text, is_enabled boolean, has_login boolean, has_token boolean, id_project integer,
               token text, key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT p.id_participant, p.participant_uuid::text, p.participant_name::text, p.participant_password::text, p.participant_enabled,
           p.participant_login_enabled, p.participant_token_enabled, p.id_project, p.participant_token::text,
           (SELECT s.server_settings_value::text FROM OPENTERA.t_server_settings s WHERE s.server_settings_name = 'ParticipantTokenEncryptionKey')
    FROM  (SELECT min(n.id_participant) FROM OPENTERA.t_participants n WHERE n.participant_username = by_username AND n.deleted_at IS NULL
           UNION ALL
           SELECT n.id_participant FROM OPENTERA.t_participants n WHERE n.participant_uuid = by_uuid
           UNION ALL
           SELECT n.id_participant FROM OPENTERA.t_participants n WHERE n.participant_token = by_token
           UNION ALL
           SELECT by_id WHERE by_id IS NOT NULL) who (id_participant)
    JOIN   OPENTERA.t_participants p ON p.id_participant = who.id_participant AND p.deleted_at IS NULL;
END $$;

-- project_session_types: the session types of these projects, as a login shows them.
CREATE FUNCTION terasocket.project_session_types(projects integer[]) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('id_service', t.id_service, 'id_session_type', t.id_session_type,
                       'session_type_category', t.session_type_category, 'session_type_color', t.session_type_color,
                       'session_type_name', t.session_type_name) ORDER BY t.id_session_type), '[]')
            FROM   OPENTERA.t_sessions_types t
            WHERE  t.deleted_at IS NULL
              AND  EXISTS (SELECT FROM OPENTERA.t_sessions_types_projects l
                           JOIN   OPENTERA.t_projects p ON p.id_project = l.id_project AND p.deleted_at IS NULL
                           WHERE  l.id_session_type = t.id_session_type AND l.id_project = ANY (projects) AND l.deleted_at IS NULL));
END $$;

CREATE FUNCTION terasocket.participant_session_types(id_participant integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN terasocket.project_session_types(ARRAY(SELECT p.id_project FROM OPENTERA.t_participants p
                                                  WHERE p.id_participant = participant_session_types.id_participant AND p.deleted_at IS NULL));
END $$;

-- ---- Devices
-- device_by_uuid: a device that is not deleted, enabled or not.
CREATE FUNCTION terasocket.device_by_uuid(by_uuid text) RETURNS TABLE (id integer, uuid text, name text, is_enabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT d.id_device, d.device_uuid::text, d.device_name::text, d.device_enabled
    FROM OPENTERA.t_devices d WHERE d.device_uuid = by_uuid AND d.deleted_at IS NULL;
END $$;

-- device_login: what a device is told when it logs in, as OpenTera's three objects. null: gone or disabled.
CREATE FUNCTION terasocket.device_login(id_device integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
                   'device_info', jsonb_build_object(
                       'device_config', d.device_config, 'device_enabled', d.device_enabled, 'device_infos', d.device_infos,
                       'device_lastonline', terasocket.iso(to_jsonb(d) ->> 'device_lastonline'), 'device_name', d.device_name, 'device_notes', d.device_notes,
                       'device_onlineable', d.device_onlineable, 'device_token', d.device_token, 'device_uuid', d.device_uuid,
                       'id_device', d.id_device, 'id_device_subtype', d.id_device_subtype, 'id_device_type', d.id_device_type,
                       'device_type', t.device_type_name, 'device_subtype', s.device_subtype_name),
                   'participants_info', (
                       SELECT coalesce(jsonb_agg(jsonb_build_object('participant_name', p.participant_name, 'participant_uuid', p.participant_uuid)
                                                 ORDER BY p.id_participant), '[]')
                       FROM   OPENTERA.t_participants p
                       WHERE  p.deleted_at IS NULL
                         AND  p.id_participant IN (SELECT l.id_participant FROM OPENTERA.t_devices_participants l
                                                   WHERE l.id_device = d.id_device AND l.deleted_at IS NULL)),
                   'session_types_info', terasocket.project_session_types(ARRAY(
                       SELECT l.id_project FROM OPENTERA.t_devices_projects l WHERE l.id_device = d.id_device AND l.deleted_at IS NULL)))
        FROM   OPENTERA.t_devices d
        LEFT   JOIN OPENTERA.t_devices_types t    ON t.id_device_type = d.id_device_type
        LEFT   JOIN OPENTERA.t_devices_subtypes s ON s.id_device_subtype = d.id_device_subtype
        WHERE  d.id_device = device_login.id_device AND d.device_enabled AND d.deleted_at IS NULL);
END $$;

-- ---- For all kinds
-- stamp_last_online: user_lastonline, participant_lastonline or device_lastonline is now. No other column: a changed
-- version_id would fail OpenTera's next write. Whoever writes the row at this moment is not waited for.
CREATE FUNCTION terasocket.stamp_last_online(kind text, id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE stamp_last_online.kind
    WHEN 'user' THEN
        UPDATE OPENTERA.t_users u SET user_lastonline = clock_timestamp()
        WHERE  u.id_user IN (SELECT r.id_user FROM OPENTERA.t_users r WHERE r.id_user = stamp_last_online.id
                            FOR NO KEY UPDATE SKIP LOCKED);
    WHEN 'participant' THEN
        UPDATE OPENTERA.t_participants p SET participant_lastonline = clock_timestamp()
        WHERE  p.id_participant IN (SELECT r.id_participant FROM OPENTERA.t_participants r WHERE r.id_participant = stamp_last_online.id
                            FOR NO KEY UPDATE SKIP LOCKED);
    WHEN 'device' THEN
        UPDATE OPENTERA.t_devices d SET device_lastonline = clock_timestamp()
        WHERE  d.id_device IN (SELECT r.id_device FROM OPENTERA.t_devices r WHERE r.id_device = stamp_last_online.id
                            FOR NO KEY UPDATE SKIP LOCKED);
    END CASE;
END $$;

-- logout: disables a token (hash: null for none), ends what would let the principal in again without credentials (a URL
-- that was minted before, a second step), and closes its sockets.
CREATE INDEX connect_tokens_principal ON terasocket.connect_tokens (kind, uuid);
CREATE FUNCTION terasocket.logout(kind text, id integer, uuid text, hash bytea, expires_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF logout.hash IS NOT NULL THEN
        PERFORM terasocket.disable_token(logout.hash, logout.expires_at);
    END IF;
    DELETE FROM terasocket.connect_tokens t WHERE t.kind = logout.kind AND t.uuid = logout.uuid;
    IF logout.kind = 'user' THEN
        DELETE FROM terasocket.login_sessions s WHERE s.id_user = logout.id;
    END IF;
    PERFORM terasocket.kick(logout.uuid);
END $$;

-- is_connected: whether there is an open socket on a gateway whose lease is good. Whoever is online only for the grace, or
-- by a gateway that has crashed, may come back.
CREATE FUNCTION terasocket.is_connected(kind text, id integer) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM terasocket.connections c
                   JOIN   terasocket.gateways g ON g.id = c.gateway AND g.lease_until > clock_timestamp()
                   WHERE  c.kind = is_connected.kind AND c.principal = is_connected.id);
END $$;

-- record_login: writes a LoginEvent to the log, for whoever audits: no client hears it.
CREATE FUNCTION terasocket.record_login(topic text, event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM terasocket.record_message(record_login.topic, 'opentera.protobuf.LoginEvent', record_login.event, '[[]]');
END $$;

-- server_setting: the value of one; null: there is none.
CREATE FUNCTION terasocket.server_setting(name text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT s.server_settings_value FROM OPENTERA.t_server_settings s WHERE s.server_settings_name = server_setting.name);
END $$;

-- sweep_door: deletes what has expired; returns how much that was.
CREATE FUNCTION terasocket.sweep_door() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n     bigint;
    total bigint := 0;
BEGIN
    -- one sweeper at a time: they would wait for each other's rows
    IF NOT pg_try_advisory_xact_lock(hashtextextended('terasocket sweep', 0)) THEN
        RETURN 0;
    END IF;
    DELETE FROM terasocket.connect_tokens t WHERE t.expires_at <= clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    -- by the clock of a gateway one may still be good
    DELETE FROM terasocket.disabled_tokens d WHERE d.expires_at <= clock_timestamp() - interval '1 hour';
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    DELETE FROM terasocket.login_attempts a WHERE a.expires_at <= clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    DELETE FROM terasocket.address_failures a WHERE a.until <= clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    DELETE FROM terasocket.login_sessions s WHERE s.expires_at <= clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    DELETE FROM terasocket.signing_keys k WHERE k.retires_at <= clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN total + n;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC;
