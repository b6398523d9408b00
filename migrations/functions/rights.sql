-- Rights: the tags that each principal holds by OpenTera's own role tables (its access-rules, section 2), and in the announced state:
-- terasocket.holdings.

-- tags_of_users: the tags of these users. Disabled and deleted users hold none.
CREATE OR REPLACE FUNCTION terasocket.tags_of_users(users integer[]) RETURNS TABLE (id integer, tag text)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH u AS MATERIALIZED (
        SELECT t.id_user::integer, t.user_superadmin FROM OPENTERA.t_users t
        WHERE  t.id_user = ANY (users) AND t.deleted_at IS NULL AND t.user_enabled
    ), held AS MATERIALIZED (
        -- the role's service does not matter, as in OpenTera: a role of any service counts
        SELECT DISTINCT u.id_user, r.id_site, r.id_project, r.service_role_name = 'admin' AS is_admin
        FROM   u
        JOIN   OPENTERA.t_users_users_groups m ON m.id_user = u.id_user AND m.deleted_at IS NULL
        JOIN   OPENTERA.t_users_groups g       ON g.id_user_group = m.id_user_group AND g.deleted_at IS NULL
        JOIN   OPENTERA.t_services_access sa   ON sa.id_user_group = g.id_user_group AND sa.deleted_at IS NULL
        JOIN   OPENTERA.t_services_roles r     ON r.id_service_role = sa.id_service_role AND r.deleted_at IS NULL
        WHERE  NOT u.user_superadmin
    ), project AS (
        SELECT h.id_user, p.id_project, p.id_site
        FROM   held h JOIN OPENTERA.t_projects p ON p.id_project = h.id_project AND p.deleted_at IS NULL
    )
    SELECT u.id_user, 'u:' || u.id_user FROM u
    UNION
    SELECT u.id_user, 'x' FROM u WHERE u.user_superadmin
    UNION
    SELECT u.id_user, k.kind || s.id_site
    FROM   u, OPENTERA.t_sites s, (VALUES ('s:'), ('a:')) k (kind) WHERE u.user_superadmin AND s.deleted_at IS NULL
    UNION
    SELECT u.id_user, 'p:' || p.id_project FROM u, OPENTERA.t_projects p WHERE u.user_superadmin AND p.deleted_at IS NULL
    UNION
    SELECT h.id_user, 's:' || s.id_site FROM held h JOIN OPENTERA.t_sites s ON s.id_site = h.id_site AND s.deleted_at IS NULL
    UNION
    SELECT h.id_user, 'a:' || s.id_site
    FROM   held h JOIN OPENTERA.t_sites s ON s.id_site = h.id_site AND s.deleted_at IS NULL WHERE h.is_admin
    UNION
    SELECT p.id_user, 's:' || s.id_site FROM project p JOIN OPENTERA.t_sites s ON s.id_site = p.id_site AND s.deleted_at IS NULL
    UNION
    SELECT p.id_user, 'p:' || p.id_project FROM project p
    UNION
    SELECT h.id_user, 'p:' || p.id_project
    FROM   held h
    JOIN   OPENTERA.t_sites s    ON s.id_site = h.id_site AND s.deleted_at IS NULL
    JOIN   OPENTERA.t_projects p ON p.id_site = s.id_site AND p.deleted_at IS NULL
    WHERE  h.is_admin;
END $$;

-- tags_of: the tags of these principals of one kind.
CREATE OR REPLACE FUNCTION terasocket.tags_of(kind text, ids integer[]) RETURNS TABLE (id integer, tag text)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    CASE tags_of.kind
    WHEN 'user' THEN
        RETURN QUERY SELECT t.id, t.tag FROM terasocket.tags_of_users(ids) t;
    WHEN 'participant' THEN
        RETURN QUERY SELECT p.id_participant::integer, 't:' || p.id_participant FROM OPENTERA.t_participants p
        WHERE p.id_participant = ANY (ids) AND p.deleted_at IS NULL AND p.participant_enabled;
    WHEN 'device' THEN
        RETURN QUERY SELECT d.id_device::integer, 'd:' || d.id_device FROM OPENTERA.t_devices d
        WHERE d.id_device = ANY (ids) AND d.deleted_at IS NULL AND d.device_enabled;
    END CASE;
END $$;

-- members: the users that are or were in these groups; deleted rows count.
CREATE OR REPLACE FUNCTION terasocket.members(groups bigint[]) RETURNS integer[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN ARRAY(
    SELECT DISTINCT m.id_user FROM OPENTERA.t_users_users_groups m WHERE m.id_user_group = ANY (groups));
END $$;

-- groups_of_roles: the groups that hold or held these roles, or one on these projects or sites; deleted rows count.
CREATE OR REPLACE FUNCTION terasocket.groups_of_roles(roles bigint[], projects bigint[], sites bigint[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN ARRAY(
    SELECT DISTINCT sa.id_user_group::bigint
    FROM   OPENTERA.t_services_access sa
    WHERE  sa.id_user_group IS NOT NULL
      AND  sa.id_service_role IN (
               SELECT unnest(roles)
               UNION ALL
               SELECT r.id_service_role FROM OPENTERA.t_services_roles r WHERE r.id_project = ANY (projects)
               UNION ALL
               SELECT r.id_service_role FROM OPENTERA.t_services_roles r WHERE r.id_site = ANY (sites)));
END $$;

-- users_concerned: the users whose tags may follow from changes of these users, groups (their members and roles), roles, projects and
-- sites: found in the rows, including deleted ones, and in the announced holdings of these tags.
CREATE OR REPLACE FUNCTION terasocket.users_concerned(users bigint[], groups bigint[], roles bigint[], projects bigint[], sites bigint[])
RETURNS integer[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    of_sites  bigint[] := '{}';
BEGIN
    IF sites <> '{}' THEN
        of_sites := ARRAY(SELECT p.id_project FROM OPENTERA.t_projects p WHERE p.id_site = ANY (sites));
    END IF;
    RETURN ARRAY(
        SELECT unnest(users)::integer
        UNION
        SELECT unnest(terasocket.members(groups || terasocket.groups_of_roles(roles, projects || of_sites, sites)))
        UNION
        SELECT h.id FROM terasocket.holdings h
        WHERE  h.kind = 'user' AND h.tag = ANY (
                   SELECT 'x' WHERE projects <> '{}' OR sites <> '{}'
                   UNION ALL SELECT 'p:' || unnest(projects)
                   UNION ALL SELECT k.kind || s FROM unnest(sites) s, (VALUES ('s:'), ('a:')) k (kind)
                   UNION ALL SELECT 'a:' || p.id_site FROM OPENTERA.t_projects p WHERE p.id_project = ANY (projects)));
END $$;

-- hold: updates the holdings of these principals from the role tables, and returns what they gained and lost.
CREATE OR REPLACE FUNCTION terasocket.hold(kind text, ids integer[]) RETURNS TABLE (id integer, gained text[], lost text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH now AS MATERIALIZED (
        SELECT t.id, t.tag FROM terasocket.tags_of(hold.kind, ids) t
    ), was AS MATERIALIZED (
        SELECT h.id, h.tag FROM terasocket.holdings h WHERE h.kind = hold.kind AND h.id = ANY (ids)
    ), added AS (
        INSERT INTO terasocket.holdings (kind, id, tag) SELECT hold.kind, n.id, n.tag FROM (TABLE now EXCEPT TABLE was) n
        RETURNING id, tag
    ), taken AS (
        DELETE FROM terasocket.holdings h USING (TABLE was EXCEPT TABLE now) o
        WHERE  h.kind = hold.kind AND h.id = o.id AND h.tag = o.tag
        RETURNING h.id, h.tag
    )
    SELECT d.id, coalesce(array_agg(d.tag ORDER BY d.tag) FILTER (WHERE d.is_added), '{}'),
           coalesce(array_agg(d.tag ORDER BY d.tag) FILTER (WHERE NOT d.is_added), '{}')
    FROM  (SELECT a.id, a.tag, true AS is_added FROM added a UNION ALL SELECT t.id, t.tag, false FROM taken t) d
    GROUP  BY d.id;
END $$;

-- reconcile: finds principals after this id whose tags differ from the role tables (changed by a writer without triggers), and has them
-- announced. Returns the last id compared, null at the end, and how many differ.
CREATE OR REPLACE FUNCTION terasocket.reconcile(kind text, after integer, at_most integer, OUT last integer, OUT different integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    ids    integer[];
    wrong  bigint[];
BEGIN
    CASE reconcile.kind
    WHEN 'user' THEN
        ids := ARRAY(SELECT u.id_user FROM OPENTERA.t_users u WHERE u.id_user > after ORDER BY 1 LIMIT at_most);
    WHEN 'participant' THEN
        ids := ARRAY(SELECT p.id_participant FROM OPENTERA.t_participants p WHERE p.id_participant > after ORDER BY 1 LIMIT at_most);
    WHEN 'device' THEN
        ids := ARRAY(SELECT d.id_device FROM OPENTERA.t_devices d WHERE d.id_device > after ORDER BY 1 LIMIT at_most);
    END CASE;
    last := CASE WHEN cardinality(ids) = at_most THEN ids[at_most] END;
    -- one statement, one snapshot of both states; what is captured but not announced yet differs too
    wrong := ARRAY(
        SELECT DISTINCT d.id::bigint
        FROM  ((SELECT t.id, t.tag FROM terasocket.tags_of(reconcile.kind, ids) t
                EXCEPT SELECT h.id, h.tag FROM terasocket.holdings h WHERE h.kind = reconcile.kind AND h.id = ANY (ids))
               UNION ALL
               (SELECT h.id, h.tag FROM terasocket.holdings h
                WHERE h.kind = reconcile.kind AND h.id > after AND (reconcile.last IS NULL OR h.id <= reconcile.last)
                EXCEPT SELECT t.id, t.tag FROM terasocket.tags_of(reconcile.kind, ids) t)) d
        WHERE NOT EXISTS (SELECT FROM terasocket.changes c WHERE c.rights));
    different := cardinality(wrong);
    IF different > 0 THEN
        PERFORM terasocket.record(reconcile.kind, 'l', true, wrong);
    END IF;
END $$;
