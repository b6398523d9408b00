package access_test

// views are OpenTera's rules in reverse: a transcription of access-rules.md, section 7, with the one rule that design.md changes. They
// are independent of routing keys.
const views = `
CREATE SCHEMA vis;
-- G0: every live grant a user holds through a user group ---------------------------------
CREATE VIEW vis.live_grant AS
SELECT uug.id_user, sa.id_user_group, sr.id_service, sr.id_site, sr.id_project,
       sr.service_role_name AS role
FROM   t_users_users_groups uug
JOIN   t_users_groups    g  ON g.id_user_group   = uug.id_user_group AND g.deleted_at IS NULL
JOIN   t_services_access sa ON sa.id_user_group  = g.id_user_group   AND sa.deleted_at IS NULL
JOIN   t_services_roles  sr ON sr.id_service_role = sa.id_service_role AND sr.deleted_at IS NULL
WHERE  uug.deleted_at IS NULL;

-- G1: sites ------------------------------------------------------------------------------
CREATE VIEW vis.user_site_role AS
SELECT u.id_user, s.id_site, 'admin'::text AS role
FROM   t_users u CROSS JOIN t_sites s
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND s.deleted_at IS NULL
UNION ALL
SELECT x.id_user, x.id_site,
       CASE WHEN bool_or(x.role = 'admin') THEN 'admin'
            ELSE COALESCE(min(x.role) FILTER (WHERE x.direct), 'user') END
FROM  (SELECT lg.id_user, lg.id_site, lg.role::text, true AS direct
       FROM   vis.live_grant lg WHERE lg.id_site IS NOT NULL
       UNION ALL
       SELECT lg.id_user, p.id_site, 'user', false
       FROM   vis.live_grant lg
       JOIN   t_projects p ON p.id_project = lg.id_project AND p.deleted_at IS NULL) x
JOIN   t_sites s ON s.id_site = x.id_site AND s.deleted_at IS NULL
JOIN   t_users u ON u.id_user = x.id_user AND u.deleted_at IS NULL AND NOT u.user_superadmin
GROUP  BY x.id_user, x.id_site;

-- G2: projects ---------------------------------------------------------------------------
CREATE VIEW vis.user_project_role AS
SELECT u.id_user, p.id_project, 'admin'::text AS role
FROM   t_users u CROSS JOIN t_projects p
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND p.deleted_at IS NULL
UNION ALL
SELECT x.id_user, x.id_project,
       CASE WHEN bool_or(x.role = 'admin') THEN 'admin' ELSE min(x.role) END
FROM  (SELECT lg.id_user, lg.id_project, lg.role::text
       FROM   vis.live_grant lg WHERE lg.id_project IS NOT NULL
       UNION ALL
       SELECT lg.id_user, p.id_project, 'admin'
       FROM   vis.live_grant lg
       JOIN   t_sites s    ON s.id_site = lg.id_site AND s.deleted_at IS NULL
       JOIN   t_projects p ON p.id_site = s.id_site
       WHERE  lg.role = 'admin') x
JOIN   t_projects p ON p.id_project = x.id_project AND p.deleted_at IS NULL
JOIN   t_users u ON u.id_user = x.id_user AND u.deleted_at IS NULL AND NOT u.user_superadmin
GROUP  BY x.id_user, x.id_project;

-- G3: users ------------------------------------------------------------------------------
CREATE VIEW vis.sees_user AS
SELECT v.id_user AS viewer, t.id_user
FROM   t_users v CROSS JOIN t_users t
WHERE  v.user_superadmin AND v.deleted_at IS NULL AND t.deleted_at IS NULL
UNION
SELECT v.id_user, v.id_user FROM t_users v WHERE v.deleted_at IS NULL
UNION
SELECT pr.id_user, lg.id_user
FROM   vis.user_project_role pr
JOIN   vis.live_grant lg ON lg.id_project = pr.id_project
JOIN   t_services os     ON os.id_service = lg.id_service AND os.service_key = 'OpenTeraServer'
JOIN   t_users t         ON t.id_user = lg.id_user AND t.deleted_at IS NULL;

-- G4: participants and participant groups ----------------------------------------------
CREATE VIEW vis.sees_participant AS
SELECT pr.id_user AS viewer, p.id_participant
FROM   vis.user_project_role pr
JOIN   t_participants p ON p.id_project = pr.id_project AND p.deleted_at IS NULL;

CREATE VIEW vis.sees_participant_group AS
SELECT pr.id_user AS viewer, g.id_participant_group
FROM   vis.user_project_role pr
JOIN   t_participants_groups g ON g.id_project = pr.id_project AND g.deleted_at IS NULL;

-- G5: devices (by SITE, not by project) --------------------------------------------------
CREATE VIEW vis.sees_device AS
SELECT u.id_user AS viewer, d.id_device
FROM   t_users u CROSS JOIN t_devices d
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND d.deleted_at IS NULL
UNION
SELECT sr.id_user, d.id_device
FROM   vis.user_site_role sr
JOIN   t_devices_sites ds ON ds.id_site = sr.id_site AND ds.deleted_at IS NULL
JOIN   t_devices d        ON d.id_device = ds.id_device AND d.deleted_at IS NULL
JOIN   t_users u          ON u.id_user = sr.id_user AND NOT u.user_superadmin;

-- G6: services ---------------------------------------------------------------------------
CREATE VIEW vis.sees_service AS
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
  AND (EXISTS (SELECT 1 FROM vis.user_project_role pr
               WHERE pr.id_user = u.id_user AND pr.id_project = sp.id_project)
    OR EXISTS (SELECT 1 FROM vis.user_site_role sr
               WHERE sr.id_user = u.id_user AND sr.id_site = ss.id_site AND sr.role = 'admin'));

-- G7: sessions, "list" rule (get_accessible_sessions) -------------------------------------
CREATE VIEW vis.lists_session AS
SELECT x.viewer, x.id_session
FROM  (SELECT v.viewer, s.id_session FROM t_sessions s JOIN vis.sees_user v        ON v.id_user = s.id_creator_user
       UNION
       SELECT v.viewer, s.id_session FROM t_sessions s JOIN vis.sees_device v      ON v.id_device = s.id_creator_device
       UNION
       SELECT v.viewer, s.id_session FROM t_sessions s JOIN vis.sees_participant v ON v.id_participant = s.id_creator_participant
       UNION
       SELECT v.viewer, s.id_session FROM t_sessions s JOIN vis.sees_service v     ON v.id_service = s.id_creator_service
       UNION
       SELECT su.id_user, su.id_session FROM t_sessions_users su
              WHERE su.deleted_at IS NULL
       UNION
       SELECT v.viewer, sp.id_session FROM t_sessions_participants sp
              JOIN vis.sees_participant v ON v.id_participant = sp.id_participant WHERE sp.deleted_at IS NULL
       UNION
       SELECT v.viewer, sd.id_session FROM t_sessions_devices sd
              JOIN vis.sees_device v ON v.id_device = sd.id_device WHERE sd.deleted_at IS NULL) x
JOIN   t_sessions s ON s.id_session = x.id_session AND s.deleted_at IS NULL
JOIN   t_users u    ON u.id_user = x.viewer AND u.deleted_at IS NULL;

-- G8: sessions, "open" rule (query_session) -----------------------------------------------
-- design.md, section 6: any member participant, or the creator participant; not "the first".
CREATE VIEW vis.session_project AS
SELECT s.id_session, p.id_project
FROM   t_sessions s
JOIN   t_participants p ON p.deleted_at IS NULL
WHERE  s.deleted_at IS NULL
  AND (p.id_participant = s.id_creator_participant
    OR EXISTS (SELECT 1 FROM t_sessions_participants sp
               WHERE sp.id_session = s.id_session AND sp.id_participant = p.id_participant AND sp.deleted_at IS NULL));

CREATE VIEW vis.opens_session AS
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
FROM   vis.session_project sp
JOIN   vis.user_project_role pr ON pr.id_project = sp.id_project;

-- G9: user groups, session types, test types ----------------------------------------------
CREATE VIEW vis.group_project AS          -- projects a GROUP reaches (same rule as for a user, no superadmin)
SELECT DISTINCT sa.id_user_group, p.id_project
FROM   t_services_access sa
JOIN   t_users_groups g    ON g.id_user_group = sa.id_user_group AND g.deleted_at IS NULL
JOIN   t_services_roles sr ON sr.id_service_role = sa.id_service_role AND sr.deleted_at IS NULL
JOIN   t_projects p        ON p.deleted_at IS NULL
                          AND (p.id_project = sr.id_project
                               OR (sr.service_role_name = 'admin' AND p.id_site = sr.id_site))
WHERE  sa.deleted_at IS NULL;

CREATE VIEW vis.sees_user_group AS
SELECT u.id_user AS viewer, g.id_user_group
FROM   t_users u CROSS JOIN t_users_groups g
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND g.deleted_at IS NULL
UNION
SELECT pr.id_user, gp.id_user_group
FROM   vis.user_project_role pr JOIN vis.group_project gp ON gp.id_project = pr.id_project
JOIN   t_users u ON u.id_user = pr.id_user AND NOT u.user_superadmin;

CREATE VIEW vis.sees_session_type AS
SELECT u.id_user AS viewer, st.id_session_type
FROM   t_users u CROSS JOIN t_sessions_types st
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND st.deleted_at IS NULL
UNION
SELECT sr.id_user, st.id_session_type
FROM   vis.user_site_role sr
JOIN   t_sessions_types_sites sts ON sts.id_site = sr.id_site AND sts.deleted_at IS NULL
JOIN   t_sessions_types st        ON st.id_session_type = sts.id_session_type AND st.deleted_at IS NULL
JOIN   t_users u ON u.id_user = sr.id_user AND NOT u.user_superadmin;

CREATE VIEW vis.sees_test_type AS
SELECT u.id_user AS viewer, tt.id_test_type
FROM   t_users u CROSS JOIN t_tests_types tt
WHERE  u.user_superadmin AND u.deleted_at IS NULL AND tt.deleted_at IS NULL
UNION
SELECT sr.id_user, tt.id_test_type
FROM   vis.user_site_role sr
JOIN   t_tests_types_sites tts ON tts.id_site = sr.id_site AND tts.deleted_at IS NULL
JOIN   t_tests_types tt        ON tt.id_test_type = tts.id_test_type AND tt.deleted_at IS NULL
JOIN   vis.sees_service sv     ON sv.viewer = sr.id_user AND sv.id_service = tt.id_service
JOIN   t_users u ON u.id_user = sr.id_user AND NOT u.user_superadmin;

-- G10: assets, tests, test invitations ----------------------------------------------------
CREATE VIEW vis.sees_asset AS
SELECT os.viewer, a.id_asset
FROM   t_assets a
JOIN   vis.opens_session os ON os.id_session = a.id_session
JOIN   t_services s         ON s.service_uuid = a.asset_service_uuid AND s.deleted_at IS NULL
JOIN   vis.sees_service sv  ON sv.viewer = os.viewer AND sv.id_service = s.id_service
WHERE  a.deleted_at IS NULL;

CREATE VIEW vis.sees_test AS
SELECT os.viewer, t.id_test
FROM   t_tests t
JOIN   vis.opens_session os ON os.id_session = t.id_session
JOIN   t_tests_types tt     ON tt.id_test_type = t.id_test_type AND tt.deleted_at IS NULL
JOIN   vis.sees_service sv  ON sv.viewer = os.viewer AND sv.id_service = tt.id_service
WHERE  t.deleted_at IS NULL;

CREATE VIEW vis.sees_test_invitation AS
SELECT tt.viewer, i.id_test_invitation
FROM   t_tests_invitations i
JOIN   vis.sees_test_type tt    ON tt.id_test_type = i.id_test_type
JOIN   vis.user_project_role pr ON pr.id_user = tt.viewer AND pr.id_project = i.id_project
WHERE  i.deleted_at IS NULL
  AND (EXISTS (SELECT 1 FROM vis.sees_user x        WHERE x.viewer = tt.viewer AND x.id_user = i.id_user)
    OR EXISTS (SELECT 1 FROM vis.sees_participant x WHERE x.viewer = tt.viewer AND x.id_participant = i.id_participant)
    OR EXISTS (SELECT 1 FROM vis.sees_device x      WHERE x.viewer = tt.viewer AND x.id_device = i.id_device)
    OR EXISTS (SELECT 1 FROM vis.lists_session x    WHERE x.viewer = tt.viewer AND x.id_session = i.id_session));

-- Not in OpenTera's rules: the link rows of session types and the settings, as docs/decisions.md has them.
CREATE VIEW vis.sees_session_type_site AS
SELECT sr.id_user AS viewer, l.id_session_type_site
FROM   t_sessions_types_sites l JOIN vis.user_site_role sr ON sr.id_site = l.id_site
WHERE  l.deleted_at IS NULL;

CREATE VIEW vis.sees_session_type_project AS
SELECT pr.id_user AS viewer, l.id_session_type_project
FROM   t_sessions_types_projects l JOIN vis.user_project_role pr ON pr.id_project = l.id_project
WHERE  l.deleted_at IS NULL;

CREATE VIEW vis.sees_session_type_service AS
SELECT st.viewer, l.id_session_type_service
FROM   t_sessions_types_services l
JOIN   vis.sees_session_type st ON st.id_session_type = l.id_session_type
JOIN   vis.sees_service sv      ON sv.id_service = l.id_service AND sv.viewer = st.viewer
WHERE  l.deleted_at IS NULL;

CREATE VIEW vis.sees_server_settings AS
SELECT u.id_user AS viewer, s.id_server_settings
FROM   t_server_settings s CROSS JOIN t_users u
WHERE  u.user_superadmin AND u.deleted_at IS NULL;

-- Who of those that can be connected sees what. A disabled user cannot.
CREATE VIEW vis.sees AS
SELECT DISTINCT x.object_type, x.id, x.viewer
FROM  (SELECT 'site' AS object_type, v.id_site AS id, v.viewer FROM (SELECT id_user AS viewer, id_site FROM vis.user_site_role) v
       UNION ALL SELECT 'project' AS object_type, v.id_project AS id, v.viewer FROM (SELECT id_user AS viewer, id_project FROM vis.user_project_role) v
       UNION ALL SELECT 'user' AS object_type, v.id_user AS id, v.viewer FROM vis.sees_user v
       UNION ALL SELECT 'user_group' AS object_type, v.id_user_group AS id, v.viewer FROM vis.sees_user_group v
       UNION ALL SELECT 'participant_group' AS object_type, v.id_participant_group AS id, v.viewer FROM vis.sees_participant_group v
       UNION ALL SELECT 'participant' AS object_type, v.id_participant AS id, v.viewer FROM vis.sees_participant v
       UNION ALL SELECT 'device' AS object_type, v.id_device AS id, v.viewer FROM vis.sees_device v
       UNION ALL SELECT 'service' AS object_type, v.id_service AS id, v.viewer FROM vis.sees_service v
       UNION ALL SELECT 'session_type' AS object_type, v.id_session_type AS id, v.viewer FROM vis.sees_session_type v
       UNION ALL SELECT 'session_type_site' AS object_type, v.id_session_type_site AS id, v.viewer FROM vis.sees_session_type_site v
       UNION ALL SELECT 'session_type_project' AS object_type, v.id_session_type_project AS id, v.viewer FROM vis.sees_session_type_project v
       UNION ALL SELECT 'session_type_service' AS object_type, v.id_session_type_service AS id, v.viewer FROM vis.sees_session_type_service v
       UNION ALL SELECT 'session' AS object_type, v.id_session AS id, v.viewer FROM vis.opens_session v
       UNION ALL SELECT 'asset' AS object_type, v.id_asset AS id, v.viewer FROM vis.sees_asset v
       UNION ALL SELECT 'test_type' AS object_type, v.id_test_type AS id, v.viewer FROM vis.sees_test_type v
       UNION ALL SELECT 'test' AS object_type, v.id_test AS id, v.viewer FROM vis.sees_test v
       UNION ALL SELECT 'test_invitation' AS object_type, v.id_test_invitation AS id, v.viewer FROM vis.sees_test_invitation v
       UNION ALL SELECT 'server_settings' AS object_type, v.id_server_settings AS id, v.viewer FROM vis.sees_server_settings v) x
JOIN   t_users u ON u.id_user = x.viewer AND u.user_enabled;
`
