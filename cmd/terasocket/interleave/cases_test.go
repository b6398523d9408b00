package interleave

import "testing"

// TestSmallestCases runs the known ways to fail, each as small as possible. See testdata/world.sql: participant 2 is in project
// 1 and the only one of session 4, whose asset and test are 4; users 3 and 10 are in project 1, user 6 in project 4, user 9 has
// no role.
func TestSmallestCases(t *testing.T) {
	t.Parallel()
	const move = "S2: UPDATE t_participants SET id_project = 4 WHERE id_participant = 2"
	const newSession = "S1: INSERT INTO t_sessions (id_session, session_uuid, id_session_type, session_name, session_start_datetime, session_duration, session_status, version_id) " +
		"VALUES (200, '200', 1, 'new', '2024-01-02 03:04:05+00', 0, 0, 1)"
	for i, c := range []struct {
		name  string
		lines []string
	}{
		// decided by the state at the statement, not at the commit
		{"a session whose participant moves", []string{"S1: BEGIN; UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4", move, "S1: COMMIT"}},
		{"a session whose participant moves away and back", []string{"S1: BEGIN; UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4", move,
			"S2: UPDATE t_participants SET id_project = 1 WHERE id_participant = 2", "S1: COMMIT"}},
		{"a test whose participant moves", []string{"S1: BEGIN; UPDATE t_tests SET test_name = 'new' WHERE id_test = 4", move, "S1: COMMIT"}},
		{"a test whose type gets another service", []string{"S1: BEGIN; UPDATE t_tests SET test_name = 'new' WHERE id_test = 4",
			"S2: UPDATE t_tests_types SET id_service = 4 WHERE id_test_type = 2", "S1: COMMIT"}},
		{"an asset whose participant moves", []string{"S1: BEGIN; UPDATE t_assets SET asset_name = 'new' WHERE id_asset = 4", move, "S1: COMMIT"}},
		{"an asset whose service leaves the project", []string{"S1: BEGIN; UPDATE t_assets SET asset_name = 'new' WHERE id_asset = 4",
			"S2: UPDATE t_services_projects SET deleted_at = now() WHERE id_service_project = 1", "S1: COMMIT"}},
		{"an invitation whose participant moves", []string{"S1: BEGIN; UPDATE t_tests_invitations SET test_invitation_message = 'new' WHERE id_test_invitation = 3",
			"S2: UPDATE t_participants SET id_project = 4 WHERE id_participant = 1", "S1: COMMIT"}},
		{"a user who leaves a group", []string{"S1: BEGIN; UPDATE t_users SET user_firstname = 'new' WHERE id_user = 3",
			"S2: DELETE FROM t_users_users_groups WHERE id_user_user_group = 2", "S1: COMMIT"}},
		{"a user who gets a group", []string{"S1: BEGIN; UPDATE t_users SET user_firstname = 'new' WHERE id_user = 9",
			"S2: INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id) VALUES (200, 9, 1, 1)", "S1: COMMIT"}},
		{"a group that gets a role", []string{"S1: BEGIN; UPDATE t_users_groups SET user_group_name = 'new' WHERE id_user_group = 1",
			"S2: UPDATE t_services_access SET id_service_role = 4 WHERE id_service_access = 1", "S1: COMMIT"}},
		{"a device that changes its site", []string{"S1: BEGIN; UPDATE t_devices SET device_name = 'new' WHERE id_device = 1",
			"S2: UPDATE t_devices_sites SET id_site = 2 WHERE id_device_site = 1", "S1: COMMIT"}},
		{"a service that changes its project", []string{"S1: BEGIN; UPDATE t_services SET service_name = 'new' WHERE id_service = 2",
			"S2: UPDATE t_services_projects SET id_project = 4 WHERE id_service_project = 1", "S1: COMMIT"}},
		{"a service that leaves its site", []string{"S1: BEGIN; UPDATE t_services SET service_name = 'new' WHERE id_service = 3",
			"S2: DELETE FROM t_services_sites WHERE id_service_site = 2", "S1: COMMIT"}},
		{"a session type that changes its site", []string{"S1: BEGIN; UPDATE t_sessions_types SET session_type_name = 'new' WHERE id_session_type = 2",
			"S2: UPDATE t_sessions_types_sites SET id_site = 2 WHERE id_session_type_site = 3", "S1: COMMIT"}},
		{"a test type that changes its site", []string{"S1: BEGIN; UPDATE t_tests_types SET test_type_name = 'new' WHERE id_test_type = 3",
			"S2: UPDATE t_tests_types_sites SET id_site = 2 WHERE id_test_type_site = 4", "S1: COMMIT"}},
		{"a project that changes its site", []string{"S1: BEGIN; UPDATE t_participants SET participant_name = 'new' WHERE id_participant = 1",
			"S2: UPDATE t_projects SET id_site = 2 WHERE id_project = 1", "S1: COMMIT"}},

		// a link with the old state of the row
		{"a member user beside a rename", []string{"S1: BEGIN; INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (200, 4, 9, 1)",
			"S2: UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4", "S1: COMMIT"}},
		{"a member participant beside a rename", []string{"S1: BEGIN; INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) VALUES (200, 4, 7, 1)",
			"S2: UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4", "S1: COMMIT"}},
		{"a member who goes beside a rename", []string{"S1: BEGIN; UPDATE t_sessions_users SET deleted_at = now() WHERE id_session_user = 1",
			"S2: UPDATE t_sessions SET session_name = 'new' WHERE id_session = 1", "S1: COMMIT"}},
		{"a member who comes and goes while others lose their role", []string{"S1: BEGIN; UPDATE t_services_roles SET deleted_at = now() WHERE id_project = 1",
			"S1: INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (200, 4, 9, 1)",
			"S1: DELETE FROM t_sessions_users WHERE id_session_user = 200", "S1: COMMIT"}},
		{"a device that gets a site beside its soft delete", []string{"S1: BEGIN; INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id) VALUES (200, 3, 1, 1)",
			"S2: UPDATE t_devices SET deleted_at = now() WHERE id_device = 3", "S1: COMMIT"}},
		{"a device that gets a site beside a rename", []string{"S1: BEGIN; INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id) VALUES (200, 3, 1, 1)",
			"S2: UPDATE t_devices SET device_name = 'new' WHERE id_device = 3", "S1: COMMIT"}},
		{"a service that gets a project beside a rename", []string{"S1: BEGIN; INSERT INTO t_services_projects (id_service_project, id_service, id_project, version_id) VALUES (200, 2, 4, 1)",
			"S2: UPDATE t_services SET service_name = 'new' WHERE id_service = 2", "S1: COMMIT"}},
		{"a service that gets a site beside a rename", []string{"S1: BEGIN; UPDATE t_services_sites SET deleted_at = NULL WHERE id_service_site = 3",
			"S2: UPDATE t_services SET service_name = 'new' WHERE id_service = 3", "S1: COMMIT"}},
		{"a session type that gets a site beside a rename", []string{"S1: BEGIN; INSERT INTO t_sessions_types_sites (id_session_type_site, id_session_type, id_site, version_id) VALUES (200, 2, 2, 1)",
			"S2: UPDATE t_sessions_types SET session_type_name = 'new' WHERE id_session_type = 2", "S1: COMMIT"}},
		{"a test type that gets a site beside a rename", []string{"S1: BEGIN; INSERT INTO t_tests_types_sites (id_test_type_site, id_test_type, id_site, version_id) VALUES (200, 2, 1, 1)",
			"S2: UPDATE t_tests_types SET test_type_name = 'new' WHERE id_test_type = 2", "S1: COMMIT"}},

		// wrong and missing deletes
		{"a member who goes and becomes creator", []string{"S1: BEGIN; DELETE FROM t_sessions_users WHERE id_session_user = 1",
			"S2: UPDATE t_sessions SET id_creator_user = 9 WHERE id_session = 1", "S1: COMMIT"}},
		{"a creator who goes and becomes member", []string{"S1: BEGIN; UPDATE t_sessions SET id_creator_user = NULL WHERE id_session = 6",
			"S2: INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (200, 6, 9, 1)", "S1: COMMIT"}},
		{"a soft delete beside a new member", []string{"S1: BEGIN; UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4",
			"S2: INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (200, 4, 9, 1)", "S1: COMMIT"}},
		{"a new member beside a soft delete", []string{"S1: BEGIN; INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (200, 4, 9, 1)",
			"S2: UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4", "S1: COMMIT"}},
		{"a soft delete beside a move", []string{"S1: BEGIN; UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4", move, "S1: COMMIT"}},
		{"a hard delete beside a move", []string{"S1: BEGIN; DELETE FROM t_sessions WHERE id_session = 4", move, "S1: COMMIT"}},
		{"a soft delete beside a site", []string{"S1: BEGIN; UPDATE t_devices SET deleted_at = now() WHERE id_device = 3",
			"S2: INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id) VALUES (200, 3, 1, 1)", "S1: COMMIT"}},

		// a serialization failure inside a trigger, where it could be caught
		{"a serialization failure", []string{"S2: BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT session_name FROM t_sessions WHERE id_session = 4",
			"S1: BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT server_settings_name FROM t_server_settings",
			"S2: UPDATE t_participants SET id_project = 4 WHERE id_participant = 2; COMMIT",
			"S1: UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4; COMMIT"}},

		// who saw it before, asked too late: one transaction is enough
		{"a move, then a soft delete", []string{"S1: BEGIN; UPDATE t_participants SET id_project = 4 WHERE id_participant = 2; UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4; COMMIT"}},
		{"a move, then a hard delete", []string{"S1: BEGIN; UPDATE t_participants SET id_project = 4 WHERE id_participant = 2; DELETE FROM t_sessions WHERE id_session = 4; COMMIT"}},
		{"a second member of the project, then a soft delete", []string{"S1: BEGIN; INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) " +
			"VALUES (200, 4, 1, 1); UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4; COMMIT"}},
		{"a member of another project, then a soft delete", []string{"S1: BEGIN; INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) " +
			"VALUES (200, 4, 7, 1); UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4; COMMIT"}},
		{"a role in the transaction that deletes", []string{"S1: BEGIN; INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id) " +
			"VALUES (200, 9, 1, 1); UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4; DELETE FROM t_tests WHERE id_test = 4; COMMIT"}},
		{"a role that goes in the transaction that deletes", []string{"S1: BEGIN; DELETE FROM t_users_users_groups WHERE id_user_user_group = 2; " +
			"UPDATE t_sessions SET deleted_at = now() WHERE id_session = 4; DELETE FROM t_tests WHERE id_test = 4; COMMIT"}},
		{"constraints immediate", []string{"S1: BEGIN; SET CONSTRAINTS ALL IMMEDIATE; UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4; " +
			"UPDATE t_participants SET id_project = 4 WHERE id_participant = 2; UPDATE t_sessions SET session_name = 'newer' WHERE id_session = 4; COMMIT"}},
		{"constraints immediate at the end", []string{"S1: BEGIN; UPDATE t_participants SET id_project = 4 WHERE id_participant = 2; UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4; " +
			"SET CONSTRAINTS ALL IMMEDIATE; UPDATE t_participants SET id_project = 3 WHERE id_participant = 2; COMMIT"}},
		{"a new session that is deleted", []string{"S1: BEGIN; UPDATE t_assets SET id_session = 1 WHERE id_asset = 4; DELETE FROM t_sessions WHERE id_session = 4; COMMIT"}},

		{"a soft delete, then a rename", []string{"S1: BEGIN; UPDATE t_tests SET deleted_at = now() WHERE id_test = 4; UPDATE t_tests SET test_name = 'new' WHERE id_test = 4; COMMIT"}},
		{"a rename, then a soft delete", []string{"S1: BEGIN; UPDATE t_tests SET test_name = 'new' WHERE id_test = 4; UPDATE t_tests SET deleted_at = now() WHERE id_test = 4; COMMIT"}},
		{"another key", []string{"S1: UPDATE t_assets SET id_asset = 200 WHERE id_asset = 4"}},
		{"another object with the same key", []string{"S1: BEGIN; DELETE FROM t_assets WHERE id_asset = 4; INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id) " +
			"VALUES (4, 4, 'other', 'other', '5e000000-2', 'x', 1); COMMIT"}},
		{"a truncate", []string{"S1: TRUNCATE t_tests"}},
		{"a truncate with what hangs on it", []string{"S1: TRUNCATE t_sessions CASCADE"}},
		{"a prepared transaction", []string{"S1: BEGIN; SET LOCAL terasocket.notify = off; UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4; DELETE FROM t_users_users_groups WHERE id_user_user_group = 2; " +
			"PREPARE TRANSACTION 'p'", move, "S1: COMMIT PREPARED 'p'"}},

		// a client that resumes with fewer rights than before but still sees it: user 10 is in sites 1 and 2, projects 1 and 3
		{"a device that is seen by another site", []string{"S1: UPDATE t_devices SET device_name = 'new' WHERE id_device = 3; SELECT pg_sleep(0.3)",
			"S1: INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id) VALUES (200, 3, 1, 1); SELECT pg_sleep(0.3)",
			"S1: UPDATE t_sites SET deleted_at = now() WHERE id_site = 2"}},
		{"a session that is seen by another project", []string{"S1: UPDATE t_sessions SET session_name = 'new' WHERE id_session = 4; SELECT pg_sleep(0.3)",
			"S1: UPDATE t_participants SET id_project = 3 WHERE id_participant = 2; SELECT pg_sleep(0.3)",
			"S1: UPDATE t_users_users_groups SET id_user_group = 3 WHERE id_user_user_group = 8"}},

		// becomes visible
		{"a session first, its participant later", []string{newSession, "S1: INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) VALUES (200, 200, 2, 1)"}},
		{"a session first, its user later", []string{newSession, "S1: INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (200, 200, 9, 1)"}},
		{"a session first, all members later", []string{newSession, "S1: BEGIN; INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (200, 200, 9, 1), (201, 200, 4, 1); " +
			"INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) VALUES (200, 200, 2, 1), (201, 200, 7, 1); COMMIT"}},
		{"a device first, its site later", []string{"S1: INSERT INTO t_devices (id_device, device_uuid, device_name, id_device_type, device_enabled, device_onlineable, version_id) " +
			"VALUES (200, '200', 'new', 1, true, true, 1)", "S1: INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id) VALUES (200, 200, 1, 1)"}},
		{"a service first, its project later", []string{"S1: UPDATE t_services SET service_name = 'new' WHERE id_service = 4",
			"S1: INSERT INTO t_services_projects (id_service_project, id_service, id_project, version_id) VALUES (200, 4, 1, 1)"}},
		{"a participant who comes", []string{"S1: UPDATE t_participants SET id_project = 4 WHERE id_participant = 2"}},
		{"an undelete", []string{"S1: UPDATE t_participants SET deleted_at = NULL WHERE id_participant = 9"}},
	} {
		if testing.Short() && i%5 != 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := program{seed: t.Name(), gateways: 1, rounds: []round{ofScript(c.lines...)}}
			problems, _, err := run(t, p)
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) > 0 {
				t.Error(report(p, problems))
			}
		})
	}
}
