-- Who may see what: the rules of OpenTera's access-rules on OpenTera's own role tables, as routing keys.
--
-- Routing keys say who may see an object: a JSON array of clauses, each an array of tags. A user sees the object
-- who holds at least one tag of every clause. No clause, or an empty one, is held by nobody.
--   x      superadmin
--   u:ID   that user
--   p:ID   any role on that project, or admin of its site
--   s:ID   any role on that site, or on a project of it
--   a:ID   admin of that site
--   t:ID   that participant    d:ID   that device
-- Keys are recorded with the event, from the object as it was; who holds a tag is asked when the event is delivered.
--
-- Functions, not views: a view would make OpenTera's own ALTER TABLE ... DROP COLUMN fail.

-- holders: the users that hold each of these tags. Tags of anything unknown or deleted are held by nobody;
-- dying ('site:3', 'project:7', 'user_group:5') is taken as if it were alive, for the moment in which it dies.
-- (One plan for all calls: to make one takes longer than to run it.)
CREATE FUNCTION terasocket.holders(tags text[], dying text DEFAULT '')
RETURNS TABLE (tag text, id_user integer)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT DISTINCT t.tag, left(t.tag, 1) AS scope, nullif(substr(t.tag, 3), '')::bigint AS id
        FROM   unnest(tags) t (tag)
        WHERE  t.tag ~ '^(x|[usap]:[0-9]{1,10})$'
    ), site AS (
        SELECT w.tag, w.scope, s.id_site
        FROM   wanted w JOIN OPENTERA.t_sites s ON s.id_site = w.id
        WHERE  w.scope IN ('s', 'a') AND (s.deleted_at IS NULL OR dying = 'site:' || s.id_site)
    ), project AS (
        SELECT w.tag, p.id_project, p.id_site
        FROM   wanted w JOIN OPENTERA.t_projects p ON p.id_project = w.id
        WHERE  w.scope = 'p' AND (p.deleted_at IS NULL OR dying = 'project:' || p.id_project)
    ), role AS (
        -- the service of the role is not looked at, as in OpenTera: a role of any service counts
        SELECT s.tag, r.id_service_role
        FROM   site s JOIN OPENTERA.t_services_roles r ON r.id_site = s.id_site AND r.deleted_at IS NULL
        WHERE  s.scope = 's' OR r.service_role_name = 'admin'
        UNION
        SELECT s.tag, r.id_service_role
        FROM   site s
        JOIN   OPENTERA.t_projects p       ON p.id_site = s.id_site AND (p.deleted_at IS NULL OR dying = 'project:' || p.id_project)
        JOIN   OPENTERA.t_services_roles r ON r.id_project = p.id_project AND r.deleted_at IS NULL
        WHERE  s.scope = 's'
        UNION
        SELECT p.tag, r.id_service_role
        FROM   project p JOIN OPENTERA.t_services_roles r ON r.id_project = p.id_project AND r.deleted_at IS NULL
        UNION
        SELECT p.tag, r.id_service_role
        FROM   project p
        JOIN   OPENTERA.t_sites s          ON s.id_site = p.id_site AND (s.deleted_at IS NULL OR dying = 'site:' || s.id_site)
        JOIN   OPENTERA.t_services_roles r ON r.id_site = s.id_site AND r.deleted_at IS NULL AND r.service_role_name = 'admin'
    )
    SELECT r.tag, u.id_user
    FROM   role r
    JOIN   OPENTERA.t_services_access sa   ON sa.id_service_role = r.id_service_role AND sa.deleted_at IS NULL
    JOIN   OPENTERA.t_users_groups g       ON g.id_user_group = sa.id_user_group
                                 AND (g.deleted_at IS NULL OR dying = 'user_group:' || g.id_user_group)
    JOIN   OPENTERA.t_users_users_groups m ON m.id_user_group = g.id_user_group AND m.deleted_at IS NULL
    JOIN   OPENTERA.t_users u              ON u.id_user = m.id_user AND u.deleted_at IS NULL AND u.user_enabled
    UNION
    SELECT a.tag, u.id_user
    FROM  (SELECT site.tag FROM site UNION SELECT project.tag FROM project
           UNION SELECT w.tag FROM wanted w WHERE w.scope = 'x') a
    CROSS  JOIN OPENTERA.t_users u
    WHERE  u.user_superadmin AND u.deleted_at IS NULL AND u.user_enabled
    UNION
    SELECT w.tag, u.id_user
    FROM   wanted w JOIN OPENTERA.t_users u ON u.id_user = w.id AND u.deleted_at IS NULL AND u.user_enabled
    WHERE  w.scope = 'u';
END $$;

-- clauses: routing keys as JSON. Malformed ones have no clause: they must not take the rest of the batch with them.
CREATE FUNCTION terasocket.clauses(key text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    parsed jsonb;
BEGIN
    parsed := key;
    RETURN CASE jsonb_typeof(parsed) WHEN 'array' THEN parsed ELSE '[]' END;
EXCEPTION WHEN OTHERS THEN
    RETURN '[]';
END $$;

-- audience: for a batch of routing keys, who may see. ord is the place in the batch, from 1; kind is 1 user,
-- 2 participant, 3 device (no database event has a key of theirs). A key that nobody holds gives no row.
-- (jit is off: compiling would take a thousand times as long as running.)
CREATE FUNCTION terasocket.audience(keys text[])
RETURNS TABLE (ord bigint, kind smallint, ids integer[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH clause AS (
        SELECT k.ord, c.n, c.tags
        FROM   unnest(keys) WITH ORDINALITY k (key, ord),
               jsonb_array_elements(terasocket.clauses(k.key)) WITH ORDINALITY c (tags, n)
    ), asked AS (
        SELECT c.ord, c.n, t.tag
        FROM   clause c, jsonb_array_elements_text(CASE jsonb_typeof(c.tags) WHEN 'array' THEN c.tags ELSE '[]' END) t (tag)
    ), self AS MATERIALIZED (
        SELECT DISTINCT a.tag, left(a.tag, 1) AS kind, substr(a.tag, 3)::bigint AS id FROM asked a WHERE a.tag ~ '^[td]:[0-9]{1,10}$'
    ), held AS MATERIALIZED (
        SELECT h.tag, 1::smallint AS kind, h.id_user AS id
        FROM   terasocket.holders(ARRAY(SELECT DISTINCT asked.tag FROM asked)) h
        UNION ALL
        SELECT s.tag, 2::smallint, p.id_participant
        FROM   self s JOIN OPENTERA.t_participants p ON p.id_participant = s.id AND p.deleted_at IS NULL AND p.participant_enabled
        WHERE  s.kind = 't'
        UNION ALL
        SELECT s.tag, 3::smallint, d.id_device
        FROM   self s JOIN OPENTERA.t_devices d ON d.id_device = s.id AND d.deleted_at IS NULL AND d.device_enabled
        WHERE  s.kind = 'd'
    ), met AS (
        SELECT a.ord, h.kind, h.id, count(DISTINCT a.n) AS clauses
        FROM   asked a JOIN held h ON h.tag = a.tag
        GROUP  BY a.ord, h.kind, h.id
    )
    SELECT m.ord, m.kind, array_agg(m.id)
    FROM   met m JOIN (SELECT c.ord, count(*) AS clauses FROM clause c GROUP BY c.ord) c ON c.ord = m.ord AND c.clauses = m.clauses
    GROUP  BY m.ord, m.kind;
END $$;

-- recall: what this transaction remembers of an object that it has taken out of sight (table terasocket.pending).
CREATE FUNCTION terasocket.recall(what text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT p.value FROM terasocket.pending p WHERE p.xid = pg_current_xact_id_if_assigned() AND p.what = recall.what
); END $$;

-- PL/pgSQL, though one expression would do in SQL: it keeps its plan, where a function in SQL is planned at every call.

-- The clauses of each kind of object, by its key. The object itself may be dead: the caller decides whether that counts.

CREATE FUNCTION terasocket.user_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    -- only OpenTera's own roles, and only those directly on a project, make a user visible to the project's others
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

CREATE FUNCTION terasocket.user_group_clause(id bigint) RETURNS text[]
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

CREATE FUNCTION terasocket.device_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT 's:' || l.id_site FROM OPENTERA.t_devices_sites l
        WHERE  l.id_device = device_clause.id AND l.deleted_at IS NULL ORDER BY 1)
); END $$;

CREATE FUNCTION terasocket.service_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    -- OpenTera tests the alive flag after an outer join: links of one side that are all dead hide the other side too
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

CREATE FUNCTION terasocket.session_type_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT 's:' || l.id_site FROM OPENTERA.t_sessions_types_sites l
        WHERE  l.id_session_type = session_type_clause.id AND l.deleted_at IS NULL ORDER BY 1)
); END $$;

CREATE FUNCTION terasocket.test_type_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT 's:' || l.id_site FROM OPENTERA.t_tests_types_sites l
        WHERE  l.id_test_type = test_type_clause.id AND l.deleted_at IS NULL ORDER BY 1)
); END $$;

CREATE FUNCTION terasocket.participant_clause(id bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT ARRAY(SELECT 'p:' || p.id_project FROM OPENTERA.t_participants p
                 WHERE p.id_participant = participant_clause.id AND p.deleted_at IS NULL)
); END $$;

-- The open rule: creator user, member users, the projects of any member participant or of the creator participant.
CREATE FUNCTION terasocket.session_clause(id bigint, id_creator_user bigint, id_creator_participant bigint) RETURNS text[]
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

-- visible: the keys by which an object is seen through another one (an asset through its session and its service).
-- An object that is dead or gone is seen by nobody, except in the transaction that has just taken it away.
CREATE FUNCTION terasocket.visible(object_type text, id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    seen   jsonb := terasocket.recall(object_type || ':' || id);
    clause text[] := '{}';
BEGIN
    IF seen IS NOT NULL THEN
        RETURN seen;
    END IF;
    CASE object_type
    WHEN 'user' THEN
        SELECT terasocket.user_clause(o.id_user) INTO clause
        FROM   OPENTERA.t_users o WHERE o.id_user = visible.id AND o.deleted_at IS NULL;
    WHEN 'participant' THEN
        clause := terasocket.participant_clause(id);
    WHEN 'device' THEN
        SELECT terasocket.device_clause(o.id_device) INTO clause
        FROM   OPENTERA.t_devices o WHERE o.id_device = visible.id AND o.deleted_at IS NULL;
    WHEN 'service' THEN
        SELECT terasocket.service_clause(o.id_service) INTO clause
        FROM   OPENTERA.t_services o WHERE o.id_service = visible.id AND o.deleted_at IS NULL;
    WHEN 'session_type' THEN
        SELECT terasocket.session_type_clause(o.id_session_type) INTO clause
        FROM   OPENTERA.t_sessions_types o WHERE o.id_session_type = visible.id AND o.deleted_at IS NULL;
    WHEN 'session' THEN
        SELECT terasocket.session_clause(o.id_session, o.id_creator_user, o.id_creator_participant) INTO clause
        FROM   OPENTERA.t_sessions o WHERE o.id_session = visible.id AND o.deleted_at IS NULL;
    WHEN 'test_type' THEN
        SELECT terasocket.keys('test_type', to_jsonb(o))
        INTO   seen
        FROM   OPENTERA.t_tests_types o WHERE o.id_test_type = visible.id AND o.deleted_at IS NULL;
        RETURN coalesce(seen, '[[]]');
    END CASE;
    RETURN jsonb_build_array(to_jsonb(coalesce(clause, '{}')));
END $$;

-- The list rule of a session, as one clause: what a test invitation is seen through. Everybody who sees its creator, a
-- member participant or a member device, and its member users.
CREATE FUNCTION terasocket.session_list_clause(id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (
    SELECT coalesce(jsonb_agg(DISTINCT t.tag), '[]')
    FROM  (SELECT terasocket.visible('user', s.id_creator_user) -> 0
           FROM   OPENTERA.t_sessions s WHERE s.id_session = session_list_clause.id AND s.deleted_at IS NULL
           UNION ALL
           SELECT terasocket.visible('device', s.id_creator_device) -> 0
           FROM   OPENTERA.t_sessions s WHERE s.id_session = session_list_clause.id AND s.deleted_at IS NULL
           UNION ALL
           SELECT terasocket.visible('participant', s.id_creator_participant) -> 0
           FROM   OPENTERA.t_sessions s WHERE s.id_session = session_list_clause.id AND s.deleted_at IS NULL
           UNION ALL
           SELECT terasocket.visible('service', s.id_creator_service) -> 0
           FROM   OPENTERA.t_sessions s WHERE s.id_session = session_list_clause.id AND s.deleted_at IS NULL
           UNION ALL
           SELECT to_jsonb(ARRAY['u:' || l.id_user])
           FROM   OPENTERA.t_sessions s JOIN OPENTERA.t_sessions_users l ON l.id_session = s.id_session AND l.deleted_at IS NULL
           WHERE  s.id_session = session_list_clause.id AND s.deleted_at IS NULL
           UNION ALL
           SELECT terasocket.visible('participant', l.id_participant) -> 0
           FROM   OPENTERA.t_sessions s JOIN OPENTERA.t_sessions_participants l ON l.id_session = s.id_session AND l.deleted_at IS NULL
           WHERE  s.id_session = session_list_clause.id AND s.deleted_at IS NULL
           UNION ALL
           SELECT terasocket.visible('device', l.id_device) -> 0
           FROM   OPENTERA.t_sessions s JOIN OPENTERA.t_sessions_devices l ON l.id_session = s.id_session AND l.deleted_at IS NULL
           WHERE  s.id_session = session_list_clause.id AND s.deleted_at IS NULL) c (clause),
           jsonb_array_elements_text(c.clause) t (tag)
); END $$;

-- keys: the routing keys of an object from its row (as JSON; the body of an event will do). Whether the row itself is
-- deleted is not looked at.
CREATE FUNCTION terasocket.keys(object_type text, r jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE object_type
    WHEN 'site' THEN
        RETURN jsonb_build_array(jsonb_build_array('s:' || (r ->> 'id_site')));
    WHEN 'project' THEN
        -- the admins of the site hold p:ID anyway, but not any more when the project has moved to another site
        RETURN jsonb_build_array(jsonb_build_array('p:' || (r ->> 'id_project'), 'a:' || (r ->> 'id_site')));
    WHEN 'participant', 'participant_group', 'session_type_project' THEN
        RETURN jsonb_build_array(jsonb_build_array('p:' || (r ->> 'id_project')));
    WHEN 'session_type_site' THEN
        RETURN jsonb_build_array(jsonb_build_array('s:' || (r ->> 'id_site')));
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
        -- superadmins see it even when its service is dead
        RETURN jsonb_build_array(terasocket.test_type_clause((r ->> 'id_test_type')::bigint),
                                 coalesce(nullif(terasocket.visible('service', (r ->> 'id_service')::bigint) -> 0, '[]'), '["x"]'));
    WHEN 'session' THEN
        RETURN jsonb_build_array(terasocket.session_clause((r ->> 'id_session')::bigint,
                   (r ->> 'id_creator_user')::bigint, (r ->> 'id_creator_participant')::bigint));
    WHEN 'asset' THEN
        RETURN terasocket.visible('session', (r ->> 'id_session')::bigint)
            || coalesce((SELECT terasocket.visible('service', s.id_service) FROM OPENTERA.t_services s
                         WHERE s.service_uuid = r ->> 'asset_service_uuid'),
                        terasocket.recall('service:' || (r ->> 'asset_service_uuid')), '[[]]');
    WHEN 'test' THEN
        RETURN terasocket.visible('session', (r ->> 'id_session')::bigint)
            || terasocket.visible('service', (
                   SELECT o.id_service FROM OPENTERA.t_tests_types o
                   WHERE  o.id_test_type = (r ->> 'id_test_type')::bigint
                     AND (o.deleted_at IS NULL OR terasocket.recall('test_type:' || o.id_test_type) IS NOT NULL)));
    WHEN 'test_invitation' THEN
        RETURN terasocket.visible('test_type', (r ->> 'id_test_type')::bigint)
            || jsonb_build_array(
                   jsonb_build_array('p:' || (r ->> 'id_project')),
                   coalesce(terasocket.visible('user', (r ->> 'id_user')::bigint) -> 0, '[]')
                || coalesce(terasocket.visible('participant', (r ->> 'id_participant')::bigint) -> 0, '[]')
                || coalesce(terasocket.visible('device', (r ->> 'id_device')::bigint) -> 0, '[]')
                || terasocket.session_list_clause((r ->> 'id_session')::bigint));
    WHEN 'session_type_service' THEN
        RETURN terasocket.visible('session_type', (r ->> 'id_session_type')::bigint)
            || terasocket.visible('service', (r ->> 'id_service')::bigint);
    WHEN 'server_settings' THEN
        RETURN '[["x"]]';
    END CASE;
END $$;
