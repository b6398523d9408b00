-- A small OpenTera in which every rule applies to somebody and not to somebody else. Ids of each table count from 1, so that
-- random statements collide. Users 1 to 10 are the viewers; see generate_test.go.

INSERT INTO t_server_settings VALUES (1, 'setting 1', 'v', 1), (2, 'setting 2', 'v', 1);
INSERT INTO t_sites (id_site, site_name, site_2fa_required, version_id) SELECT i, 'site ' || i, false, 1 FROM generate_series(1, 2) i;
INSERT INTO t_projects (id_project, id_site, project_name, project_enabled, version_id, deleted_at) VALUES
    (1, 1, 'project 1', true, 1, NULL), (2, 1, 'project 2', true, 1, NULL), (3, 2, 'project 3', true, 1, NULL),
    (4, 2, 'project 4', true, 1, NULL), (5, 2, 'project 5', true, 1, now());
INSERT INTO t_services (id_service, service_uuid, service_name, service_key, service_hostname, service_port, service_endpoint,
    service_clientendpoint, service_enabled, service_system, service_editable_config, service_has_assets, service_has_tests, version_id)
SELECT i, '5e000000-' || i, 'service ' || i, CASE i WHEN 1 THEN 'OpenTeraServer' ELSE 'Service' || i END, 'localhost', i, '/', '/', true, false, false, true, true, 1
FROM generate_series(1, 4) i;
INSERT INTO t_services_projects (id_service_project, id_service, id_project, version_id, deleted_at) VALUES
    (1, 2, 1, 1, NULL), (2, 2, 2, 1, NULL), (3, 2, 3, 1, NULL), (4, 3, 1, 1, NULL), (5, 3, 3, 1, NULL), (6, 3, 4, 1, now());
INSERT INTO t_services_sites (id_service_site, id_service, id_site, version_id, deleted_at) VALUES (1, 2, 1, 1, NULL), (2, 3, 2, 1, NULL), (3, 3, 1, 1, now());

-- roles 1 to 4: user of a project, 5 to 8: its admin, 9 and 10: admin of a site, 11 and 12: its user, 13 and 14: of a service
INSERT INTO t_services_roles (id_service_role, id_service, id_project, id_site, service_role_name, version_id)
SELECT i, 1, i, NULL::integer, 'user', 1 FROM generate_series(1, 4) i UNION ALL
SELECT 4 + i, 1, i, NULL, 'admin', 1 FROM generate_series(1, 4) i UNION ALL
SELECT 8 + i, 1, NULL, i, 'admin', 1 FROM generate_series(1, 2) i UNION ALL
SELECT 10 + i, 1, NULL, i, 'user', 1 FROM generate_series(1, 2) i UNION ALL
SELECT 13, 3, 2, NULL, 'manager', 1 UNION ALL
SELECT 14, 3, NULL, 2, 'admin', 1;
INSERT INTO t_users_groups (id_user_group, user_group_name, version_id, deleted_at)
SELECT i, 'group ' || i, 1, CASE i WHEN 10 THEN now() END FROM generate_series(1, 10) i;
INSERT INTO t_services_access (id_service_access, id_user_group, id_service_role, version_id, deleted_at) VALUES
    (1, 1, 1, 1, NULL), (2, 2, 2, 1, NULL), (3, 3, 3, 1, NULL), (4, 4, 8, 1, NULL), (5, 5, 9, 1, NULL), (6, 6, 12, 1, NULL), (7, 7, 13, 1, NULL),
    (8, 8, 1, 1, NULL), (9, 8, 3, 1, NULL), (10, 10, 4, 1, NULL), (11, 2, 4, 1, now()), (12, 4, 7, 1, NULL);

-- 1 superadmin, 2 admin of site 1, 3 to 5 users of projects 1 to 3, 6 admin of projects 3 and 4, 7 user of site 2,
-- 8 manager of a service on project 2, 9 without a role, 10 user of projects 1 and 3; 11 disabled, 12 deleted
INSERT INTO t_users (id_user, user_username, user_uuid, user_firstname, user_lastname, user_password, user_enabled, user_profile, user_superadmin,
    user_2fa_enabled, user_2fa_otp_enabled, user_2fa_email_enabled, user_force_password_change, version_id, deleted_at)
SELECT i, 'user' || i, '00000000-0000-4000-8000-' || lpad(i::text, 12, '0'), 'user ' || i, 'l', '', i <> 11, '', i = 1, false, false, false, false, 1,
       CASE i WHEN 12 THEN now() END
FROM generate_series(1, 12) i;
INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id, deleted_at) VALUES
    (1, 2, 5, 1, NULL), (2, 3, 1, 1, NULL), (3, 4, 2, 1, NULL), (4, 5, 3, 1, NULL), (5, 6, 4, 1, NULL), (6, 7, 6, 1, NULL), (7, 8, 7, 1, NULL),
    (8, 10, 8, 1, NULL), (9, 11, 1, 1, NULL), (10, 12, 1, 1, NULL), (11, 9, 2, 1, now());

INSERT INTO t_participants_groups (id_participant_group, id_project, participant_group_name, version_id)
SELECT i, i, 'participant group ' || i, 1 FROM generate_series(1, 3) i;
INSERT INTO t_participants (id_participant, participant_uuid, participant_name, id_project, participant_enabled, participant_token_enabled,
    participant_login_enabled, version_id, deleted_at)
SELECT i, '00000000-0000-4000-8001-' || lpad(i::text, 12, '0'), 'participant ' || i, CASE i WHEN 9 THEN 1 ELSE (i + 1) / 2 END, true, false, false, 1,
       CASE i WHEN 9 THEN now() END
FROM generate_series(1, 9) i;

INSERT INTO t_devices_types VALUES (1, 'type', 'type', 1);
INSERT INTO t_devices_subtypes VALUES (1, 1, 'subtype', 1);
INSERT INTO t_devices (id_device, device_uuid, device_name, id_device_type, id_device_subtype, device_enabled, device_onlineable, version_id)
SELECT i, '00000000-0000-4000-8002-' || lpad(i::text, 12, '0'), 'device ' || i, 1, 1, true, true, 1 FROM generate_series(1, 4) i;
INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id, deleted_at) VALUES (1, 1, 1, 1, NULL), (2, 2, 1, 1, NULL), (3, 2, 2, 1, NULL), (4, 3, 2, 1, NULL), (5, 4, 1, 1, now());

INSERT INTO t_sessions_types (id_session_type, id_service, session_type_name, session_type_online, session_type_color, session_type_category, version_id)
SELECT i, nullif(i, 1), 'session type ' || i, true, '#000000', 1, 1 FROM generate_series(1, 3) i;
INSERT INTO t_sessions_types_sites (id_session_type_site, id_session_type, id_site, version_id) VALUES (1, 1, 1, 1), (2, 1, 2, 1), (3, 2, 1, 1), (4, 3, 2, 1);
INSERT INTO t_sessions_types_projects (id_session_type_project, id_session_type, id_project, version_id) VALUES (1, 1, 1, 1), (2, 2, 2, 1), (3, 3, 3, 1);
INSERT INTO t_sessions_types_services (id_session_type_service, id_session_type, id_service, version_id) VALUES (1, 2, 3, 1), (2, 1, 2, 1);

INSERT INTO t_sessions (id_session, session_uuid, id_session_type, id_creator_user, id_creator_participant, id_creator_device, id_creator_service,
    session_name, session_start_datetime, session_duration, session_status, version_id, deleted_at)
SELECT i, '00000000-0000-4000-8003-' || lpad(i::text, 12, '0'), 1 + i % 3, CASE i WHEN 1 THEN 3 WHEN 2 THEN 5 WHEN 6 THEN 9 WHEN 7 THEN 4 END,
       CASE i WHEN 3 THEN 3 END, CASE i WHEN 4 THEN 1 END, CASE i WHEN 5 THEN 2 END, 'session ' || i, '2024-01-02 03:04:05+00', 0, 0, 1, CASE i WHEN 8 THEN now() END
FROM generate_series(1, 8) i;
INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id, deleted_at) VALUES
    (1, 1, 1, 1, NULL), (2, 2, 5, 1, NULL), (3, 3, 3, 1, NULL), (4, 3, 5, 1, now()), (5, 4, 2, 1, NULL), (6, 5, 7, 1, NULL), (7, 5, 3, 1, NULL), (8, 8, 1, 1, NULL);
INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id, deleted_at) VALUES (1, 1, 9, 1, NULL), (2, 2, 3, 1, NULL), (3, 4, 6, 1, now()), (4, 6, 10, 1, NULL);
INSERT INTO t_sessions_devices (id_session_device, id_session, id_device, version_id) VALUES (1, 1, 1, 1), (2, 2, 3, 1);

INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id)
SELECT i, i, 'asset ' || i, '00000000-0000-4000-8004-' || lpad(i::text, 12, '0'), '5e000000-' || 2 + i % 2, 'text/plain', 1 FROM generate_series(1, 7) i;
INSERT INTO t_tests_types (id_test_type, id_service, test_type_uuid, test_type_name, test_type_has_json_format, test_type_has_web_format, test_type_has_web_editor, version_id)
SELECT i, CASE i WHEN 3 THEN 2 ELSE 1 + i END, '00000000-0000-4000-8005-' || lpad(i::text, 12, '0'), 'test type ' || i, true, false, false, 1 FROM generate_series(1, 3) i;
INSERT INTO t_tests_types_sites (id_test_type_site, id_test_type, id_site, version_id) VALUES (1, 1, 1, 1), (2, 1, 2, 1), (3, 2, 2, 1), (4, 3, 1, 1);
INSERT INTO t_tests (id_test, id_test_type, id_session, test_uuid, test_name, test_datetime, test_status, version_id)
SELECT i, 1 + i % 3, i, '00000000-0000-4000-8006-' || lpad(i::text, 12, '0'), 'test ' || i, '2024-01-02 03:04:05+00', 0, 1 FROM generate_series(1, 7) i;
INSERT INTO t_tests_invitations (id_test_invitation, id_test_type, id_session, id_user, id_participant, id_device, id_project, test_invitation_key,
    test_invitation_max_count, test_invitation_count, test_invitation_creation_date, test_invitation_expiration_date, test_invitation_message, version_id)
SELECT i, 1 + i % 3, CASE i WHEN 1 THEN 1 WHEN 6 THEN 5 END, CASE i WHEN 2 THEN 3 END, CASE i WHEN 3 THEN 1 WHEN 4 THEN 5 END, CASE i WHEN 5 THEN 2 END, 1 + (i - 1) / 2,
       'key' || i, 1, 0, '2024-01-02 03:04:05+00', '2030-01-02 03:04:05+00', 'invitation ' || i, 1
FROM generate_series(1, 6) i;

-- A link that is added and removed in one transaction leaves no row, but its objects may be announced all the same.
CREATE TABLE links_taken (object_type text, id integer);
CREATE FUNCTION link_taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO links_taken SELECT TG_ARGV[0], (to_jsonb(old) ->> TG_ARGV[1])::integer;
    RETURN NULL;
END $$;
DO $$ DECLARE l record; BEGIN
    FOR l IN VALUES ('t_devices_sites', 'device'), ('t_services_projects', 'service'), ('t_services_sites', 'service'), ('t_sessions_types_sites', 'session_type'),
                    ('t_sessions_users', 'session'), ('t_sessions_participants', 'session'), ('t_tests_types_sites', 'test_type') LOOP
        EXECUTE format('CREATE TRIGGER link_taken AFTER UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION link_taken(%L, %L)', l.column1, l.column2, 'id_' || l.column2);
    END LOOP;
END $$;
