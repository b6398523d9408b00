-- Routing keys: who may see an object, by the rules of OpenTera's access-rules (sections 2 and 3 of that sheet).
--
-- Keys are a JSON array of clauses, each an array of tags. Whoever holds at least one tag of every clause sees the object. Without a
-- clause, or with an empty one, nobody does.
--   x      superadmin
--   u:ID   that user
--   p:ID   any role on that project, or admin of its site
--   s:ID   any role on that site, or on a project of it
--   a:ID   admin of that site
--   t:ID   that participant    d:ID   that device
--   service:ID, service:UUID, session_type:ID, test_type:ID   whoever sees that object: terasocket.aliases holds its keys
-- Functions, not views: a view would make OpenTera's own ALTER TABLE ... DROP COLUMN fail. PL/pgSQL, though a single SQL expression would
-- do, because it caches its plan; a function in SQL is planned at every call.

-- The clauses of each kind of object, by its id. The object itself may be deleted: the caller decides whether that matters.

CREATE OR REPLACE FUNCTION terasocket.user_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    -- only OpenTera's own roles directly on a project make a user visible to the others of that project
    SELECT ARRAY['x', 'u:' || user_clause.id] || ARRAY(
        SELECT DISTINCT 'p:' || r.id_project
        FROM   OPENTERA.t_users_users_groups m
        JOIN   OPENTERA.t_users_groups g     ON g.id_user_group = m.id_user_group AND g.deleted_at IS NULL
        JOIN   OPENTERA.t_services_access sa ON sa.id_user_group = g.id_user_group AND sa.deleted_at IS NULL
        JOIN   OPENTERA.t_services_roles r   ON r.id_service_role = sa.id_service_role AND r.deleted_at IS NULL
        JOIN   OPENTERA.t_services s         ON s.id_service = r.id_service AND s.service_key = 'OpenTeraServer'
        WHERE  m.id_user = user_clause.id AND m.deleted_at IS NULL AND r.id_project IS NOT NULL
        ORDER  BY 1)
); END $$;

CREATE OR REPLACE FUNCTION terasocket.user_group_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT 'p:' || p.id_project
        FROM   OPENTERA.t_services_access sa
        JOIN   OPENTERA.t_services_roles r ON r.id_service_role = sa.id_service_role AND r.deleted_at IS NULL
        JOIN   OPENTERA.t_projects p       ON p.deleted_at IS NULL
                                 AND (p.id_project = r.id_project
                                      OR (r.service_role_name = 'admin' AND p.id_site = r.id_site))
        WHERE  sa.id_user_group = user_group_clause.id AND sa.deleted_at IS NULL
        ORDER  BY 1)
); END $$;

CREATE OR REPLACE FUNCTION terasocket.device_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT 's:' || l.id_site FROM OPENTERA.t_devices_sites l
        WHERE  l.id_device = device_clause.id AND l.deleted_at IS NULL ORDER BY 1)
); END $$;

CREATE OR REPLACE FUNCTION terasocket.service_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    -- OpenTera tests for deletion after an outer join: if all links of one side are deleted, they hide the other side too
    WITH p AS (SELECT l.id_project, l.deleted_at FROM OPENTERA.t_services_projects l WHERE l.id_service = service_clause.id),
         s AS (SELECT l.id_site, l.deleted_at FROM OPENTERA.t_services_sites l WHERE l.id_service = service_clause.id)
    SELECT ARRAY['x']
        || ARRAY(SELECT DISTINCT 'p:' || p.id_project FROM p
                 WHERE p.deleted_at IS NULL
                   AND (NOT EXISTS (SELECT FROM s) OR EXISTS (SELECT FROM s WHERE s.deleted_at IS NULL)) ORDER BY 1)
        || ARRAY(SELECT DISTINCT 'a:' || s.id_site FROM s
                 WHERE s.deleted_at IS NULL
                   AND (NOT EXISTS (SELECT FROM p) OR EXISTS (SELECT FROM p WHERE p.deleted_at IS NULL)) ORDER BY 1)
); END $$;

CREATE OR REPLACE FUNCTION terasocket.session_type_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT 's:' || l.id_site FROM OPENTERA.t_sessions_types_sites l
        WHERE  l.id_session_type = session_type_clause.id AND l.deleted_at IS NULL ORDER BY 1)
); END $$;

CREATE OR REPLACE FUNCTION terasocket.test_type_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT 's:' || l.id_site FROM OPENTERA.t_tests_types_sites l
        WHERE  l.id_test_type = test_type_clause.id AND l.deleted_at IS NULL ORDER BY 1)
); END $$;

CREATE OR REPLACE FUNCTION terasocket.participant_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY(SELECT 'p:' || p.id_project FROM OPENTERA.t_participants p
                 WHERE p.id_participant = participant_clause.id AND p.deleted_at IS NULL)
); END $$;

-- The open rule: creator user, member users, the projects of any member participant or of the creator participant.
CREATE OR REPLACE FUNCTION terasocket.session_clause(id bigint, id_creator_user bigint, id_creator_participant bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT array_remove(ARRAY['u:' || session_clause.id_creator_user], NULL)
        || ARRAY(SELECT DISTINCT 'u:' || l.id_user FROM OPENTERA.t_sessions_users l
                 WHERE l.id_session = session_clause.id AND l.deleted_at IS NULL ORDER BY 1)
        || ARRAY(SELECT DISTINCT 'p:' || p.id_project
                 FROM  (SELECT session_clause.id_creator_participant
                        UNION
                        SELECT l.id_participant FROM OPENTERA.t_sessions_participants l
                        WHERE  l.id_session = session_clause.id AND l.deleted_at IS NULL) m (id)
                 JOIN   OPENTERA.t_participants p ON p.id_participant = m.id AND p.deleted_at IS NULL ORDER BY 1)
); END $$;

-- living_clause: the clause of a user, participant or device that others are seen through: empty if it is deleted.
CREATE OR REPLACE FUNCTION terasocket.living_clause(object_type text, id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE object_type
    WHEN 'user' THEN
        RETURN coalesce((SELECT terasocket.user_clause(o.id_user) FROM OPENTERA.t_users o
                         WHERE o.id_user = living_clause.id AND o.deleted_at IS NULL), '{}');
    WHEN 'participant' THEN
        RETURN terasocket.participant_clause(id);
    WHEN 'device' THEN
        RETURN coalesce((SELECT terasocket.device_clause(o.id_device) FROM OPENTERA.t_devices o
                         WHERE o.id_device = living_clause.id AND o.deleted_at IS NULL), '{}');
    END CASE;
END $$;

-- living_session_clause: the open rule of a session that others are seen through: empty if it is deleted.
CREATE OR REPLACE FUNCTION terasocket.living_session_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN coalesce((
    SELECT terasocket.session_clause(o.id_session, o.id_creator_user, o.id_creator_participant)
    FROM   OPENTERA.t_sessions o WHERE o.id_session = living_session_clause.id AND o.deleted_at IS NULL), '{}');
END $$;

-- session_list_clause: the list rule of a session, as one clause, through which a test invitation is seen: everybody who sees its
-- creator, a member participant or a member device, and its member users.
CREATE OR REPLACE FUNCTION terasocket.session_list_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    s record;
BEGIN
    SELECT o.id_creator_user, o.id_creator_device, o.id_creator_participant, o.id_creator_service INTO s
    FROM   OPENTERA.t_sessions o WHERE o.id_session = session_list_clause.id AND o.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT t.tag
        FROM  (SELECT unnest(terasocket.living_clause('user', s.id_creator_user))
               UNION ALL
               SELECT unnest(terasocket.living_clause('device', s.id_creator_device))
               UNION ALL
               SELECT unnest(terasocket.living_clause('participant', s.id_creator_participant))
               UNION ALL
               SELECT 'service:' || s.id_creator_service
               UNION ALL
               SELECT 'u:' || l.id_user FROM OPENTERA.t_sessions_users l
               WHERE  l.id_session = session_list_clause.id AND l.deleted_at IS NULL
               UNION ALL
               SELECT unnest(terasocket.living_clause('participant', l.id_participant)) FROM OPENTERA.t_sessions_participants l
               WHERE  l.id_session = session_list_clause.id AND l.deleted_at IS NULL
               UNION ALL
               SELECT unnest(terasocket.living_clause('device', l.id_device)) FROM OPENTERA.t_sessions_devices l
               WHERE  l.id_session = session_list_clause.id AND l.deleted_at IS NULL) t (tag)
        WHERE  t.tag IS NOT NULL ORDER BY 1);
END $$;

-- keys: the routing keys of an object from its row as JSON, whether the row is deleted or not.
CREATE OR REPLACE FUNCTION terasocket.keys(object_type text, r jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE object_type
    WHEN 'site', 'session_type_site' THEN
        RETURN jsonb_build_array(jsonb_build_array('s:' || (r ->> 'id_site')));
    WHEN 'project', 'participant', 'participant_group', 'session_type_project' THEN
        RETURN jsonb_build_array(jsonb_build_array('p:' || (r ->> 'id_project')));
    WHEN 'user' THEN
        RETURN jsonb_build_array(terasocket.user_clause((r ->> 'id_user')::bigint));
    WHEN 'user_group' THEN
        RETURN jsonb_build_array(terasocket.user_group_clause((r ->> 'id_user_group')::bigint));
    WHEN 'device' THEN
        RETURN jsonb_build_array(terasocket.device_clause((r ->> 'id_device')::bigint));
    WHEN 'service' THEN
        RETURN jsonb_build_array(terasocket.service_clause((r ->> 'id_service')::bigint));
    WHEN 'session_type' THEN
        RETURN jsonb_build_array(terasocket.session_type_clause((r ->> 'id_session_type')::bigint));
    WHEN 'test_type' THEN
        -- superadmins see it even if its service is deleted
        RETURN jsonb_build_array(terasocket.test_type_clause((r ->> 'id_test_type')::bigint),
                                 jsonb_build_array('x', 'service:' || (r ->> 'id_service')));
    WHEN 'session' THEN
        RETURN jsonb_build_array(terasocket.session_clause((r ->> 'id_session')::bigint,
                   (r ->> 'id_creator_user')::bigint, (r ->> 'id_creator_participant')::bigint));
    WHEN 'asset' THEN
        RETURN jsonb_build_array(terasocket.living_session_clause((r ->> 'id_session')::bigint),
                                 jsonb_build_array('service:' || (r ->> 'asset_service_uuid')));
    WHEN 'test' THEN
        RETURN jsonb_build_array(terasocket.living_session_clause((r ->> 'id_session')::bigint),
                                 ARRAY(SELECT 'service:' || o.id_service FROM OPENTERA.t_tests_types o
                                       WHERE o.id_test_type = (r ->> 'id_test_type')::bigint AND o.deleted_at IS NULL));
    WHEN 'test_invitation' THEN
        RETURN jsonb_build_array(
            jsonb_build_array('test_type:' || (r ->> 'id_test_type')),
            jsonb_build_array('p:' || (r ->> 'id_project')),
            ARRAY(SELECT DISTINCT unnest(
                terasocket.living_clause('user', (r ->> 'id_user')::bigint)
                || terasocket.living_clause('participant', (r ->> 'id_participant')::bigint)
                || terasocket.living_clause('device', (r ->> 'id_device')::bigint)
                || terasocket.session_list_clause((r ->> 'id_session')::bigint)) ORDER BY 1));
    WHEN 'session_type_service' THEN
        RETURN jsonb_build_array(jsonb_build_array('session_type:' || (r ->> 'id_session_type')),
                                 jsonb_build_array('service:' || (r ->> 'id_service')));
    WHEN 'server_settings' THEN
        RETURN '[["x"]]';
    END CASE;
END $$;

-- aliases_of: the tags that stand for those who see this object, with its keys; no rows for other types.
CREATE OR REPLACE FUNCTION terasocket.aliases_of(object_type text, r jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE object_type
           WHEN 'service' THEN ARRAY['service:' || (r ->> 'id_service'), 'service:' || (r ->> 'service_uuid')]
           WHEN 'session_type' THEN ARRAY['session_type:' || (r ->> 'id_session_type')]
           WHEN 'test_type' THEN ARRAY['test_type:' || (r ->> 'id_test_type')] END
$$;
