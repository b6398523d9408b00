-- The installation of the fault suite, beside the demo's: two sites with three projects each, users in every role,
-- participants, devices, sessions, assets. The test replaces :users etc. by numbers. All ids of people start at 100000.

CREATE SCHEMA chaos;

INSERT INTO t_sites (id_site, site_name, site_2fa_required, version_id) SELECT 9000 + i, 'chaos site ' || i, false, 1 FROM generate_series(1, 2) i;
INSERT INTO t_projects (id_project, id_site, project_name, project_enabled, version_id)
SELECT 9100 + i, 9001 + (i - 1) / 3, 'chaos project ' || i, true, 1 FROM generate_series(1, 6) i;

-- a service that every project uses, for the assets
INSERT INTO t_services (id_service, service_uuid, service_name, service_key, service_hostname, service_port, service_endpoint, service_clientendpoint,
    service_enabled, service_system, service_editable_config, service_has_assets, service_has_tests, version_id)
VALUES (9000, '0badcafe-0000-4000-8000-000000000000', 'chaos', 'ChaosService', 'localhost', 1, '/', '/', true, false, false, true, false, 1);
INSERT INTO t_services_projects (id_service_project, id_service, id_project, version_id) SELECT 9100 + i, 9000, 9100 + i, 1 FROM generate_series(1, 6) i;

-- role, group and access share a number: user and admin of each project, admin of each site
INSERT INTO t_services_roles (id_service_role, id_service, id_project, id_site, service_role_name, version_id)
SELECT 9200 + i, 1, 9100 + i, NULL::integer, 'user', 1 FROM generate_series(1, 6) i UNION ALL
SELECT 9300 + i, 1, 9100 + i, NULL, 'admin', 1 FROM generate_series(1, 6) i UNION ALL
SELECT 9400 + i, 1, NULL, 9000 + i, 'admin', 1 FROM generate_series(1, 2) i;
INSERT INTO t_users_groups (id_user_group, user_group_name, version_id) SELECT id_service_role, 'chaos', 1 FROM t_services_roles WHERE id_service_role > 9200;
INSERT INTO t_services_access (id_service_access, id_user_group, id_service_role, version_id)
SELECT id_service_role, id_service_role, id_service_role, 1 FROM t_services_roles WHERE id_service_role > 9200;

-- of eight users: a superadmin, a site admin, a project admin, four in a project (the last in two), one without a role
INSERT INTO t_users (id_user, user_username, user_uuid, user_firstname, user_lastname, user_password, user_enabled, user_profile, user_superadmin,
    user_2fa_enabled, user_2fa_otp_enabled, user_2fa_email_enabled, user_force_password_change, version_id)
SELECT 100000 + i, 'chaos' || i, gen_random_uuid()::text, 'u', 'chaos', '', true, '', i % 8 = 0, false, false, false, false, 1 FROM generate_series(0, :users - 1) i;
INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id)
SELECT 100000 + i, 100000 + i, CASE i % 8 WHEN 1 THEN 9401 + i / 8 % 2 WHEN 2 THEN 9301 + i / 8 % 6 ELSE 9201 + i % 6 END, 1
FROM generate_series(0, :users - 1) i WHERE i % 8 NOT IN (0, 7) UNION ALL
SELECT 200000 + i, 100000 + i, 9201 + (i + 3) % 6, 1 FROM generate_series(0, :users - 1) i WHERE i % 8 = 6;

-- 100000: may connect, 200000: moves between projects, 300000: the crowd of a burst
INSERT INTO t_participants (id_participant, participant_uuid, participant_name, id_project, participant_enabled, participant_token_enabled, participant_login_enabled, version_id)
SELECT 100000 + i, gen_random_uuid()::text, 'p', 9101 + i % 6, true, false, false, 1 FROM generate_series(0, :participants - 1) i UNION ALL
SELECT 200000 + i, gen_random_uuid()::text, 'm', 9101 + i % 6, true, false, false, 1 FROM generate_series(0, 19) i UNION ALL
SELECT 300000 + i, gen_random_uuid()::text, 'c', 9102, true, false, false, 1 FROM generate_series(0, :crowd - 1) i;

INSERT INTO t_devices (id_device, device_uuid, device_name, id_device_type, device_enabled, device_onlineable, version_id)
SELECT 100000 + i, gen_random_uuid()::text, 'd', (SELECT min(id_device_type) FROM t_devices_types), true, true, 1 FROM generate_series(0, :devices - 1) i;
INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id) SELECT 100000 + i, 100000 + i, 9001 + i % 2, 1 FROM generate_series(0, :devices - 1) i;

INSERT INTO t_sessions (id_session, session_uuid, id_session_type, session_name, session_start_datetime, session_duration, session_status, version_id)
SELECT 100000 + i, gen_random_uuid()::text, (SELECT min(id_session_type) FROM t_sessions_types), 's', now(), 0, 0, 1 FROM generate_series(0, 39) i;
INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id)
SELECT 100000 + i, 100000 + i, 100000 + i % :participants, 1 FROM generate_series(0, 39) i;
INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id)
SELECT 100000 + i, 100000 + i, 'a', gen_random_uuid()::text, '0badcafe-0000-4000-8000-000000000000', 'text/plain', 1 FROM generate_series(0, 39) i;

-- Every numbered change inserts a row here in its own transaction: this table holds what committed.
CREATE TABLE chaos.changes (
    id           bigserial,          -- orders the changes of one transaction
    mark         text    NOT NULL,   -- the object's new name, or the archive_url of a message
    writer       integer NOT NULL,   -- commits its changes in order
    n            integer NOT NULL,
    op           text    NOT NULL,   -- C, U, S for a soft delete alone, D for any other delete, or M for a message
    object_type  text    NOT NULL,
    object_id    integer NOT NULL,
    was_in       integer,            -- for a participant that moved: the project before
    is_in        integer,            -- and after; for an asset: its session
    told         text    NOT NULL DEFAULT '', -- UUID of the recipient of a message
    is_silent    boolean NOT NULL DEFAULT false, -- nothing announced it: a prepared transaction cannot NOTIFY
    xid          xid8    NOT NULL DEFAULT pg_current_xact_id()
);

-- What users may see: OpenTera's rules for what the suite changes (access-rules, section 3), straight from the role tables,
-- without routing keys or functions of terasocket.
CREATE VIEW chaos.held AS
SELECT m.id_user, r.id_project, r.id_site, r.id_service, r.service_role_name AS role
FROM   t_users_users_groups m
JOIN   t_users_groups g     ON g.id_user_group = m.id_user_group AND g.deleted_at IS NULL
JOIN   t_services_access a  ON a.id_user_group = g.id_user_group AND a.deleted_at IS NULL
JOIN   t_services_roles r   ON r.id_service_role = a.id_service_role AND r.deleted_at IS NULL
WHERE  m.deleted_at IS NULL;
CREATE VIEW chaos.sees_project AS
SELECT u.id_user AS viewer, p.id_project, p.id_site FROM t_users u, t_projects p WHERE u.user_superadmin UNION
SELECT h.id_user, p.id_project, p.id_site FROM chaos.held h JOIN t_projects p ON p.id_project = h.id_project UNION
SELECT h.id_user, p.id_project, p.id_site FROM chaos.held h JOIN t_projects p ON p.id_site = h.id_site WHERE h.role = 'admin';
CREATE VIEW chaos.sees_session AS
SELECT DISTINCT v.viewer, l.id_session FROM chaos.sees_project v
JOIN   t_participants p          ON p.id_project = v.id_project
JOIN   t_sessions_participants l ON l.id_participant = p.id_participant;
CREATE VIEW chaos.sees AS
SELECT viewer, 'project' AS object_type, id_project AS object_id FROM chaos.sees_project UNION
SELECT v.viewer, 'device', l.id_device FROM t_devices_sites l
JOIN  (SELECT viewer, id_site FROM chaos.sees_project UNION SELECT id_user, id_site FROM chaos.held WHERE id_site IS NOT NULL) v USING (id_site) UNION
SELECT viewer, 'session', id_session FROM chaos.sees_session UNION -- and its assets: every project uses their service
SELECT id_user, 'user', id_user FROM t_users UNION
SELECT a.id_user, 'user', u.id_user FROM t_users a, t_users u WHERE a.user_superadmin UNION
SELECT v.viewer, 'user', h.id_user FROM chaos.held h JOIN chaos.sees_project v USING (id_project) WHERE h.id_service = 1;

-- who saw what at the end of each phase; rights change only between phases
CREATE TABLE chaos.saw (phase integer, viewer integer, object_type text, object_id integer);
CREATE TABLE chaos.phases (phase integer PRIMARY KEY, last_seq bigint NOT NULL);
