-- One committed state. No parameters. -> object_type, id, row (as JSON), version (changes when the row was written), links
-- (changes when a row of its own link tables was written), linked (the objects that these link to), keys (on which its
-- visibility depends), computed (what a body has beyond columns), viewers (ids of the users who see it). For each user a row of
-- type 'rights': what it may reach.
--
-- Who sees what: OpenTera's rules in reverse, from its own tables, without routing keys or anything of terasocket. Two rules
-- are decisions of this gateway: a session is open to the project of any member participant, and a disabled or deleted user
-- sees nothing.
WITH
-- G0: every live grant a user holds through a user group ---------------------------------
live_grant AS MATERIALIZED (
SELECT uug.id_user, sa.id_user_group, sr.id_service, sr.id_site, sr.id_project,
       sr.service_role_name AS role
FROM   t_users_users_groups uug
JOIN   t_users_groups    g  ON g.id_user_group   = uug.id_user_group AND g.deleted_at IS NULL
JOIN   t_services_access sa ON sa.id_user_group  = g.id_user_group   AND sa.deleted_at IS NULL
JOIN   t_services_roles  sr ON sr.id_service_role = sa.id_service_role AND sr.deleted_at IS NULL
WHERE  uug.deleted_at IS NULL),
-- G1: sites ------------------------------------------------------------------------------
user_site_role AS MATERIALIZED (
SELECT u.id_user, s.id_site, 'admin'::text AS role
FROM   t_users u CROSS JOIN t_sites s
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND s.deleted_at IS NULL
UNION ALL
SELECT x.id_user, x.id_site,
       CASE WHEN bool_or(x.role = 'admin') THEN 'admin'
            ELSE COALESCE(min(x.role) FILTER (WHERE x.direct), 'user') END
FROM  (SELECT lg.id_user, lg.id_site, lg.role::text, true AS direct
       FROM   live_grant lg WHERE lg.id_site IS NOT NULL
       UNION ALL
       SELECT lg.id_user, p.id_site, 'user', false
       FROM   live_grant lg
       JOIN   t_projects p ON p.id_project = lg.id_project AND p.deleted_at IS NULL) x
JOIN   t_sites s ON s.id_site = x.id_site AND s.deleted_at IS NULL
JOIN   t_users u ON u.id_user = x.id_user AND u.deleted_at IS NULL AND NOT u.user_superadmin
GROUP  BY x.id_user, x.id_site),
-- G2: projects ---------------------------------------------------------------------------
user_project_role AS MATERIALIZED (
SELECT u.id_user, p.id_project, 'admin'::text AS role
FROM   t_users u CROSS JOIN t_projects p
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND p.deleted_at IS NULL
UNION ALL
SELECT x.id_user, x.id_project,
       CASE WHEN bool_or(x.role = 'admin') THEN 'admin' ELSE min(x.role) END
FROM  (SELECT lg.id_user, lg.id_project, lg.role::text
       FROM   live_grant lg WHERE lg.id_project IS NOT NULL
       UNION ALL
       SELECT lg.id_user, p.id_project, 'admin'
       FROM   live_grant lg
       JOIN   t_sites s    ON s.id_site = lg.id_site AND s.deleted_at IS NULL
       JOIN   t_projects p ON p.id_site = s.id_site
       WHERE  lg.role = 'admin') x
JOIN   t_projects p ON p.id_project = x.id_project AND p.deleted_at IS NULL
JOIN   t_users u ON u.id_user = x.id_user AND u.deleted_at IS NULL AND NOT u.user_superadmin
GROUP  BY x.id_user, x.id_project),
-- G3: users ------------------------------------------------------------------------------
sees_user AS MATERIALIZED (
SELECT v.id_user AS viewer, t.id_user
FROM   t_users v CROSS JOIN t_users t
WHERE  v.user_superadmin AND v.deleted_at IS NULL AND t.deleted_at IS NULL
UNION
SELECT v.id_user, v.id_user FROM t_users v WHERE v.deleted_at IS NULL
UNION
SELECT pr.id_user, lg.id_user
FROM   user_project_role pr
JOIN   live_grant lg ON lg.id_project = pr.id_project
JOIN   t_services os     ON os.id_service = lg.id_service AND os.service_key = 'OpenTeraServer'
JOIN   t_users t         ON t.id_user = lg.id_user AND t.deleted_at IS NULL),
-- G4: participants and participant groups ----------------------------------------------
sees_participant AS MATERIALIZED (
SELECT pr.id_user AS viewer, p.id_participant
FROM   user_project_role pr
JOIN   t_participants p ON p.id_project = pr.id_project AND p.deleted_at IS NULL),
sees_participant_group AS MATERIALIZED (
SELECT pr.id_user AS viewer, g.id_participant_group
FROM   user_project_role pr
JOIN   t_participants_groups g ON g.id_project = pr.id_project AND g.deleted_at IS NULL),
-- G5: devices (by SITE, not by project) --------------------------------------------------
sees_device AS MATERIALIZED (
SELECT u.id_user AS viewer, d.id_device
FROM   t_users u CROSS JOIN t_devices d
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND d.deleted_at IS NULL
UNION
SELECT sr.id_user, d.id_device
FROM   user_site_role sr
JOIN   t_devices_sites ds ON ds.id_site = sr.id_site AND ds.deleted_at IS NULL
JOIN   t_devices d        ON d.id_device = ds.id_device AND d.deleted_at IS NULL
JOIN   t_users u          ON u.id_user = sr.id_user AND NOT u.user_superadmin),
-- G6: services ---------------------------------------------------------------------------
sees_service AS MATERIALIZED (
SELECT u.id_user AS viewer, s.id_service
FROM   t_users u CROSS JOIN t_services s
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND s.deleted_at IS NULL
UNION
SELECT u.id_user, s.id_service
FROM   t_users u
CROSS  JOIN t_services s
LEFT   JOIN t_services_projects sp ON sp.id_service = s.id_service
LEFT   JOIN t_services_sites    ss ON ss.id_service = s.id_service
WHERE  NOT u.user_superadmin AND u.deleted_at IS NULL AND s.deleted_at IS NULL
  AND  sp.deleted_at IS NULL AND ss.deleted_at IS NULL
  AND (EXISTS (SELECT 1 FROM user_project_role pr
               WHERE pr.id_user = u.id_user AND pr.id_project = sp.id_project)
    OR EXISTS (SELECT 1 FROM user_site_role sr
               WHERE sr.id_user = u.id_user AND sr.id_site = ss.id_site AND sr.role = 'admin'))),
-- G7: sessions, "list" rule (get_accessible_sessions) -------------------------------------
lists_session AS MATERIALIZED (
SELECT x.viewer, x.id_session
FROM  (SELECT v.viewer, s.id_session FROM t_sessions s JOIN sees_user v        ON v.id_user = s.id_creator_user
       UNION
       SELECT v.viewer, s.id_session FROM t_sessions s JOIN sees_device v      ON v.id_device = s.id_creator_device
       UNION
       SELECT v.viewer, s.id_session FROM t_sessions s JOIN sees_participant v ON v.id_participant = s.id_creator_participant
       UNION
       SELECT v.viewer, s.id_session FROM t_sessions s JOIN sees_service v     ON v.id_service = s.id_creator_service
       UNION
       SELECT su.id_user, su.id_session FROM t_sessions_users su
              WHERE su.deleted_at IS NULL
       UNION
       SELECT v.viewer, sp.id_session FROM t_sessions_participants sp
              JOIN sees_participant v ON v.id_participant = sp.id_participant WHERE sp.deleted_at IS NULL
       UNION
       SELECT v.viewer, sd.id_session FROM t_sessions_devices sd
              JOIN sees_device v ON v.id_device = sd.id_device WHERE sd.deleted_at IS NULL) x
JOIN   t_sessions s ON s.id_session = x.id_session AND s.deleted_at IS NULL
JOIN   t_users u    ON u.id_user = x.viewer AND u.deleted_at IS NULL),
-- G8: sessions, "open" rule (query_session) -----------------------------------------------
-- any member participant, or the creator participant; not "the first".
session_project AS MATERIALIZED (
SELECT s.id_session, p.id_project
FROM   t_sessions s
JOIN   t_participants p ON p.deleted_at IS NULL
WHERE  s.deleted_at IS NULL
  AND (p.id_participant = s.id_creator_participant
    OR EXISTS (SELECT 1 FROM t_sessions_participants sp
               WHERE sp.id_session = s.id_session AND sp.id_participant = p.id_participant AND sp.deleted_at IS NULL))),
opens_session AS MATERIALIZED (
SELECT u.id_user AS viewer, s.id_session
FROM   t_sessions s JOIN t_users u ON u.id_user = s.id_creator_user AND u.deleted_at IS NULL
WHERE  s.deleted_at IS NULL
UNION
SELECT u.id_user, s.id_session
FROM   t_sessions s
JOIN   t_sessions_users su ON su.id_session = s.id_session AND su.deleted_at IS NULL
JOIN   t_users u           ON u.id_user = su.id_user AND u.deleted_at IS NULL
WHERE  s.deleted_at IS NULL
UNION
SELECT pr.id_user, sp.id_session
FROM   session_project sp
JOIN   user_project_role pr ON pr.id_project = sp.id_project),
-- G9: user groups, session types, test types ----------------------------------------------
group_project AS MATERIALIZED ( -- projects a GROUP reaches (same rule as for a user, no superadmin)
SELECT DISTINCT sa.id_user_group, p.id_project
FROM   t_services_access sa
JOIN   t_users_groups g    ON g.id_user_group = sa.id_user_group AND g.deleted_at IS NULL
JOIN   t_services_roles sr ON sr.id_service_role = sa.id_service_role AND sr.deleted_at IS NULL
JOIN   t_projects p        ON p.deleted_at IS NULL
                          AND (p.id_project = sr.id_project
                               OR (sr.service_role_name = 'admin' AND p.id_site = sr.id_site))
WHERE  sa.deleted_at IS NULL),
sees_user_group AS MATERIALIZED (
SELECT u.id_user AS viewer, g.id_user_group
FROM   t_users u CROSS JOIN t_users_groups g
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND g.deleted_at IS NULL
UNION
SELECT pr.id_user, gp.id_user_group
FROM   user_project_role pr JOIN group_project gp ON gp.id_project = pr.id_project
JOIN   t_users u ON u.id_user = pr.id_user AND NOT u.user_superadmin),
sees_session_type AS MATERIALIZED (
SELECT u.id_user AS viewer, st.id_session_type
FROM   t_users u CROSS JOIN t_sessions_types st
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND st.deleted_at IS NULL
UNION
SELECT sr.id_user, st.id_session_type
FROM   user_site_role sr
JOIN   t_sessions_types_sites sts ON sts.id_site = sr.id_site AND sts.deleted_at IS NULL
JOIN   t_sessions_types st        ON st.id_session_type = sts.id_session_type AND st.deleted_at IS NULL
JOIN   t_users u ON u.id_user = sr.id_user AND NOT u.user_superadmin),
sees_test_type AS MATERIALIZED (
SELECT u.id_user AS viewer, tt.id_test_type
FROM   t_users u CROSS JOIN t_tests_types tt
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND tt.deleted_at IS NULL
UNION
SELECT sr.id_user, tt.id_test_type
FROM   user_site_role sr
JOIN   t_tests_types_sites tts ON tts.id_site = sr.id_site AND tts.deleted_at IS NULL
JOIN   t_tests_types tt        ON tt.id_test_type = tts.id_test_type AND tt.deleted_at IS NULL
JOIN   sees_service sv     ON sv.viewer = sr.id_user AND sv.id_service = tt.id_service
JOIN   t_users u ON u.id_user = sr.id_user AND NOT u.user_superadmin),
-- G10: assets, tests, test invitations ----------------------------------------------------
sees_asset AS MATERIALIZED (
SELECT os.viewer, a.id_asset
FROM   t_assets a
JOIN   opens_session os ON os.id_session = a.id_session
JOIN   t_services s         ON s.service_uuid = a.asset_service_uuid AND s.deleted_at IS NULL
JOIN   sees_service sv  ON sv.viewer = os.viewer AND sv.id_service = s.id_service
WHERE  a.deleted_at IS NULL),
sees_test AS MATERIALIZED (
SELECT os.viewer, t.id_test
FROM   t_tests t
JOIN   opens_session os ON os.id_session = t.id_session
JOIN   t_tests_types tt     ON tt.id_test_type = t.id_test_type AND tt.deleted_at IS NULL
JOIN   sees_service sv  ON sv.viewer = os.viewer AND sv.id_service = tt.id_service
WHERE  t.deleted_at IS NULL),
sees_test_invitation AS MATERIALIZED (
SELECT tt.viewer, i.id_test_invitation
FROM   t_tests_invitations i
JOIN   sees_test_type tt    ON tt.id_test_type = i.id_test_type
JOIN   user_project_role pr ON pr.id_user = tt.viewer AND pr.id_project = i.id_project
WHERE  i.deleted_at IS NULL
  AND (EXISTS (SELECT 1 FROM sees_user x        WHERE x.viewer = tt.viewer AND x.id_user = i.id_user)
    OR EXISTS (SELECT 1 FROM sees_participant x WHERE x.viewer = tt.viewer AND x.id_participant = i.id_participant)
    OR EXISTS (SELECT 1 FROM sees_device x      WHERE x.viewer = tt.viewer AND x.id_device = i.id_device)
    OR EXISTS (SELECT 1 FROM lists_session x    WHERE x.viewer = tt.viewer AND x.id_session = i.id_session))),
-- Not in OpenTera's rules: the link rows of session types and the settings, as in docs/decisions.md.
sees_session_type_site AS MATERIALIZED (
SELECT sr.id_user AS viewer, l.id_session_type_site
FROM   t_sessions_types_sites l JOIN user_site_role sr ON sr.id_site = l.id_site
WHERE  l.deleted_at IS NULL),
sees_session_type_project AS MATERIALIZED (
SELECT pr.id_user AS viewer, l.id_session_type_project
FROM   t_sessions_types_projects l JOIN user_project_role pr ON pr.id_project = l.id_project
WHERE  l.deleted_at IS NULL),
sees_session_type_service AS MATERIALIZED (
SELECT st.viewer, l.id_session_type_service
FROM   t_sessions_types_services l
JOIN   sees_session_type st ON st.id_session_type = l.id_session_type
JOIN   sees_service sv      ON sv.id_service = l.id_service AND sv.viewer = st.viewer
WHERE  l.deleted_at IS NULL),
sees_server_settings AS MATERIALIZED (
SELECT u.id_user AS viewer, s.id_server_settings
FROM   t_server_settings s CROSS JOIN t_users u
WHERE  u.user_superadmin AND u.deleted_at IS NULL),
-- Who sees what, among those that can be connected. A disabled user cannot.
sees AS MATERIALIZED (
SELECT DISTINCT x.object_type, x.id, x.viewer
FROM  (SELECT 'site' AS object_type, v.id_site AS id, v.viewer FROM (SELECT id_user AS viewer, id_site FROM user_site_role) v
       UNION ALL SELECT 'project' AS object_type, v.id_project AS id, v.viewer FROM (SELECT id_user AS viewer, id_project FROM user_project_role) v
       UNION ALL SELECT 'user' AS object_type, v.id_user AS id, v.viewer FROM sees_user v
       UNION ALL SELECT 'user_group' AS object_type, v.id_user_group AS id, v.viewer FROM sees_user_group v
       UNION ALL SELECT 'participant_group' AS object_type, v.id_participant_group AS id, v.viewer FROM sees_participant_group v
       UNION ALL SELECT 'participant' AS object_type, v.id_participant AS id, v.viewer FROM sees_participant v
       UNION ALL SELECT 'device' AS object_type, v.id_device AS id, v.viewer FROM sees_device v
       UNION ALL SELECT 'service' AS object_type, v.id_service AS id, v.viewer FROM sees_service v
       UNION ALL SELECT 'session_type' AS object_type, v.id_session_type AS id, v.viewer FROM sees_session_type v
       UNION ALL SELECT 'session_type_site' AS object_type, v.id_session_type_site AS id, v.viewer FROM sees_session_type_site v
       UNION ALL SELECT 'session_type_project' AS object_type, v.id_session_type_project AS id, v.viewer FROM sees_session_type_project v
       UNION ALL SELECT 'session_type_service' AS object_type, v.id_session_type_service AS id, v.viewer FROM sees_session_type_service v
       UNION ALL SELECT 'session' AS object_type, v.id_session AS id, v.viewer FROM opens_session v
       UNION ALL SELECT 'asset' AS object_type, v.id_asset AS id, v.viewer FROM sees_asset v
       UNION ALL SELECT 'test_type' AS object_type, v.id_test_type AS id, v.viewer FROM sees_test_type v
       UNION ALL SELECT 'test' AS object_type, v.id_test AS id, v.viewer FROM sees_test v
       UNION ALL SELECT 'test_invitation' AS object_type, v.id_test_invitation AS id, v.viewer FROM sees_test_invitation v
       UNION ALL SELECT 'server_settings' AS object_type, v.id_server_settings AS id, v.viewer FROM sees_server_settings v) x
JOIN   t_users u ON u.id_user = x.viewer AND u.user_enabled),
-- ---------------------------------------------------------------- the state
seen AS MATERIALIZED (SELECT object_type, id, array_agg(viewer ORDER BY viewer) AS viewers FROM sees GROUP BY 1, 2),
object AS (
    SELECT 'site' AS object_type, t.id_site AS id, to_jsonb(t) AS row, t.xmin::text AS version, '' AS links, '' AS linked, '' AS keys, '{}'::jsonb AS computed FROM t_sites t
    UNION ALL
    SELECT 'project', t.id_project, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_projects t
    UNION ALL
    SELECT 'user', t.id_user, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_users t
    UNION ALL
    SELECT 'user_group', t.id_user_group, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_users_groups t
    UNION ALL
    SELECT 'participant_group', t.id_participant_group, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_participants_groups t
    UNION ALL
    SELECT 'participant', t.id_participant, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_participants t
    UNION ALL
    SELECT 'device' AS object_type, t.id_device AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           (SELECT string_agg(l.id_device_site || ':' || l.xmin, ' ' ORDER BY l.id_device_site) FROM t_devices_sites l WHERE l.id_device = t.id_device) AS links,
           (SELECT string_agg(l.id_device_site || ':' || l.id_site, ' ' ORDER BY l.id_device_site) FROM t_devices_sites l WHERE l.id_device = t.id_device AND l.deleted_at IS NULL) AS linked,
           (SELECT string_agg(DISTINCT l.id_site::text, ' ' ORDER BY l.id_site::text) FROM t_devices_sites l WHERE l.id_device = t.id_device AND l.deleted_at IS NULL) AS keys,
           '{}'::jsonb AS computed FROM t_devices t
    UNION ALL
    SELECT 'service' AS object_type, t.id_service AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           (SELECT string_agg(l.what || ':' || l.xmin, ' ' ORDER BY l.what) FROM (
            SELECT 'p' || id_service_project AS what, xmin, id_service FROM t_services_projects UNION ALL
            SELECT 's' || id_service_site, xmin, id_service FROM t_services_sites) l WHERE l.id_service = t.id_service) AS links,
           (SELECT string_agg(l.what, ' ' ORDER BY l.what) FROM (
            SELECT concat('p', id_service_project, ':', id_project, deleted_at IS NULL) AS what, id_service FROM t_services_projects UNION ALL
            SELECT concat('s', id_service_site, ':', id_site, deleted_at IS NULL), id_service FROM t_services_sites) l WHERE l.id_service = t.id_service) AS linked,
           (SELECT string_agg(DISTINCT l.what, ' ' ORDER BY l.what) FROM (
            SELECT 'p' || id_project || (deleted_at IS NULL) AS what, id_service FROM t_services_projects UNION ALL
            SELECT 's' || id_site || (deleted_at IS NULL), id_service FROM t_services_sites) l WHERE l.id_service = t.id_service) AS keys,
           '{}'::jsonb AS computed FROM t_services t
    UNION ALL
    SELECT 'session_type' AS object_type, t.id_session_type AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           (SELECT string_agg(l.id_session_type_site || ':' || l.xmin, ' ' ORDER BY l.id_session_type_site) FROM t_sessions_types_sites l WHERE l.id_session_type = t.id_session_type) AS links,
           (SELECT string_agg(l.id_session_type_site || ':' || l.id_site, ' ' ORDER BY l.id_session_type_site) FROM t_sessions_types_sites l WHERE l.id_session_type = t.id_session_type AND l.deleted_at IS NULL) AS linked,
           (SELECT string_agg(DISTINCT l.id_site::text, ' ' ORDER BY l.id_site::text) FROM t_sessions_types_sites l WHERE l.id_session_type = t.id_session_type AND l.deleted_at IS NULL) AS keys,
           '{}'::jsonb AS computed FROM t_sessions_types t
    UNION ALL
    SELECT 'session_type_site' AS object_type, t.id_session_type_site AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           '' AS links,
           '' AS linked,
           '' AS keys,
           jsonb_build_object('session_type_id_service', (SELECT y.id_service FROM t_sessions_types y WHERE y.id_session_type = t.id_session_type)) AS computed FROM t_sessions_types_sites t
    UNION ALL
    SELECT 'session_type_project' AS object_type, t.id_session_type_project AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           '' AS links,
           '' AS linked,
           '' AS keys,
           jsonb_build_object('session_type_id_service', (SELECT y.id_service FROM t_sessions_types y WHERE y.id_session_type = t.id_session_type)) AS computed FROM t_sessions_types_projects t
    UNION ALL
    SELECT 'session_type_service' AS object_type, t.id_session_type_service AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           '' AS links,
           '' AS linked,
           '' AS keys,
           jsonb_build_object('session_type_id_service', (SELECT y.id_service FROM t_sessions_types y WHERE y.id_session_type = t.id_session_type)) AS computed FROM t_sessions_types_services t
    UNION ALL
    SELECT 'session' AS object_type, t.id_session AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           (SELECT string_agg(l.what || ':' || l.xmin, ' ' ORDER BY l.what) FROM (
            SELECT 'u' || id_session_user AS what, xmin, id_session FROM t_sessions_users UNION ALL
            SELECT 'p' || id_session_participant, xmin, id_session FROM t_sessions_participants) l WHERE l.id_session = t.id_session) AS links,
           (SELECT string_agg(l.what, ' ' ORDER BY l.what) FROM (
            SELECT concat('u', id_session_user, ':', id_user) AS what, id_session FROM t_sessions_users WHERE deleted_at IS NULL UNION ALL
            SELECT concat('p', id_session_participant, ':', id_participant), id_session FROM t_sessions_participants WHERE deleted_at IS NULL) l
            WHERE l.id_session = t.id_session) AS linked,
           (SELECT string_agg(DISTINCT l.what, ' ' ORDER BY l.what) FROM (
            SELECT 'u' || id_user AS what, id_session FROM t_sessions_users WHERE deleted_at IS NULL UNION ALL
            SELECT 'p' || p.id_project, l.id_session FROM t_sessions_participants l JOIN t_participants p ON p.id_participant = l.id_participant AND p.deleted_at IS NULL
            WHERE l.deleted_at IS NULL UNION ALL
            SELECT 'p' || p.id_project, t.id_session FROM t_participants p WHERE p.id_participant = t.id_creator_participant AND p.deleted_at IS NULL) l WHERE l.id_session = t.id_session) AS keys,
           jsonb_strip_nulls(jsonb_build_object(
            'session_creator_user', (SELECT concat_ws(' ', user_firstname, user_lastname) FROM t_users WHERE id_user = t.id_creator_user AND deleted_at IS NULL),
            'session_creator_device', (SELECT device_name FROM t_devices WHERE id_device = t.id_creator_device AND deleted_at IS NULL),
            'session_creator_participant', (SELECT participant_name FROM t_participants WHERE id_participant = t.id_creator_participant AND deleted_at IS NULL),
            'session_creator_service', (SELECT service_name FROM t_services WHERE id_service = t.id_creator_service AND deleted_at IS NULL),
            'session_assets_count', (SELECT count(*) FROM t_assets WHERE id_session = t.id_session AND deleted_at IS NULL),
            'session_tests_count', (SELECT count(*) FROM t_tests WHERE id_session = t.id_session AND deleted_at IS NULL))) AS computed FROM t_sessions t
    UNION ALL
    SELECT 'asset', t.id_asset, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_assets t
    UNION ALL
    SELECT 'test_type' AS object_type, t.id_test_type AS id, to_jsonb(t) AS row, t.xmin::text AS version,
           (SELECT string_agg(l.id_test_type_site || ':' || l.xmin, ' ' ORDER BY l.id_test_type_site) FROM t_tests_types_sites l WHERE l.id_test_type = t.id_test_type) AS links,
           (SELECT string_agg(l.id_test_type_site || ':' || l.id_site, ' ' ORDER BY l.id_test_type_site) FROM t_tests_types_sites l WHERE l.id_test_type = t.id_test_type AND l.deleted_at IS NULL) AS linked,
           (SELECT string_agg(DISTINCT l.id_site::text, ' ' ORDER BY l.id_site::text) FROM t_tests_types_sites l WHERE l.id_test_type = t.id_test_type AND l.deleted_at IS NULL) AS keys,
           '{}'::jsonb AS computed FROM t_tests_types t
    UNION ALL
    SELECT 'test', t.id_test, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_tests t
    UNION ALL
    SELECT 'test_invitation', t.id_test_invitation, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_tests_invitations t
    UNION ALL
    SELECT 'server_settings', t.id_server_settings, to_jsonb(t), t.xmin::text, '', '', '', '{}'::jsonb FROM t_server_settings t
)
SELECT o.object_type, o.id, o.row, o.version, concat(o.links, ' ', (SELECT count(*) FROM links_taken l WHERE l.object_type = o.object_type AND l.id = o.id)), coalesce(o.linked, ''), coalesce(o.keys, ''), o.computed, coalesce(s.viewers, '{}')
FROM   object o LEFT JOIN seen s ON s.object_type = o.object_type AND s.id = o.id
UNION ALL
SELECT 'rights', u.id_user, jsonb_build_object('user_enabled', u.user_enabled AND u.deleted_at IS NULL, 'user_superadmin', u.user_superadmin,
       'sites', (SELECT string_agg(r.id_site || CASE r.role WHEN 'admin' THEN 'a' ELSE 'u' END, ' ' ORDER BY r.id_site) FROM user_site_role r WHERE r.id_user = u.id_user),
       'projects', (SELECT string_agg(r.id_project::text, ' ' ORDER BY r.id_project) FROM user_project_role r WHERE r.id_user = u.id_user)),
       '', '', '', '', '{}', '{}'
FROM   t_users u
