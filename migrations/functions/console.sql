-- What the console shows to operators (package console). Whoever may execute these functions learns who is connected, and whom OpenTera
-- knows: grant them with care. Only console_body reveals the contents of an event.

-- console_gateways: the gateways of the cluster, with their leases. lease: remaining seconds, negative if expired.
CREATE OR REPLACE FUNCTION terasocket.console_gateways() RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', g.name, 'started_at', g.started_at, 'sockets', s.sockets,
                   'lease', extract(epoch FROM CASE WHEN isfinite(g.lease_until) THEN g.lease_until - clock_timestamp() ELSE '-1 day' END)) ORDER BY g.name), '[]')
        FROM   terasocket.gateways g, LATERAL (SELECT count(*) AS sockets FROM terasocket.connections c WHERE c.gateway = g.id) s);
END $$;

-- console_people: at most so many of those who are online or busy and whose name contains this text, by name; for each one where it
-- belongs (a participant's project, a device's projects and sites, what a user has roles on), its session, and a device's status. total
-- is how many there are.
CREATE OR REPLACE FUNCTION terasocket.console_people(part text, most integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    RETURN (
        WITH person AS (
            SELECT p.*, u.user_uuid::text AS uuid, concat_ws(' ', u.user_firstname, u.user_lastname) AS name, u.user_superadmin AS is_superadmin
            FROM   terasocket.presence p JOIN OPENTERA.t_users u ON p.kind = 'user' AND u.id_user = p.principal
            UNION ALL
            SELECT p.*, t.participant_uuid::text, t.participant_name::text, false
            FROM   terasocket.presence p JOIN OPENTERA.t_participants t ON p.kind = 'participant' AND t.id_participant = p.principal
            UNION ALL
            SELECT p.*, d.device_uuid::text, d.device_name::text, false
            FROM   terasocket.presence p JOIN OPENTERA.t_devices d ON p.kind = 'device' AND d.id_device = p.principal
        ), chosen AS MATERIALIZED (
            SELECT count(*) OVER () AS total, p.* FROM person p
            WHERE  position(lower(part) IN lower(p.name)) > 0
            ORDER  BY p.name, p.kind, p.principal LIMIT most
        ), place AS (
            SELECT 'participant' AS kind, c.principal, t.id_project, NULL::integer AS id_site
            FROM   chosen c JOIN OPENTERA.t_participants t ON t.id_participant = c.principal WHERE c.kind = 'participant'
            UNION
            SELECT 'device', c.principal, l.id_project, NULL
            FROM   chosen c JOIN OPENTERA.t_devices_projects l ON l.id_device = c.principal AND l.deleted_at IS NULL WHERE c.kind = 'device'
            UNION
            SELECT 'device', c.principal, NULL, l.id_site
            FROM   chosen c JOIN OPENTERA.t_devices_sites l ON l.id_device = c.principal AND l.deleted_at IS NULL WHERE c.kind = 'device'
            UNION
            SELECT 'user', c.principal, CASE r.scope WHEN 'project' THEN r.id END, CASE r.scope WHEN 'site' THEN r.id END
            FROM   chosen c, terasocket.roles_of(c.principal) r WHERE c.kind = 'user' AND r.scope IS NOT NULL AND NOT r.is_gone
        ), named AS (
            SELECT l.kind, l.principal, jsonb_agg(jsonb_build_object('site', s.site_name, 'project', o.project_name) ORDER BY s.site_name, o.project_name NULLS FIRST) AS places
            FROM   place l
            LEFT   JOIN OPENTERA.t_projects o ON o.id_project = l.id_project
            JOIN   OPENTERA.t_sites s         ON s.id_site = coalesce(l.id_site, o.id_site)
            GROUP  BY l.kind, l.principal
        )
        SELECT jsonb_build_object('total', coalesce(max(c.total), 0), 'people', coalesce(jsonb_agg(jsonb_build_object(
                   'kind', c.kind, 'uuid', c.uuid, 'name', c.name, 'superadmin', c.is_superadmin, 'online_since', c.online_since,
                   'places', coalesce(n.places, '[]'), 'status', c.status, 'status_at', c.status_at,
                   'session', (SELECT jsonb_build_object('uuid', b.session_uuid, 'since', b.since, 'name', e.session_name)
                               FROM terasocket.busy b LEFT JOIN OPENTERA.t_sessions e ON e.session_uuid = b.session_uuid
                               WHERE b.kind = c.kind AND b.principal = c.principal),
                   'sockets', (SELECT count(*) FROM terasocket.connections k WHERE k.kind = c.kind AND k.principal = c.principal)) ORDER BY c.name, c.kind, c.principal), '[]'))
        FROM   chosen c LEFT JOIN named n USING (kind, principal));
END $$;

-- console_find: users, participants and devices that are not deleted and whose name contains this text, at most 20.
CREATE OR REPLACE FUNCTION terasocket.console_find(part text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.place, f.name, f.uuid), '[]') FROM (
            SELECT o.* FROM (
                SELECT 1 AS place, 'user' AS kind, u.user_uuid::text AS uuid, concat_ws(' ', u.user_firstname, u.user_lastname) AS name
                FROM   OPENTERA.t_users u WHERE u.deleted_at IS NULL
                UNION ALL
                SELECT 2, 'participant', p.participant_uuid::text, p.participant_name::text FROM OPENTERA.t_participants p WHERE p.deleted_at IS NULL
                UNION ALL
                SELECT 3, 'device', d.device_uuid::text, d.device_name::text FROM OPENTERA.t_devices d WHERE d.deleted_at IS NULL) o
            WHERE  position(lower(part) IN lower(o.name)) > 0
            ORDER  BY o.place, o.name, o.uuid LIMIT 20) f);
END $$;

-- console_log: rows of the log before a seq (null: the newest), or otherwise after one, newest first, without their contents. part: part
-- of an object type, message or topic, or the id of an object, or the seq; null: any. Without internal, only what clients receive.
CREATE OR REPLACE FUNCTION terasocket.console_log(before bigint, behind bigint, part text, internal boolean, most integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.seq DESC), '[]') FROM (
            SELECT v.seq, v.at, v.topic, v.type, v.op, v.object_type, v.object_id, v.announcement FROM terasocket.events v
            WHERE  v.seq > coalesce(behind, 0) AND v.seq < coalesce(before, 9223372036854775807)   -- written so that the index serves
              AND  (internal OR v.type NOT LIKE 'terasocket.%' AND v.type NOT IN ('opentera.protobuf.LoginEvent', 'opentera.protobuf.LogEvent'))
              AND  (part IS NULL OR v.seq::text = part OR v.object_id::text = part
                    OR position(lower(part) IN lower(concat_ws(' ', v.object_type, v.type, v.topic))) > 0)
            ORDER  BY v.seq DESC LIMIT most) e);
END $$;

-- console_body: the contents of an event, for this user: null unless it is a superadmin, neither disabled nor deleted, and there is such
-- an event.
CREATE OR REPLACE FUNCTION terasocket.console_body(seq bigint, viewer integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT jsonb_build_object('body', v.body, 'gone', v.gone) FROM terasocket.events v
            WHERE  v.seq = console_body.seq
              AND  EXISTS (SELECT FROM OPENTERA.t_users u WHERE u.id_user = viewer AND u.user_superadmin AND u.user_enabled AND u.deleted_at IS NULL));
END $$;
