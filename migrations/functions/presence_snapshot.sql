-- The snapshot: the presence of others that a connecting client may see.

-- presence_snapshot: the presence of everyone that this principal may see, as the messages that would announce it (CONNECTED, then
-- JOINED_SESSION, then STATUS_CHANGED; users, participants, devices), and the last seq of the log: live events may repeat what was
-- announced later. One row.
CREATE OR REPLACE FUNCTION terasocket.presence_snapshot(viewer_kind text, viewer integer, OUT seq bigint, OUT names text[], OUT messages text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    tags  text[] := ARRAY(SELECT t.tag FROM terasocket.tags_of(viewer_kind, ARRAY[viewer]) t);
BEGIN
    seq := (SELECT a.last_seq FROM terasocket.announcer a);
    WITH seen AS MATERIALIZED (
        SELECT n.kind, n.principal, o.online_since, b.session_uuid AS busy, o.status, o.status_at
        FROM   terasocket.presence_near(tags) n
        LEFT   JOIN terasocket.online o ON o.kind = n.kind AND o.principal = n.principal
        LEFT   JOIN terasocket.busy b   ON b.kind = n.kind AND b.principal = n.principal
        WHERE  terasocket.presence_roles(n.kind, n.principal) && tags
    ), state AS (
        SELECT row_number() OVER (ORDER BY array_position('{user,participant,device}', p.kind), p.principal, e.ord) AS ord, m.name, m.message
        FROM   seen p,
               LATERAL (SELECT 1 AS ord, 'CONNECTED' AS type, '' AS status WHERE p.online_since IS NOT NULL
                        UNION ALL SELECT 2, 'JOINED_SESSION', '' WHERE p.busy IS NOT NULL
                        UNION ALL SELECT 3, 'STATUS_CHANGED', terasocket.status_text(p.status, p.status_at) WHERE p.status IS NOT NULL) e,
               LATERAL terasocket.presence_message(p.kind, p.principal, e.type, e.status) m
        WHERE  m.message IS NOT NULL
    )
    SELECT coalesce(array_agg(s.name ORDER BY s.ord), '{}'), coalesce(array_agg(s.message::text ORDER BY s.ord), '{}')
    INTO   names, messages FROM state s;
END $$;

-- presence_near: everybody who is online or busy and may be seen by a holder of these tags, and perhaps others: presence_roles() decides.
-- It starts from the tags, not from everybody who is online; for superadmins that makes no difference.
CREATE OR REPLACE FUNCTION terasocket.presence_near(tags text[]) RETURNS TABLE (kind text, principal integer)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    users         integer[] := terasocket.ids_of(tags, 'u');
    participants  integer[] := terasocket.ids_of(tags, 't');
    devices       integer[] := terasocket.ids_of(tags, 'd');
    projects      integer[] := terasocket.ids_of(tags, 'p');
    sites         integer[] := terasocket.ids_of(tags, 's');
BEGIN
    -- one query for each kind of viewer: what no viewer of that kind sees costs nothing
    IF users <> '{}' THEN
        RETURN QUERY
        WITH here AS NOT MATERIALIZED (
            SELECT o.kind, o.principal FROM terasocket.online o UNION ALL SELECT b.kind, b.principal FROM terasocket.busy b
        )
        SELECT h.kind, h.principal FROM here h WHERE h.kind = 'user' AND h.principal = ANY (users)
        UNION
        SELECT h.kind, h.principal
        FROM   OPENTERA.t_services_roles r
        JOIN   OPENTERA.t_services_access sa   ON sa.id_service_role = r.id_service_role
        JOIN   OPENTERA.t_users_users_groups m ON m.id_user_group = sa.id_user_group
        JOIN   here h                          ON h.kind = 'user' AND h.principal = m.id_user
        WHERE  r.id_project = ANY (projects)
        UNION
        SELECT h.kind, h.principal
        FROM   OPENTERA.t_participants p JOIN here h ON h.kind = 'participant' AND h.principal = p.id_participant WHERE p.id_project = ANY (projects)
        UNION
        SELECT h.kind, h.principal FROM OPENTERA.t_devices_sites l JOIN here h ON h.kind = 'device' AND h.principal = l.id_device WHERE l.id_site = ANY (sites)
        UNION
        SELECT h.kind, h.principal FROM here h WHERE 'x' = ANY (tags);
    END IF;
    IF participants <> '{}' OR devices <> '{}' THEN
        RETURN QUERY
        WITH near (kind, principal) AS (
            SELECT 'participant', unnest(participants) UNION SELECT 'device', unnest(devices)
            UNION SELECT 'participant', l.id_participant FROM OPENTERA.t_devices_participants l WHERE l.id_device = ANY (devices)
            UNION SELECT 'device', l.id_device FROM OPENTERA.t_devices_participants l WHERE l.id_participant = ANY (participants)
        )
        SELECT n.kind, n.principal FROM near n
        WHERE  EXISTS (SELECT FROM terasocket.online o WHERE o.kind = n.kind AND o.principal = n.principal)
           OR  EXISTS (SELECT FROM terasocket.busy b WHERE b.kind = n.kind AND b.principal = n.principal);
    END IF;
END $$;

-- ids_of: the ids in the tags of one kind.
CREATE OR REPLACE FUNCTION terasocket.ids_of(tags text[], kind text) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    RETURN ARRAY(SELECT substr(t.tag, 3)::integer FROM unnest(tags) t (tag) WHERE left(t.tag, 2) = kind || ':');
END $$;
