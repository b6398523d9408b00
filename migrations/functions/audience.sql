-- Audience: who satisfies routing keys now, by OpenTera's own role tables. For explain, for REST, and as the second opinion of the tests;
-- gateways use their index (holdings).

-- holders: the users that hold each of these tags. Nobody holds tags of anything unknown or deleted.
-- (One plan for all calls: making one takes longer than running it.)
CREATE OR REPLACE FUNCTION terasocket.holders(tags text[])
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
        WHERE  w.scope IN ('s', 'a') AND s.deleted_at IS NULL
    ), project AS (
        SELECT w.tag, p.id_project, p.id_site
        FROM   wanted w JOIN OPENTERA.t_projects p ON p.id_project = w.id
        WHERE  w.scope = 'p' AND p.deleted_at IS NULL
    ), role AS (
        -- the role's service does not matter, as in OpenTera: a role of any service counts
        SELECT s.tag, r.id_service_role
        FROM   site s JOIN OPENTERA.t_services_roles r ON r.id_site = s.id_site AND r.deleted_at IS NULL
        WHERE  s.scope = 's' OR r.service_role_name = 'admin'
        UNION
        SELECT s.tag, r.id_service_role
        FROM   site s
        JOIN   OPENTERA.t_projects p       ON p.id_site = s.id_site AND p.deleted_at IS NULL
        JOIN   OPENTERA.t_services_roles r ON r.id_project = p.id_project AND r.deleted_at IS NULL
        WHERE  s.scope = 's'
        UNION
        SELECT p.tag, r.id_service_role
        FROM   project p JOIN OPENTERA.t_services_roles r ON r.id_project = p.id_project AND r.deleted_at IS NULL
        UNION
        SELECT p.tag, r.id_service_role
        FROM   project p
        JOIN   OPENTERA.t_sites s          ON s.id_site = p.id_site AND s.deleted_at IS NULL
        JOIN   OPENTERA.t_services_roles r ON r.id_site = s.id_site AND r.deleted_at IS NULL AND r.service_role_name = 'admin'
    )
    SELECT r.tag, u.id_user
    FROM   role r
    JOIN   OPENTERA.t_services_access sa   ON sa.id_service_role = r.id_service_role AND sa.deleted_at IS NULL
    JOIN   OPENTERA.t_users_groups g       ON g.id_user_group = sa.id_user_group AND g.deleted_at IS NULL
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

-- clauses: routing keys as JSON. Malformed keys have no clause, so that they do not fail the rest of the batch.
CREATE OR REPLACE FUNCTION terasocket.clauses(key text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    parsed jsonb;
BEGIN
    parsed := key;
    RETURN CASE jsonb_typeof(parsed) WHEN 'array' THEN parsed ELSE '[]' END;
EXCEPTION WHEN OTHERS THEN
    RETURN '[]';
END $$;

-- resolved: the same keys with aliases replaced by their keys. An alias of several clauses stands alone in its clause.
CREATE OR REPLACE FUNCTION terasocket.resolved(keys jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    FOR i IN 1 .. 3 LOOP   -- a test type refers to its service, which refers to its projects
        EXIT WHEN keys::text !~ '"(service|session_type|test_type):';
        keys := coalesce((
            SELECT jsonb_agg(r.clause ORDER BY c.n, r.n)
            FROM   jsonb_array_elements(keys) WITH ORDINALITY c (clause, n),
                   LATERAL (
                       SELECT a.clause, a.n FROM terasocket.aliases o, jsonb_array_elements(o.keys) WITH ORDINALITY a (clause, n)
                       WHERE  o.tag = c.clause ->> 0 AND jsonb_typeof(c.clause) = 'array' AND jsonb_array_length(c.clause) = 1
                       UNION  ALL
                       SELECT coalesce((SELECT jsonb_agg(DISTINCT x.tag)
                                        FROM   jsonb_array_elements(CASE jsonb_typeof(c.clause) WHEN 'array' THEN c.clause ELSE '[]' END) t (tag)
                                        LEFT   JOIN terasocket.aliases o ON o.tag = t.tag #>> '{}',
                                               LATERAL (SELECT jsonb_array_elements(o.keys -> 0) WHERE o.tag IS NOT NULL
                                                        UNION ALL
                                                        SELECT t.tag WHERE o.tag IS NULL AND t.tag #>> '{}' !~ '^(service|session_type|test_type):') x (tag)), '[]'), 1
                       WHERE  jsonb_typeof(c.clause) <> 'array' OR jsonb_array_length(c.clause) <> 1
                          OR  NOT EXISTS (SELECT FROM terasocket.aliases o WHERE o.tag = c.clause ->> 0)) r), '[]');
    END LOOP;
    RETURN keys;
END $$;

-- audience: for a batch of routing keys, who may see. ord is the position in the batch, from 1; kind is 1 user, 2 participant, 3 device
-- (no database event has a key of theirs). Keys that nobody satisfies give no row.
-- (jit is off: compiling would take a thousand times as long as running.)
CREATE OR REPLACE FUNCTION terasocket.audience(keys text[])
RETURNS TABLE (ord bigint, kind smallint, ids integer[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH clause AS (
        SELECT k.ord, c.n, c.tags
        FROM   unnest(keys) WITH ORDINALITY k (key, ord),
               jsonb_array_elements(terasocket.resolved(terasocket.clauses(k.key))) WITH ORDINALITY c (tags, n)
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
