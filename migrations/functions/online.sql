-- What REST shows of presence, and whom it allows to disconnect (OpenTera's sheet services, sections 4 to 6).

-- online_seen: who of a kind is online or busy and visible to this user, as the objects of OpenTera's REST API, in its order: users by
-- first name, the others by name. Participants include their project and its site.
CREATE OR REPLACE FUNCTION terasocket.online_seen(viewer integer, kind text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF online_seen.kind IN ('user', 'participant', 'device') IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = format('kind is %L: it must be user, participant or device', online_seen.kind);
    END IF;
    RETURN (
        WITH present AS MATERIALIZED (
            SELECT p.principal AS id, p.online_since IS NOT NULL AS is_online, p.busy IS NOT NULL AS is_busy, p.status, p.status_at,
                   CASE p.kind WHEN 'user'        THEN terasocket.user_clause(p.principal)
                               WHEN 'participant' THEN terasocket.participant_clause(p.principal)
                               ELSE                    terasocket.device_clause(p.principal) END AS clause
            FROM   terasocket.presence p WHERE p.kind = online_seen.kind
        ), held AS (
            SELECT array_agg(h.tag) AS tags
            FROM   terasocket.holders(ARRAY(SELECT DISTINCT unnest(p.clause) FROM present p)) h WHERE h.id_user = viewer
        ), seen AS MATERIALIZED (
            SELECT p.* FROM present p, held WHERE p.clause && held.tags
        ), object AS (
            SELECT u.user_firstname AS name, u.id_user AS id, jsonb_build_object(
                       'id_user', u.id_user, 'user_2fa_enabled', coalesce(to_jsonb(u) -> 'user_2fa_enabled', 'false'), 'user_enabled', u.user_enabled,
                       'user_firstname', u.user_firstname, 'user_lastname', u.user_lastname, 'user_superadmin', u.user_superadmin,
                       'user_uuid', u.user_uuid, 'user_name', concat_ws(' ', u.user_firstname, u.user_lastname),
                       'user_online', s.is_online, 'user_busy', s.is_busy) AS value
            FROM   seen s JOIN OPENTERA.t_users u ON u.id_user = s.id AND u.deleted_at IS NULL
            WHERE  online_seen.kind = 'user'
            UNION ALL
            SELECT p.participant_name, p.id_participant, jsonb_build_object(
                       'id_participant', p.id_participant, 'id_participant_group', p.id_participant_group, 'id_project', p.id_project,
                       'participant_email', p.participant_email, 'participant_enabled', p.participant_enabled,
                       'participant_name', p.participant_name, 'participant_token_enabled', p.participant_token_enabled,
                       'participant_uuid', p.participant_uuid, 'participant_online', s.is_online, 'participant_busy', s.is_busy,
                       'project_name', o.project_name, 'id_site', o.id_site, 'site_name', t.site_name)
            FROM   seen s
            JOIN   OPENTERA.t_participants p ON p.id_participant = s.id AND p.deleted_at IS NULL
            JOIN   OPENTERA.t_projects o     ON o.id_project = p.id_project
            JOIN   OPENTERA.t_sites t        ON t.id_site = o.id_site
            WHERE  online_seen.kind = 'participant'
            UNION ALL
            SELECT d.device_name, d.id_device, jsonb_build_object(
                       'device_enabled', d.device_enabled, 'device_name', d.device_name, 'device_uuid', d.device_uuid,
                       'id_device', d.id_device, 'id_device_subtype', d.id_device_subtype, 'id_device_type', d.id_device_type,
                       'device_online', s.is_online, 'device_busy', s.is_busy,
                       'device_status', jsonb_build_object('online', s.is_online, 'busy', s.is_busy, 'status',
                           CASE WHEN s.status IS NOT NULL THEN jsonb_build_object('status', s.status, 'timestamp', s.status_at) END))
            FROM   seen s JOIN OPENTERA.t_devices d ON d.id_device = s.id AND d.deleted_at IS NULL
            WHERE  online_seen.kind = 'device'
        )
        SELECT coalesce(jsonb_agg(o.value ORDER BY o.name COLLATE "C", o.id), '[]') FROM object o);
END $$;

-- device_by_token: the device with this static token, and the key by which OpenTera signs such tokens (null: it has none). The caller
-- must verify the signature. No row: no such token, or a deleted device.
CREATE OR REPLACE FUNCTION terasocket.device_by_token(token text) RETURNS TABLE (id integer, uuid text, name text, is_enabled boolean, key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT d.id_device, d.device_uuid::text, d.device_name::text, d.device_enabled,
           (SELECT s.server_settings_value::text FROM OPENTERA.t_server_settings s WHERE s.server_settings_name = 'TokenEncryptionKey')
    FROM   OPENTERA.t_devices d WHERE d.device_token = device_by_token.token AND d.deleted_at IS NULL;
END $$;

-- administered: the sites and projects on which this user's role, of any service, is exactly "admin".
CREATE OR REPLACE FUNCTION terasocket.administered(viewer integer) RETURNS TABLE (scope text, id integer)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    WITH caller AS (
        SELECT u.id_user, u.user_superadmin FROM OPENTERA.t_users u
        WHERE  u.id_user = viewer AND u.deleted_at IS NULL AND u.user_enabled
    ), role AS (
        SELECT r.id_site, r.id_project
        FROM   caller c
        JOIN   OPENTERA.t_users_users_groups m ON m.id_user = c.id_user AND m.deleted_at IS NULL
        JOIN   OPENTERA.t_users_groups g       ON g.id_user_group = m.id_user_group AND g.deleted_at IS NULL
        JOIN   OPENTERA.t_services_access sa   ON sa.id_user_group = g.id_user_group AND sa.deleted_at IS NULL
        JOIN   OPENTERA.t_services_roles r     ON r.id_service_role = sa.id_service_role AND r.deleted_at IS NULL
        WHERE  r.service_role_name = 'admin'
    ), site AS (
        SELECT s.id_site FROM OPENTERA.t_sites s
        WHERE  s.deleted_at IS NULL
          AND (s.id_site IN (SELECT r.id_site FROM role r) OR EXISTS (SELECT FROM caller c WHERE c.user_superadmin))
    )
    SELECT 'site', s.id_site FROM site s
    UNION ALL
    SELECT 'project', p.id_project FROM OPENTERA.t_projects p
    WHERE  p.deleted_at IS NULL
      AND (p.id_project IN (SELECT r.id_project FROM role r) OR p.id_site IN (SELECT s.id_site FROM site s)
           OR EXISTS (SELECT FROM caller c WHERE c.user_superadmin));
END $$;

-- user_may_disconnect: the "admin only" sets of access-rules, section 3: users with an OpenTera role directly on a project that the
-- caller administers, and the caller; participants of these projects; devices of the sites that it administers. A superadmin may
-- disconnect everybody.
CREATE OR REPLACE FUNCTION terasocket.user_may_disconnect(viewer integer, kind text, target integer) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    is_superadmin boolean;
    clause        text[];
BEGIN
    SELECT u.user_superadmin INTO is_superadmin FROM OPENTERA.t_users u
    WHERE  u.id_user = viewer AND u.deleted_at IS NULL AND u.user_enabled;
    IF is_superadmin IS NULL THEN
        RETURN false;
    END IF;
    CASE user_may_disconnect.kind
    WHEN 'user' THEN
        SELECT terasocket.user_clause(o.id_user) INTO clause
        FROM   OPENTERA.t_users o WHERE o.id_user = target AND o.deleted_at IS NULL;
    WHEN 'participant' THEN
        SELECT terasocket.participant_clause(o.id_participant) || '{x}' INTO clause
        FROM   OPENTERA.t_participants o JOIN OPENTERA.t_projects p ON p.id_project = o.id_project AND p.deleted_at IS NULL
        WHERE  o.id_participant = target AND o.deleted_at IS NULL;
    WHEN 'device' THEN
        SELECT terasocket.device_clause(o.id_device) INTO clause
        FROM   OPENTERA.t_devices o WHERE o.id_device = target AND o.deleted_at IS NULL;
    END CASE;
    RETURN coalesce(is_superadmin AND 'x' = ANY (clause)
        OR 'u:' || viewer = ANY (clause)
        OR clause && ARRAY(SELECT left(a.scope, 1) || ':' || a.id FROM terasocket.administered(viewer) a), false);
END $$;

-- service_may_disconnect: the sets of a service (access-rules, section 4): participants of its projects; devices linked
-- to these; users with an OpenTera role on them, OpenTera's admins of their sites, and all superadmins.
CREATE OR REPLACE FUNCTION terasocket.service_may_disconnect(service integer, kind text, target integer) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    projects integer[];
    sites    integer[];
BEGIN
    SELECT array_agg(p.id_project), array_agg(p.id_site) INTO projects, sites
    FROM   OPENTERA.t_services v
    JOIN   OPENTERA.t_services_projects l ON l.id_service = v.id_service AND l.deleted_at IS NULL
    JOIN   OPENTERA.t_projects p          ON p.id_project = l.id_project AND p.deleted_at IS NULL
    WHERE  v.id_service = service AND v.service_enabled AND v.deleted_at IS NULL;
    CASE service_may_disconnect.kind
    WHEN 'user' THEN
        RETURN EXISTS (SELECT FROM OPENTERA.t_users u
                       WHERE  u.id_user = target AND u.deleted_at IS NULL
                         AND (u.user_superadmin
                              OR EXISTS (SELECT
                                         FROM   OPENTERA.t_users_users_groups m
                                         JOIN   OPENTERA.t_users_groups g     ON g.id_user_group = m.id_user_group AND g.deleted_at IS NULL
                                         JOIN   OPENTERA.t_services_access sa ON sa.id_user_group = g.id_user_group AND sa.deleted_at IS NULL
                                         JOIN   OPENTERA.t_services_roles r   ON r.id_service_role = sa.id_service_role AND r.deleted_at IS NULL
                                         JOIN   OPENTERA.t_services s         ON s.id_service = r.id_service AND s.service_key = 'OpenTeraServer'
                                         WHERE  m.id_user = u.id_user AND m.deleted_at IS NULL
                                           AND (r.id_project = ANY (projects) OR r.id_site = ANY (sites) AND r.service_role_name = 'admin'))));
    WHEN 'participant' THEN
        RETURN EXISTS (SELECT FROM OPENTERA.t_participants p
                       WHERE  p.id_participant = target AND p.deleted_at IS NULL AND p.id_project = ANY (projects));
    WHEN 'device' THEN
        RETURN EXISTS (SELECT FROM OPENTERA.t_devices d
                       JOIN   OPENTERA.t_devices_projects l ON l.id_device = d.id_device AND l.deleted_at IS NULL
                       WHERE  d.id_device = target AND d.deleted_at IS NULL AND l.id_project = ANY (projects));
    END CASE;
END $$;

-- disconnect: kicks the user, participant or device with this id, or otherwise with this UUID, for a user or a service.
--   done       the kick is in the log, whether anybody is connected or not
--   self       a user named itself
--   forbidden  not among those that the caller may disconnect, deleted, or unknown: the caller cannot tell which
CREATE OR REPLACE FUNCTION terasocket.disconnect(caller text, caller_id integer, kind text, id bigint, uuid text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    by_uuid      text := CASE WHEN disconnect.id IS NULL THEN lower(disconnect.uuid) END;
    target       integer;
    target_uuid  text;
    is_allowed   boolean;
BEGIN
    CASE disconnect.kind
    WHEN 'user' THEN
        SELECT o.id_user, o.user_uuid INTO target, target_uuid FROM OPENTERA.t_users o
        WHERE  o.id_user = disconnect.id OR o.user_uuid = by_uuid;
    WHEN 'participant' THEN
        SELECT o.id_participant, o.participant_uuid INTO target, target_uuid FROM OPENTERA.t_participants o
        WHERE  o.id_participant = disconnect.id OR o.participant_uuid = by_uuid;
    WHEN 'device' THEN
        SELECT o.id_device, o.device_uuid INTO target, target_uuid FROM OPENTERA.t_devices o
        WHERE  o.id_device = disconnect.id OR o.device_uuid = by_uuid;
    END CASE;
    CASE caller
    WHEN 'user' THEN
        IF disconnect.kind = 'user' AND target = caller_id THEN
            RETURN 'self';
        END IF;
        is_allowed := terasocket.user_may_disconnect(caller_id, disconnect.kind, target);
    WHEN 'service' THEN
        is_allowed := terasocket.service_may_disconnect(caller_id, disconnect.kind, target);
    END CASE;
    IF is_allowed IS NOT TRUE THEN
        RETURN 'forbidden';
    END IF;
    PERFORM terasocket.kick(target_uuid);
    RETURN 'done';
END $$;
