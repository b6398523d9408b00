-- Presence: who is online, busy, and in which state (OpenTera's user manager; sheet websocket, sections 5 and 7).
-- It holds for the whole cluster: each gateway registers its sockets here and keeps a lease; when a gateway dies without
-- a word, another finds the lease expired and takes its clients offline, once.
--
-- The row of a principal in terasocket.online is the lock: whatever may make it come online or go offline holds that row
-- until it commits, so CONNECTED and DISCONNECTED of one principal alternate in the log. Locks are taken in this order:
-- the gateway, then rows of online by (kind, principal). No transaction of a service ever takes one of them: what
-- services say goes to the tables terasocket.busy and terasocket.kicked.

CREATE TABLE terasocket.gateways (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    lease_until  timestamptz NOT NULL   -- -infinity: given up for dead, its clients are being taken offline
);

CREATE TABLE terasocket.connections (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway      uuid        NOT NULL REFERENCES terasocket.gateways (id),
    socket       bigint,     -- the gateway's own number of it, so that it can say the same thing twice
    kind         text        NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    principal    integer     NOT NULL,
    since        timestamptz NOT NULL DEFAULT clock_timestamp(),
    client_name  text,
    address      text,
    CONSTRAINT connections_socket UNIQUE (gateway, socket)
);
CREATE INDEX connections_principal ON terasocket.connections (kind, principal);
COMMENT ON TABLE terasocket.connections IS 'a row for every open socket of every gateway';

CREATE TABLE terasocket.online (
    kind          text    NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    principal     integer NOT NULL,
    online_since  timestamptz,   -- null only within the transaction that makes or takes the row
    connected_at  timestamptz NOT NULL,   -- the newest socket was recorded
    offline_at    timestamptz,   -- the last socket is gone; offline is announced then, unless one comes back
    status        text,          -- device: JSON text
    status_at     numeric,       -- device: the timestamp it came with
    PRIMARY KEY (kind, principal)
);
CREATE INDEX online_leaving ON terasocket.online (offline_at) WHERE offline_at IS NOT NULL;
COMMENT ON TABLE terasocket.online IS 'a row for everyone that is online';

-- Kicks of the last minute: whoever was kicked since the newest socket has no grace. Rows are only added and swept, so that
-- a service that kicks waits for nobody.
CREATE TABLE terasocket.kicked (
    kind       text        NOT NULL,
    principal  bigint      NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX kicked_principal ON terasocket.kicked (kind, principal);
CREATE INDEX kicked_at ON terasocket.kicked (at);

CREATE TABLE terasocket.busy (
    kind          text    NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    principal     integer NOT NULL,
    session_uuid  text    NOT NULL,
    PRIMARY KEY (kind, principal)
);
CREATE INDEX busy_session ON terasocket.busy (session_uuid);
COMMENT ON TABLE terasocket.busy IS 'who is in which session; it outlives being offline, as in OpenTera';

CREATE VIEW terasocket.presence AS
SELECT kind, principal, o.online_since, o.offline_at, b.session_uuid AS busy, o.status, o.status_at
FROM   terasocket.online o FULL JOIN terasocket.busy b USING (kind, principal);
COMMENT ON VIEW terasocket.presence IS 'a row for everyone that is online (online_since is not null) or busy';

-- presence_message: a USER_, PARTICIPANT_ or DEVICE_ event (type without that prefix) with OpenTera's fields. No message
-- for one that is deleted for good: there is nobody left who could see it.
CREATE FUNCTION terasocket.presence_message(kind text, principal integer, type text, status text DEFAULT '',
    OUT name text, OUT message jsonb)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE presence_message.kind
    WHEN 'user' THEN
        SELECT jsonb_build_object('userUuid', u.user_uuid, 'type', 'USER_' || presence_message.type,
                                  'userFullname', concat_ws(' ', u.user_firstname, u.user_lastname))
        INTO   message FROM OPENTERA.t_users u WHERE u.id_user = presence_message.principal;
        name := 'opentera.protobuf.UserEvent';
    WHEN 'participant' THEN
        SELECT jsonb_build_object('participantUuid', p.participant_uuid, 'type', 'PARTICIPANT_' || presence_message.type,
                                  'participantName', p.participant_name, 'participantProjectName', coalesce(o.project_name, ''),
                                  'participantSiteName', coalesce(s.site_name, ''))
        INTO   message
        FROM   OPENTERA.t_participants p
        LEFT   JOIN OPENTERA.t_projects o ON o.id_project = p.id_project
        LEFT   JOIN OPENTERA.t_sites s    ON s.id_site = o.id_site
        WHERE  p.id_participant = presence_message.principal;
        name := 'opentera.protobuf.ParticipantEvent';
    WHEN 'device' THEN
        SELECT jsonb_build_object('deviceUuid', d.device_uuid, 'type', 'DEVICE_' || presence_message.type, 'deviceName', d.device_name,
                                  'deviceStatus', presence_message.status)
        INTO   message FROM OPENTERA.t_devices d WHERE d.id_device = presence_message.principal;
        name := 'opentera.protobuf.DeviceEvent';
    END CASE;
END $$;

-- presence_event: records it.
CREATE FUNCTION terasocket.presence_event(kind text, principal integer, type text, status text DEFAULT '') RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    m record;
BEGIN
    SELECT * INTO m FROM terasocket.presence_message(presence_event.kind, presence_event.principal, presence_event.type, presence_event.status);
    IF m.message IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN terasocket.record_message('module.TeraServer.UserManagerModule.events', m.name, m.message, terasocket.message_keys(m.name, m.message));
END $$;

-- presence_snapshot: the presence of everyone that this principal may see, as the messages that would announce it
-- (CONNECTED, then JOINED_SESSION, then STATUS_CHANGED; users, participants, devices), with the snapshot that it was read
-- in: a transaction that the snapshot sees is reflected, another is not. One row.
CREATE FUNCTION terasocket.presence_snapshot(viewer_kind text, viewer integer, OUT snapshot text, OUT seq bigint, OUT names text[], OUT messages text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    place smallint := array_position('{user,participant,device}', viewer_kind);
BEGIN
    WITH state AS (
        SELECT row_number() OVER (ORDER BY array_position('{user,participant,device}', p.kind), p.principal, e.ord) AS ord, m.name, m.message
        FROM   terasocket.presence p,
               LATERAL (SELECT 1 AS ord, 'CONNECTED' AS type, '' AS status WHERE p.online_since IS NOT NULL
                        UNION ALL SELECT 2, 'JOINED_SESSION', '' WHERE p.busy IS NOT NULL
                        UNION ALL SELECT 3, 'STATUS_CHANGED', terasocket.status_text(p.status, p.status_at) WHERE p.status IS NOT NULL) e,
               LATERAL terasocket.presence_message(p.kind, p.principal, e.type, e.status) m
        WHERE  m.message IS NOT NULL
    ), seen AS (
        SELECT a.ord
        FROM   terasocket.audience(ARRAY(SELECT terasocket.message_keys(s.name, s.message)::text FROM state s ORDER BY s.ord)) a
        WHERE  a.kind = place AND viewer = ANY (a.ids)
    )
    SELECT coalesce(array_agg(s.name ORDER BY s.ord), '{}'), coalesce(array_agg(s.message::text ORDER BY s.ord), '{}')
    INTO   names, messages
    FROM   state s WHERE s.ord IN (SELECT seen.ord FROM seen);
    snapshot := pg_current_snapshot();
    seq := coalesce((SELECT max(e.seq) FROM terasocket.events e), 0);
END $$;

-- status_text: device_status of a DeviceEvent: the status is JSON text inside JSON text, as in OpenTera.
CREATE FUNCTION terasocket.status_text(status text, status_at numeric) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('status', status, 'timestamp', status_at)::text
$$;

-- gateway_register, gateway_beat, gateway_leave: the lease of a gateway. beat is false when others have given it up for
-- dead: it must register again, and all its sockets with it. leave is false while it still has sockets here; the lease
-- sees to those.
CREATE FUNCTION terasocket.gateway_register(name text, lease interval) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO terasocket.gateways (name, lease_until) VALUES (name, clock_timestamp() + lease) RETURNING id
$$;
CREATE FUNCTION terasocket.gateway_beat(gateway uuid, lease interval) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH kept AS (UPDATE terasocket.gateways g SET lease_until = clock_timestamp() + lease
                  WHERE  g.id = gateway AND g.lease_until > '-infinity' RETURNING 1)
    SELECT EXISTS (SELECT FROM kept)
$$;
CREATE FUNCTION terasocket.gateway_leave(gateway uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (DELETE FROM terasocket.gateways g
                  WHERE  g.id = gateway AND NOT EXISTS (SELECT FROM terasocket.connections c WHERE c.gateway = g.id) RETURNING 1)
    SELECT EXISTS (SELECT FROM gone)
$$;

-- connected: a socket of this gateway is open. The first of a principal anywhere announces it online. Returns the
-- connection; the same one when that socket was there already. Error when the gateway is not registered, or given up
-- (foreign_key_violation).
CREATE FUNCTION terasocket.connected(gateway uuid, kind text, principal integer, client_name text, address text, socket bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    connection  bigint;
    was_online  boolean;
BEGIN
    PERFORM FROM terasocket.gateways g WHERE g.id = connected.gateway AND g.lease_until > '-infinity' FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('gateway %s is not registered', connected.gateway);
    END IF;
    INSERT INTO terasocket.online AS o (kind, principal, connected_at) VALUES (connected.kind, connected.principal, clock_timestamp())
    ON CONFLICT ON CONSTRAINT online_pkey DO UPDATE SET offline_at = NULL, connected_at = clock_timestamp()
    RETURNING o.online_since IS NOT NULL INTO was_online;
    INSERT INTO terasocket.connections AS c (gateway, socket, kind, principal, client_name, address)
    VALUES (connected.gateway, connected.socket, connected.kind, connected.principal, connected.client_name, connected.address)
    ON CONFLICT ON CONSTRAINT connections_socket DO UPDATE SET client_name = excluded.client_name
    RETURNING c.id INTO connection;
    IF NOT was_online THEN
        UPDATE terasocket.online o SET online_since = clock_timestamp()
        WHERE  o.kind = connected.kind AND o.principal = connected.principal;
        PERFORM terasocket.presence_event(connected.kind, connected.principal, 'CONNECTED');
    END IF;
    RETURN connection;
END $$;

-- connected_many: the same for many sockets of a gateway, all or none.
CREATE FUNCTION terasocket.connected_many(gateway uuid, sockets bigint[], kinds text[], principals integer[], client_names text[], addresses text[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    who record;
BEGIN
    FOR who IN SELECT * FROM unnest(sockets, kinds, principals, client_names, addresses) w (socket, kind, principal, client_name, address)
               ORDER BY w.kind, w.principal, w.socket LOOP
        PERFORM terasocket.connected(gateway, who.kind, who.principal, who.client_name, who.address, who.socket);
    END LOOP;
END $$;

-- disconnected: that socket is closed. When it was the last of its principal anywhere, it is offline after the grace, or
-- at once when it left on purpose (logout, kick). Nothing happens when the connection is not there any more.
CREATE FUNCTION terasocket.disconnected(connection bigint, grace interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone terasocket.connections;
BEGIN
    SELECT * INTO gone FROM terasocket.connections c WHERE c.id = connection;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM terasocket.online o WHERE o.kind = gone.kind AND o.principal = gone.principal FOR UPDATE;
    DELETE FROM terasocket.connections c WHERE c.id = connection;
    IF NOT FOUND OR EXISTS (SELECT FROM terasocket.connections c WHERE c.kind = gone.kind AND c.principal = gone.principal) THEN
        RETURN;
    END IF;
    IF grace > interval '0' THEN
        UPDATE terasocket.online o SET offline_at = clock_timestamp() + grace WHERE o.kind = gone.kind AND o.principal = gone.principal;
    ELSE
        PERFORM terasocket.go_offline(gone.kind, gone.principal);
    END IF;
END $$;

-- disconnected_many: the same for many sockets of a gateway, by its own numbers, all or none.
CREATE FUNCTION terasocket.disconnected_many(gateway uuid, sockets bigint[], grace interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    connection bigint;
BEGIN
    FOR connection IN SELECT c.id FROM terasocket.connections c
                      WHERE  c.gateway = disconnected_many.gateway AND c.socket = ANY (disconnected_many.sockets)
                      ORDER  BY c.kind, c.principal, c.id LOOP
        PERFORM terasocket.disconnected(connection, grace);
    END LOOP;
END $$;

-- go_offline: announces it, once. The caller holds the row of online.
CREATE FUNCTION terasocket.go_offline(kind text, principal integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM terasocket.online o WHERE o.kind = go_offline.kind AND o.principal = go_offline.principal;
    IF FOUND THEN
        PERFORM terasocket.presence_event(go_offline.kind, go_offline.principal, 'DISCONNECTED');
    END IF;
END $$;

-- presence_sweep: every gateway calls it every second or so, again at once when it did something. Takes offline whose
-- grace is over, or who was kicked in it, and, with the_dead, the clients of a gateway whose lease is. Several at once do not do the same work
-- twice. One call does a bounded part of the work and returns how much it was: people whose grace was over, and sockets
-- and gateways that were dead.
CREATE FUNCTION terasocket.presence_sweep(the_dead boolean DEFAULT true) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at_most  CONSTANT integer := 500;
    dead     uuid;
    who      record;
    n        integer := 0;
BEGIN
    -- one dead gateway a call: who locks rows of online in order for one, and then for another, may meet somebody half way
    IF the_dead THEN
        SELECT g.id INTO dead FROM terasocket.gateways g WHERE g.lease_until < clock_timestamp() LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    IF dead IS NOT NULL THEN
        UPDATE terasocket.gateways g SET lease_until = '-infinity' WHERE g.id = dead;   -- no way back, should it live
        FOR who IN SELECT c.id, c.kind, c.principal FROM terasocket.connections c WHERE c.gateway = dead
                   ORDER BY 2, 3, 1 LIMIT at_most LOOP
            PERFORM terasocket.disconnected(who.id, interval '0');
            n := n + 1;
        END LOOP;
        IF n < at_most THEN
            DELETE FROM terasocket.gateways g WHERE g.id = dead;
            n := n + 1;
        END IF;
    END IF;
    FOR who IN SELECT o.kind, o.principal FROM terasocket.online o
               WHERE  o.offline_at IS NOT NULL
                 AND  (o.offline_at < clock_timestamp()
                       OR EXISTS (SELECT FROM terasocket.kicked k
                                  WHERE  k.kind = o.kind AND k.principal = o.principal AND k.at >= o.connected_at))
               ORDER BY 1, 2 LIMIT at_most FOR UPDATE OF o SKIP LOCKED LOOP
        PERFORM terasocket.go_offline(who.kind, who.principal);
        n := n + 1;
    END LOOP;
    DELETE FROM terasocket.kicked k WHERE k.ctid = ANY (ARRAY(
        SELECT o.ctid FROM terasocket.kicked o WHERE o.at < clock_timestamp() - interval '1 minute' FOR UPDATE SKIP LOCKED));
    RETURN n;
END $$;

-- end_grace: who is kicked while it has no socket, but may come back, is not waited for.
CREATE FUNCTION terasocket.end_grace() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO terasocket.kicked (kind, principal) VALUES (NEW.object_type, NEW.object_id);
    RETURN NULL;
END $$;
CREATE TRIGGER end_grace AFTER INSERT ON terasocket.events
    FOR EACH ROW WHEN (NEW.type = 'opentera.protobuf.ServerCommand' AND NEW.object_type IS NOT NULL AND NEW.object_id IS NOT NULL) EXECUTE FUNCTION terasocket.end_grace();

-- manage: what a service tells the user manager. Moves people in and out of sessions, and announces it: for each UUID
-- that the message lists, every time, users before participants before devices; a UUID of nobody is passed over.
-- Returns the seq of the last event, or null when there was nobody to announce.
CREATE FUNCTION terasocket.manage(message_type text, message jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    session    text := lower(message ->> 'sessionUuid');
    is_join    boolean := message_type = 'opentera.protobuf.JoinSessionEvent';
    named      jsonb;   -- lists of UUIDs: users, participants, devices
    kinds      text[];  -- who it is, in the order of the announcements
    ids        integer[];
    seq        bigint;
BEGIN
    CASE message_type
    WHEN 'opentera.protobuf.JoinSessionEvent' THEN
        named := jsonb_build_array(message -> 'sessionUsers', message -> 'sessionParticipants', message -> 'sessionDevices');
    WHEN 'opentera.protobuf.LeaveSessionEvent' THEN
        named := jsonb_build_array(message -> 'leavingUsers', message -> 'leavingParticipants', message -> 'leavingDevices');
    WHEN 'opentera.protobuf.JoinSessionReplyEvent' THEN
        IF message ->> 'joinReply' = 'REPLY_ACCEPTED' THEN
            RETURN NULL;
        END IF;
        named := jsonb_build_array(jsonb_build_array(message -> 'userUuid'), jsonb_build_array(message -> 'participantUuid'),
                                   jsonb_build_array(message -> 'deviceUuid'));
    WHEN 'opentera.protobuf.StopSessionEvent' THEN
        NULL;
    ELSE
        PERFORM terasocket.refuse('event', format('is a %s, which the user manager does not take', message_type));
    END CASE;
    IF named IS NULL THEN
        WITH freed AS (
            DELETE FROM terasocket.busy b
            WHERE  (b.kind, b.principal) IN (SELECT l.kind, l.principal FROM terasocket.busy l WHERE l.session_uuid = session
                                             ORDER BY 1, 2 FOR UPDATE)
              AND  b.session_uuid = session
            RETURNING b.kind, b.principal)
        SELECT array_agg(f.kind ORDER BY f.kind = 'device', f.kind = 'participant', f.principal),
               array_agg(f.principal ORDER BY f.kind = 'device', f.kind = 'participant', f.principal)
        INTO   kinds, ids FROM freed f;
    ELSE
        WITH listed AS (
            SELECT k.ord AS kind, u.ord, lower(u.uuid) AS uuid
            FROM   jsonb_array_elements(named) WITH ORDINALITY k (list, ord),
                   jsonb_array_elements_text(CASE jsonb_typeof(k.list) WHEN 'array' THEN k.list ELSE '[]' END) WITH ORDINALITY u (uuid, ord)
        ), found AS (
            SELECT l.kind AS place, l.ord, 'user' AS kind, u.id_user AS id
            FROM   listed l JOIN OPENTERA.t_users u ON u.user_uuid = l.uuid AND u.deleted_at IS NULL WHERE l.kind = 1
            UNION  ALL
            SELECT l.kind, l.ord, 'participant', p.id_participant
            FROM   listed l JOIN OPENTERA.t_participants p ON p.participant_uuid = l.uuid AND p.deleted_at IS NULL WHERE l.kind = 2
            UNION  ALL
            SELECT l.kind, l.ord, 'device', d.id_device
            FROM   listed l JOIN OPENTERA.t_devices d ON d.device_uuid = l.uuid AND d.deleted_at IS NULL WHERE l.kind = 3
        )
        SELECT array_agg(f.kind ORDER BY f.place, f.ord), array_agg(f.id ORDER BY f.place, f.ord) INTO kinds, ids FROM found f;
        IF is_join THEN
            -- who is busy already stays in the session that it is in
            INSERT INTO terasocket.busy (kind, principal, session_uuid)
            SELECT DISTINCT w.kind, w.id, session FROM unnest(kinds, ids) w (kind, id) ORDER BY 1, 2
            ON     CONFLICT ON CONSTRAINT busy_pkey DO NOTHING;
        ELSE
            DELETE FROM terasocket.busy b
            WHERE  (b.kind, b.principal) IN (SELECT l.kind, l.principal FROM terasocket.busy l
                                             WHERE  (l.kind, l.principal) IN (SELECT * FROM unnest(kinds, ids)) AND l.session_uuid = session
                                             ORDER  BY 1, 2 FOR UPDATE)
              AND  b.session_uuid = session;
        END IF;
    END IF;
    FOR i IN 1 .. coalesce(cardinality(ids), 0) LOOP
        seq := coalesce(terasocket.presence_event(kinds[i], ids[i], CASE WHEN is_join THEN 'JOINED_SESSION' ELSE 'LEFT_SESSION' END), seq);
    END LOOP;
    RETURN seq;
END $$;

-- device_status: keeps the status of a device that is online and announces it; false when it is offline.
CREATE FUNCTION terasocket.device_status(id_device integer, status text, status_at numeric) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE terasocket.online o SET status = device_status.status, status_at = device_status.status_at
    WHERE  o.kind = 'device' AND o.principal = device_status.id_device;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM terasocket.presence_event('device', device_status.id_device, 'STATUS_CHANGED',
        terasocket.status_text(device_status.status, device_status.status_at));
    RETURN true;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC;
