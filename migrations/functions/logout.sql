-- Logging out, and the parts of the door common to all kinds.

-- stamp_last_online: sets user_lastonline, participant_lastonline or device_lastonline to now. No other column: a changed version_id
-- would fail OpenTera's next write. It does not wait for a transaction that is writing the row.
CREATE OR REPLACE FUNCTION terasocket.stamp_last_online(kind text, id integer) RETURNS void
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

-- logout: disables a token (hash: null for none), ends what would let the principal in again without credentials (an unused URL, a second
-- step), and closes its sockets.
CREATE OR REPLACE FUNCTION terasocket.logout(kind text, id integer, uuid text, hash bytea, expires_at timestamptz) RETURNS void
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

-- is_connected: whether there is an open socket on a gateway with a valid lease. A principal that is online only by its grace period, or
-- through a crashed gateway, may connect.
CREATE OR REPLACE FUNCTION terasocket.is_connected(kind text, id integer) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM terasocket.connections c
                   JOIN   terasocket.gateways g ON g.id = c.gateway AND g.lease_until > clock_timestamp()
                   WHERE  c.kind = is_connected.kind AND c.principal = is_connected.id);
END $$;

-- record_login: writes a LoginEvent to the log, for auditors: no client receives it.
CREATE OR REPLACE FUNCTION terasocket.record_login(topic text, event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM terasocket.record_messages(ARRAY[terasocket.message_body(record_login.topic, 'opentera.protobuf.LoginEvent', record_login.event)]);
END $$;

-- server_setting: the value of a server setting; null: there is none.
CREATE OR REPLACE FUNCTION terasocket.server_setting(name text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT s.server_settings_value FROM OPENTERA.t_server_settings s WHERE s.server_settings_name = server_setting.name);
END $$;

-- sweep_door: deletes what has expired; returns how many rows. Of announced capture errors the last thousand are kept, for 30 days.
CREATE OR REPLACE FUNCTION terasocket.sweep_door() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n     bigint;
    total bigint := 0;
BEGIN
    -- one sweeper at a time, or they would wait for each other's rows (any role could hold an advisory lock)
    BEGIN
        LOCK TABLE terasocket.address_failures IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN 0;
    END;
    DELETE FROM terasocket.connect_tokens t WHERE t.expires_at <= clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    -- by a gateway's slower clock one may still be valid
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
    total := total + n;
    DELETE FROM terasocket.capture_errors e
    WHERE  e.announced_at < clock_timestamp() - interval '30 days' OR e.announced_at IS NOT NULL AND e.id <= (SELECT max(m.id) FROM terasocket.capture_errors m) - 1000;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN total + n;
END $$;
