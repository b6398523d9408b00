-- Why somebody may see an event, or not, for people. The answer is that of terasocket.audience(); with it come the rows that lead to it,
-- found in the opposite direction, from the client to what it holds.

-- roles_of: the living roles of a user, one row for each group and for the site or project that the role is on.
CREATE OR REPLACE FUNCTION terasocket.roles_of(viewer integer)
RETURNS TABLE (name text, scope text, id integer, id_site integer, is_gone boolean, role jsonb)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT r.service_role_name::text, o.scope, o.id, o.id_site, o.is_gone,
           jsonb_build_object('id_service_role', r.id_service_role, 'role', r.service_role_name, 'service', s.service_key,
                              'on', o.scope, 'id', o.id, 'name', o.name, 'is_gone', coalesce(o.is_gone, false),
                              'id_user_group', g.id_user_group, 'group', g.user_group_name)
    FROM   OPENTERA.t_users_users_groups m
    JOIN   OPENTERA.t_users_groups g     ON g.id_user_group = m.id_user_group AND g.deleted_at IS NULL
    JOIN   OPENTERA.t_services_access sa ON sa.id_user_group = g.id_user_group AND sa.deleted_at IS NULL
    JOIN   OPENTERA.t_services_roles r   ON r.id_service_role = sa.id_service_role AND r.deleted_at IS NULL
    LEFT   JOIN OPENTERA.t_services s    ON s.id_service = r.id_service
    LEFT   JOIN LATERAL (
           SELECT 'project' AS scope, p.id_project AS id, p.project_name AS name, p.id_site, p.deleted_at IS NOT NULL AS is_gone
           FROM   OPENTERA.t_projects p WHERE p.id_project = r.id_project
           UNION ALL
           SELECT 'site', t.id_site, t.site_name, t.id_site, t.deleted_at IS NOT NULL
           FROM   OPENTERA.t_sites t WHERE t.id_site = r.id_site) o ON true
    WHERE  m.id_user = viewer AND m.deleted_at IS NULL;
END $$;

-- needed: what holding this tag requires. Projects and sites are named, of people only the id is given.
CREATE OR REPLACE FUNCTION terasocket.needed(tag text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    ref       bigint := substring(tag FROM '^[usaptd]:([0-9]{1,10})$')::bigint;
    name      text;
    id_site   integer;
    site_name text;
    is_known  boolean := false;
BEGIN
    CASE left(tag, 1)
    WHEN 'p' THEN
        SELECT true, p.project_name, s.id_site, s.site_name INTO is_known, name, id_site, site_name
        FROM   OPENTERA.t_projects p LEFT JOIN OPENTERA.t_sites s ON s.id_site = p.id_site AND s.deleted_at IS NULL
        WHERE  p.id_project = ref AND p.deleted_at IS NULL;
    WHEN 's', 'a' THEN
        SELECT true, s.site_name INTO is_known, name FROM OPENTERA.t_sites s WHERE s.id_site = ref AND s.deleted_at IS NULL;
    WHEN 'u' THEN
        is_known := EXISTS (SELECT FROM OPENTERA.t_users u WHERE u.id_user = ref AND u.deleted_at IS NULL);
    WHEN 't' THEN
        is_known := EXISTS (SELECT FROM OPENTERA.t_participants p WHERE p.id_participant = ref AND p.deleted_at IS NULL);
    WHEN 'd' THEN
        is_known := EXISTS (SELECT FROM OPENTERA.t_devices d WHERE d.id_device = ref AND d.deleted_at IS NULL);
    ELSE
        is_known := tag = 'x';
    END CASE;
    RETURN jsonb_build_object('tag', tag, 'id', ref, 'name', name, 'id_site', id_site, 'site_name', site_name,
                              'is_gone', is_known IS NOT TRUE);
END $$;

-- paths: the rows by which this principal, neither deleted nor disabled, holds which of these tags.
CREATE OR REPLACE FUNCTION terasocket.paths(kind text, principal integer, tags text[]) RETURNS TABLE (tag text, path jsonb)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT DISTINCT t.tag, left(t.tag, 1) AS scope, nullif(substr(t.tag, 3), '')::bigint AS id
        FROM   unnest(tags) t (tag)
        WHERE  t.tag ~ '^(x|[usaptd]:[0-9]{1,10})$'
    ), living AS (
        -- what a role or a superadmin can hold: id_site is that of the site, or of the project's site
        SELECT w.tag, w.scope, w.id, s.id_site
        FROM   wanted w JOIN OPENTERA.t_sites s ON s.id_site = w.id AND s.deleted_at IS NULL WHERE w.scope IN ('s', 'a')
        UNION ALL
        SELECT w.tag, w.scope, w.id, p.id_site
        FROM   wanted w JOIN OPENTERA.t_projects p ON p.id_project = w.id AND p.deleted_at IS NULL WHERE w.scope = 'p'
        UNION ALL
        SELECT w.tag, w.scope, w.id, NULL FROM wanted w WHERE w.scope = 'x'
    )
    SELECT l.tag, jsonb_build_object('tag', l.tag, 'by', 'superadmin')
    FROM   living l JOIN OPENTERA.t_users u ON u.id_user = principal AND u.user_superadmin
    WHERE  paths.kind = 'user'
    UNION ALL
    SELECT l.tag, r.role || jsonb_build_object('tag', l.tag, 'by', 'role')
    FROM   terasocket.roles_of(principal) r
    JOIN   living l ON CASE l.scope || ' ' || r.scope
                       WHEN 's site'    THEN r.id = l.id
                       WHEN 's project' THEN r.id_site = l.id
                       WHEN 'a site'    THEN r.id = l.id AND r.name = 'admin'
                       WHEN 'p site'    THEN r.id = l.id_site AND r.name = 'admin'
                       WHEN 'p project' THEN r.id = l.id
                       END
    WHERE  paths.kind = 'user' AND NOT r.is_gone
    UNION ALL
    SELECT w.tag, jsonb_build_object('tag', w.tag, 'by', 'itself')
    FROM   wanted w
    WHERE  w.id = principal AND w.scope = (CASE paths.kind WHEN 'user' THEN 'u' WHEN 'participant' THEN 't' WHEN 'device' THEN 'd' END);
END $$;

-- explained: for each clause of routing keys whether this principal satisfies it, with which tags, and by which paths.
CREATE OR REPLACE FUNCTION terasocket.explained(keys jsonb, kind text, uuid text, principal integer) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    place     smallint := array_position('{user,participant,device}', explained.kind);
    clauses   jsonb[]  := ARRAY(SELECT CASE jsonb_typeof(c.tags) WHEN 'array' THEN c.tags ELSE '[]' END
                                FROM jsonb_array_elements(terasocket.clauses(keys::text)) WITH ORDINALITY c (tags, n) ORDER BY c.n);
    held      bigint[] := ARRAY(SELECT a.ord FROM terasocket.audience(ARRAY(SELECT jsonb_build_array(c.tags)::text FROM unnest(clauses) WITH ORDINALITY c (tags, n) ORDER BY c.n)) a
                                WHERE a.kind = place AND principal = ANY (a.ids));
    -- disabled and deleted principals hold nothing
    may_hold  boolean  := EXISTS (SELECT FROM terasocket.principal(explained.kind, explained.uuid));
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'satisfied', c.n = ANY (held),
                   'needed', (SELECT coalesce(jsonb_agg(terasocket.needed(t.tag) ORDER BY t.ord), '[]')
                              FROM jsonb_array_elements_text(c.tags) WITH ORDINALITY t (tag, ord)),
                   'has', (SELECT coalesce(jsonb_agg(p.path ORDER BY p.path ->> 'by', p.tag, p.path), '[]')
                           FROM terasocket.paths(explained.kind, principal, ARRAY(SELECT jsonb_array_elements_text(c.tags) WHERE may_hold)) p))
                   ORDER BY c.n), '[]')
        FROM   unnest(clauses) WITH ORDINALITY c (tags, n));
END $$;
