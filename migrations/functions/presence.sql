-- Presence: who is online or busy, and with which status; see the head of 0003_presence.up.sql.

CREATE OR REPLACE VIEW terasocket.presence AS
SELECT kind, principal, o.online_since, o.offline_at, b.session_uuid AS busy, o.status, o.status_at
FROM   terasocket.online o FULL JOIN terasocket.busy b USING (kind, principal);
COMMENT ON VIEW terasocket.presence IS 'a row for everyone that is online (online_since is not null) or busy';

-- presence_message: a USER_, PARTICIPANT_ or DEVICE_ event (type without that prefix) with OpenTera's fields. No message for a physically
-- deleted principal, which nobody can see.
CREATE OR REPLACE FUNCTION terasocket.presence_message(kind text, principal integer, type text, status text DEFAULT '',
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

-- presence_event: captures the event. Its message is made when it is announced, with the names of that moment.
CREATE OR REPLACE FUNCTION terasocket.presence_event(kind text, principal integer, type text, status text DEFAULT '') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM terasocket.record('presence', 'M', false, NULL, jsonb_build_object('kind', presence_event.kind, 'principal', presence_event.principal,
        'type', presence_event.type, 'status', presence_event.status));
END $$;

-- presence_events: the same for several, in order.
CREATE OR REPLACE FUNCTION terasocket.presence_events(kinds text[], principals integer[], type text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO terasocket.changes (what, op, body)
    SELECT 'presence', 'M', jsonb_build_object('kind', w.kind, 'principal', w.principal, 'type', presence_events.type, 'status', '')
    FROM   unnest(kinds, principals) WITH ORDINALITY w (kind, principal, n) ORDER BY w.n;
    PERFORM terasocket.hint('presence', 'M', NULL);
END $$;

-- presence_roles: the tags of those who see the presence of a principal; none if it is deleted.
CREATE OR REPLACE FUNCTION terasocket.presence_roles(kind text, principal integer) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE kind
    WHEN 'user' THEN
        RETURN (SELECT terasocket.user_clause(u.id_user) FROM OPENTERA.t_users u WHERE u.id_user = principal AND u.deleted_at IS NULL);
    WHEN 'participant' THEN
        RETURN (SELECT ARRAY['p:' || p.id_project, 't:' || p.id_participant]
                    || ARRAY(SELECT 'd:' || l.id_device FROM OPENTERA.t_devices_participants l
                             WHERE  l.id_participant = p.id_participant AND l.deleted_at IS NULL)
                FROM   OPENTERA.t_participants p WHERE p.id_participant = principal AND p.deleted_at IS NULL);
    WHEN 'device' THEN
        RETURN (SELECT terasocket.device_clause(d.id_device) || ARRAY['d:' || d.id_device]
                    || ARRAY(SELECT 't:' || l.id_participant FROM OPENTERA.t_devices_participants l
                             WHERE  l.id_device = d.id_device AND l.deleted_at IS NULL)
                FROM   OPENTERA.t_devices d WHERE d.id_device = principal AND d.deleted_at IS NULL);
    END CASE;
END $$;

-- status_text: device_status of a DeviceEvent: the status is JSON text inside JSON text, as in OpenTera.
CREATE OR REPLACE FUNCTION terasocket.status_text(status text, status_at numeric) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('status', status, 'timestamp', status_at)::text
$$;

-- gateway_register, gateway_beat, gateway_leave: the lease of a gateway. beat is false after others have declared it dead: it must
-- register again, with all its sockets. leave is false while it still has sockets here, which the lease takes care of.
-- public_url: what its logins put before /wss/...
CREATE OR REPLACE FUNCTION terasocket.gateway_register(name text, lease interval, public_url text DEFAULT NULL) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO terasocket.gateways (name, lease_until, public_url) VALUES (name, clock_timestamp() + lease, public_url) RETURNING id
$$;
CREATE OR REPLACE FUNCTION terasocket.gateway_beat(gateway uuid, lease interval) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH kept AS (UPDATE terasocket.gateways g SET lease_until = clock_timestamp() + lease
                  WHERE  g.id = gateway AND g.lease_until > '-infinity' RETURNING 1)
    SELECT EXISTS (SELECT FROM kept)
$$;
CREATE OR REPLACE FUNCTION terasocket.gateway_leave(gateway uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (DELETE FROM terasocket.gateways g
                  WHERE  g.id = gateway AND NOT EXISTS (SELECT FROM terasocket.connections c WHERE c.gateway = g.id) RETURNING 1)
    SELECT EXISTS (SELECT FROM gone)
$$;

-- connected: a socket of this gateway is open. A principal's first socket anywhere announces it online. Returns the connection; the
-- existing one if that socket was recorded before. Error if the gateway is not registered, or declared dead (foreign_key_violation).
CREATE OR REPLACE FUNCTION terasocket.connected(gateway uuid, kind text, principal integer, client_name text, address text, socket bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM terasocket.connected_many(gateway, ARRAY[socket], ARRAY[kind], ARRAY[principal], ARRAY[client_name], ARRAY[address]);
    RETURN (SELECT max(c.id) FROM terasocket.connections c WHERE c.gateway = connected.gateway AND c.kind = connected.kind
            AND c.principal = connected.principal AND c.socket IS NOT DISTINCT FROM connected.socket);
END $$;

-- connected_many: the same for many sockets of a gateway, all or none.
CREATE OR REPLACE FUNCTION terasocket.connected_many(gateway uuid, sockets bigint[], kinds text[], principals integer[], client_names text[], addresses text[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    new_kinds  text[];      -- of principals that were offline
    newcomers  integer[];
BEGIN
    PERFORM FROM terasocket.gateways g WHERE g.id = connected_many.gateway AND g.lease_until > '-infinity' FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('gateway %s is not registered', connected_many.gateway);
    END IF;
    WITH came AS (
        INSERT INTO terasocket.online AS o (kind, principal, connected_at)
        SELECT w.kind, w.principal, clock_timestamp() FROM unnest(kinds, principals) w (kind, principal) GROUP BY 1, 2 ORDER BY 1, 2   -- the order of locks
        ON CONFLICT ON CONSTRAINT online_pkey DO UPDATE SET offline_at = NULL, connected_at = clock_timestamp()
        RETURNING o.kind, o.principal, o.online_since
    )
    SELECT array_agg(c.kind ORDER BY c.kind, c.principal) FILTER (WHERE c.online_since IS NULL),
           array_agg(c.principal ORDER BY c.kind, c.principal) FILTER (WHERE c.online_since IS NULL)
    INTO   new_kinds, newcomers FROM came c;
    PERFORM terasocket.bridge_moved(kinds, principals);
    INSERT INTO terasocket.connections (gateway, socket, kind, principal, client_name, address)
    SELECT connected_many.gateway, w.socket, w.kind, w.principal, w.client_name, w.address
    FROM   unnest(sockets, kinds, principals, client_names, addresses) w (socket, kind, principal, client_name, address)
    ON CONFLICT ON CONSTRAINT connections_socket DO NOTHING;   -- recorded before
    IF newcomers IS NOT NULL THEN
        UPDATE terasocket.online o SET online_since = clock_timestamp()
        FROM   unnest(new_kinds, newcomers) n (kind, principal) WHERE o.kind = n.kind AND o.principal = n.principal;
        PERFORM terasocket.presence_events(new_kinds, newcomers, 'CONNECTED');
    END IF;
END $$;

-- disconnected: that socket is closed. If it was the last of its principal anywhere, the principal is offline after the grace, or at once
-- if it left on purpose (logout, kick), unless the socket was replaced. Nothing happens if the connection no longer exists.
CREATE OR REPLACE FUNCTION terasocket.disconnected(connection bigint, grace interval) RETURNS void
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
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM terasocket.bridge_moved(gone.kind, gone.principal);
    IF EXISTS (SELECT FROM terasocket.connections c WHERE c.kind = gone.kind AND c.principal = gone.principal) THEN
        RETURN;
    END IF;
    IF grace <= interval '0' AND (SELECT k.is_replaced AND k.at > clock_timestamp() - interval '1 minute' FROM terasocket.kicked k
                                  WHERE  k.kind = gone.kind AND k.principal = gone.principal ORDER BY k.id DESC LIMIT 1) THEN
        grace := interval '5 seconds';   -- its replacement may not be recorded yet
    END IF;
    IF grace > interval '0' THEN
        UPDATE terasocket.online o SET offline_at = clock_timestamp() + grace WHERE o.kind = gone.kind AND o.principal = gone.principal;
    ELSE
        PERFORM terasocket.go_offline(gone.kind, gone.principal);
    END IF;
END $$;

-- disconnected_many: the same for many sockets of a gateway, by its own numbers, all or none.
CREATE OR REPLACE FUNCTION terasocket.disconnected_many(gateway uuid, sockets bigint[], grace interval) RETURNS void
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

-- go_offline: announces it once. The caller holds the row of online.
CREATE OR REPLACE FUNCTION terasocket.go_offline(kind text, principal integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM terasocket.online o WHERE o.kind = go_offline.kind AND o.principal = go_offline.principal;
    IF FOUND THEN
        PERFORM terasocket.presence_event(go_offline.kind, go_offline.principal, 'DISCONNECTED');
    END IF;
END $$;

-- presence_sweep: every gateway calls it about once a second, and again at once if it did something. Takes offline principals whose grace
-- is over, or who were kicked in it, and, with the_dead, the clients of a gateway whose lease has expired; and removes people from
-- sessions that have ended. Concurrent calls do not repeat each other's work. One call does a bounded part of the work and returns its
-- amount: people whose grace or session was over, and sockets and gateways that were dead.
CREATE OR REPLACE FUNCTION terasocket.presence_sweep(the_dead boolean DEFAULT true) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at_most  CONSTANT integer := 500;
    dead     uuid;
    who      record;
    n        integer := 0;
BEGIN
    -- one dead gateway per call: locking rows of online in order for one, and then for another, could deadlock
    IF the_dead THEN
        SELECT g.id INTO dead FROM terasocket.gateways g WHERE g.lease_until < clock_timestamp() LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    IF dead IS NOT NULL THEN
        n := terasocket.end_gateway(dead, at_most);
    END IF;
    FOR who IN SELECT o.kind, o.principal FROM terasocket.online o
               WHERE  o.offline_at IS NOT NULL
                 AND  (o.offline_at < clock_timestamp()
                       OR EXISTS (SELECT FROM terasocket.kicked k
                                  WHERE  k.kind = o.kind AND k.principal = o.principal AND k.at >= o.connected_at AND NOT k.is_replaced))
               ORDER BY 1, 2 LIMIT at_most FOR UPDATE OF o SKIP LOCKED LOOP
        PERFORM terasocket.go_offline(who.kind, who.principal);
        n := n + 1;
    END LOOP;
    DELETE FROM terasocket.kicked k WHERE k.ctid = ANY (ARRAY(
        SELECT o.ctid FROM terasocket.kicked o WHERE o.at < clock_timestamp() - interval '5 minutes' FOR UPDATE SKIP LOCKED));
    RETURN n + terasocket.leave_ended_sessions();
END $$;
