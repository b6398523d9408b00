-- The indexes of terasocket.attach() that are not there, or not valid, though table and column are.
-- $1 oid of OpenTera's schema -> name
SELECT i.name
FROM   (VALUES
           ('t_users_users_groups', 'id_user'), ('t_users_users_groups', 'id_user_group'),
           ('t_services_access', 'id_user_group'), ('t_services_access', 'id_service_role'),
           ('t_services_roles', 'id_project'), ('t_services_roles', 'id_site'), ('t_services_roles', 'id_service'),
           ('t_services_projects', 'id_service'), ('t_services_sites', 'id_service'),
           ('t_devices_sites', 'id_device'), ('t_devices_participants', 'id_device'), ('t_devices_participants', 'id_participant'),
           ('t_sessions_types_sites', 'id_session_type'), ('t_tests_types_sites', 'id_test_type'),
           ('t_sessions_users', 'id_session'), ('t_sessions_participants', 'id_session'), ('t_sessions_devices', 'id_session'),
           ('t_assets', 'id_session'), ('t_tests', 'id_session'), ('t_tests_invitations', 'id_participant')) e (table_name, column_name)
JOIN   pg_class c     ON c.relnamespace = $1::oid AND c.relname = e.table_name
JOIN   pg_attribute a ON a.attrelid = c.oid AND a.attname = e.column_name AND NOT a.attisdropped,
       LATERAL (SELECT 'terasocket_' || e.table_name || '_' || e.column_name AS name) i
WHERE  NOT EXISTS (SELECT FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid
                   WHERE  x.indrelid = c.oid AND n.relname = i.name AND x.indisvalid)
ORDER  BY 1
