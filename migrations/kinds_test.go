package migrations_test

import (
	"fmt"
	"strings"
)

// kind is one of the 18 kinds of objects as described in sheet database-events, section 3, with statements that write one. Columns that
// clients must not see hold a secret.
type kind struct {
	objectType string
	table      string
	keys       string // of create and update: "name type", with ? if it may be null
	deleteKeys string
	id         int64
	create     string // columns and values; null wherever possible
	update     string // gives every null a value
	computed   string // further keys of an update, as keys
	onCreate   string // further keys of a create
}

// secret begins every value that must not leave OpenTera's tables.
const secret = "sekrit-"

const newUUID = "00000000-0000-4000-8000-000000009000"

func kinds() []kind {
	return []kind{
		{
			objectType: "site", table: "t_sites", id: 9000,
			keys: "id_site int, site_2fa_required bool, site_name str", deleteKeys: "id_site",
			create: "site_name, site_2fa_required) VALUES (9000, 'New', true",
			update: "site_name = 'Renamed'",
		},
		{
			objectType: "project", table: "t_projects", id: 9000,
			keys:       "id_project int, id_site int, project_description str?, project_enabled bool, project_name str",
			deleteKeys: "id_project",
			create:     "id_site, project_name, project_enabled) VALUES (9000, 1, 'New', true",
			update:     "project_description = 'described'",
		},
		{
			objectType: "participant_group", table: "t_participants_groups", id: 9000,
			keys: "id_participant_group int, id_project int, participant_group_name str", deleteKeys: "id_participant_group",
			create: "id_project, participant_group_name) VALUES (9000, 1, 'New'",
			update: "participant_group_name = 'Renamed'",
		},
		{
			objectType: "participant", table: "t_participants", id: 9000,
			keys: "id_participant int, id_participant_group int?, id_project int, participant_email str?, participant_enabled bool, " +
				"participant_name str, participant_token_enabled bool, participant_uuid str",
			deleteKeys: "id_participant, participant_uuid",
			create: "participant_uuid, participant_name, participant_username, participant_password, participant_token_enabled, participant_token, " +
				"participant_enabled, participant_login_enabled, id_project) VALUES (9000, '" + newUUID + "', 'New', '" + secret + "a', '" + secret + "b', true, '" +
				secret + "c', true, true, 1",
			update: "participant_email = 'new@example.org', id_participant_group = 1",
		},
		{
			objectType: "user", table: "t_users", id: 9000,
			keys: "id_user int, user_2fa_enabled bool, user_enabled bool, user_firstname str, user_lastname str, user_superadmin bool, " +
				"user_uuid str",
			deleteKeys: "id_user, user_uuid",
			create: "user_uuid, user_username, user_email, user_firstname, user_lastname, user_password, user_enabled, user_profile, user_notes, " +
				"user_lastonline, user_superadmin, user_2fa_enabled, user_2fa_otp_enabled, user_2fa_email_enabled, user_2fa_otp_secret, " +
				"user_force_password_change) VALUES (9000, '" + newUUID + "', '" + secret + "d', '" + secret + "e@example.org', 'Nina', 'Neuve', '" + secret + "f', true, '" +
				secret + "g', '" + secret + "h', now(), false, true, true, false, '" + secret + "i', false",
			update:   "user_lastname = 'Vieille'",
			onCreate: "user_name str", computed: "user_name str",
		},
		{
			objectType: "user_group", table: "t_users_groups", id: 9000,
			keys: "id_user_group int, user_group_name str", deleteKeys: "id_user_group",
			create: "user_group_name) VALUES (9000, 'New'",
			update: "user_group_name = 'Renamed'",
		},
		{
			objectType: "device", table: "t_devices", id: 9000,
			keys: "device_enabled bool, device_name str, device_uuid str, id_device int, id_device_subtype int?, " +
				"id_device_type int",
			deleteKeys: "id_device, device_uuid",
			create: "device_uuid, device_name, id_device_type, device_token, device_certificate, device_enabled, device_onlineable, device_config, " +
				"device_infos, device_notes, device_lastonline) VALUES (9000, '" + newUUID + "', 'New', (SELECT min(id_device_type) FROM t_devices_types), '" +
				secret + "j', '" + secret + "k', true, true, '" + secret + "l', '" + secret + "m', '" + secret + "n', now()",
			update: "id_device_subtype = (SELECT min(id_device_subtype) FROM t_devices_subtypes)",
		},
		{
			objectType: "service", table: "t_services", id: 9000,
			keys: "id_service int, service_port int, service_clientendpoint str, service_endpoint str, service_hostname str, " +
				"service_key str, service_name str, service_uuid str, service_default_config str?, service_editable_config bool, " +
				"service_enabled bool, service_has_assets bool, service_has_tests bool, service_system bool",
			deleteKeys: "id_service, service_key",
			create: "service_uuid, service_name, service_key, service_hostname, service_port, service_endpoint, service_clientendpoint, service_endpoint_participant, " +
				"service_enabled, service_system, service_editable_config, service_has_assets, service_has_tests) VALUES (9000, '" + newUUID + "', 'New', 'NewService', " +
				"'localhost', 5000, '/', '/new', '', true, false, true, true, false",
			update:   "service_default_config = '{}', service_endpoint_user = '/u', service_endpoint_participant = '/p', service_endpoint_device = '/d'",
			onCreate: "service_roles array, service_projects array",
			computed: "service_roles array, service_projects array, service_endpoint_user str, service_endpoint_participant str, service_endpoint_device str",
		},
		{
			objectType: "session_type", table: "t_sessions_types", id: 9000,
			keys: "id_service int?, id_session_type int, session_type_category int, session_type_color str, " +
				"session_type_name str",
			deleteKeys: "id_session_type, id_service",
			create:     "session_type_name, session_type_online, session_type_config, session_type_color, session_type_category) VALUES (9000, 'New', true, '" + secret + "o', '#102030', 1",
			update:     "id_service = 5",
		},
		{
			objectType: "session_type_site", table: "t_sessions_types_sites", id: 9000,
			keys: "id_session_type int, id_session_type_site int, id_site int", deleteKeys: "id_session_type_site",
			create:   "id_session_type, id_site) VALUES (9000, 3, 2",
			update:   "id_session_type = 1",
			onCreate: "session_type_id_service int?", computed: "session_type_id_service int?",
		},
		{
			objectType: "session_type_project", table: "t_sessions_types_projects", id: 9000,
			keys: "id_project int, id_session_type int, id_session_type_project int", deleteKeys: "id_session_type_project",
			create:   "id_session_type, id_project) VALUES (9000, 3, 4",
			update:   "id_session_type = 1",
			onCreate: "session_type_id_service int?", computed: "session_type_id_service int?",
		},
		{
			objectType: "session_type_service", table: "t_sessions_types_services", id: 9000,
			keys: "id_service int, id_session_type int, id_session_type_service int", deleteKeys: "id_session_type_service",
			create:   "id_session_type, id_service) VALUES (9000, 3, 3",
			update:   "id_session_type = 1",
			onCreate: "session_type_id_service int?", computed: "session_type_id_service int?",
		},
		{
			objectType: "session", table: "t_sessions", id: 9000,
			keys: "id_creator_device int?, id_creator_participant int?, id_creator_service int?, id_creator_user int?, id_session int, " +
				"id_session_type int, session_duration int, session_name str, session_start_datetime ts, session_status int, session_uuid str",
			deleteKeys: "id_session, session_uuid",
			create: "session_uuid, id_session_type, id_creator_user, session_name, session_start_datetime, session_duration, session_status, session_comments, " +
				"session_parameters) VALUES (9000, '" + newUUID + "', 1, NULL, 'New', '2024-01-02 03:04:05-05', 0, 1, '" + secret + "p', '" + secret + "q'",
			update:   "id_creator_user = 9, id_creator_device = 1, id_creator_participant = 1, id_creator_service = 5, session_start_datetime = '2024-01-02 03:04:05.5-05'",
			onCreate: "session_assets_count int, session_tests_count int",
			computed: "session_assets_count int, session_tests_count int, session_creator_user str, session_creator_user_uuid str, session_creator_device str, " +
				"session_creator_device_uuid str, session_creator_participant str, session_creator_participant_uuid str, session_creator_service str, session_creator_service_uuid str",
		},
		{
			objectType: "asset", table: "t_assets", id: 9000,
			keys: "asset_datetime ts?, asset_expiration_datetime ts?, asset_name str, asset_service_uuid str, asset_type str, asset_uuid str, " +
				"id_asset int, id_device int?, id_participant int?, id_service int?, id_session int, id_user int?",
			deleteKeys: "id_asset, asset_uuid",
			create:     "id_session, asset_name, asset_uuid, asset_service_uuid, asset_type) VALUES (9000, 1, 'New', '" + newUUID + "', '10269241-27f8-5318-b324-e2267fac1a96', 'text/csv'",
			update: "asset_datetime = '2024-07-01 12:00:00.000001+05:30', asset_expiration_datetime = '2024-12-31 23:59:59-03:30', id_device = 1, " +
				"id_participant = 1, id_service = 5, id_user = 9",
		},
		{
			objectType: "test_type", table: "t_tests_types", id: 9000,
			keys: "id_service int, id_test_type int, test_type_description str?, test_type_has_json_format bool, test_type_has_web_editor bool, " +
				"test_type_has_web_format bool, test_type_key str?, test_type_name str, test_type_uuid str",
			deleteKeys: "id_test_type, test_type_uuid",
			create:     "id_service, test_type_uuid, test_type_name, test_type_has_json_format, test_type_has_web_format, test_type_has_web_editor) VALUES (9000, 5, '" + newUUID + "', 'New', true, false, true",
			update:     "test_type_description = 'described', test_type_key = 'newkey'",
		},
		{
			objectType: "test", table: "t_tests", id: 9000,
			keys: "id_device int?, id_participant int?, id_service int?, id_session int, id_test int, id_test_type int, id_user int?, test_datetime ts, " +
				"test_name str, test_status int, test_summary str?, test_uuid str",
			deleteKeys: "id_test, test_uuid",
			create:     "id_test_type, id_session, test_uuid, test_name, test_datetime, test_status) VALUES (9000, 1, 1, '" + newUUID + "', 'New', '2024-03-10 01:30:00.12', 0",
			update:     "id_device = 1, id_participant = 1, id_service = 5, id_user = 9, test_summary = '{\"pain\": 3}'",
		},
		{
			objectType: "test_invitation", table: "t_tests_invitations", id: 9000,
			keys: "id_device int?, id_participant int?, id_project int, id_session int?, id_test_invitation int, id_test_type int, id_user int?, " +
				"test_invitation_count int, test_invitation_creation_date ts, test_invitation_expiration_date ts, test_invitation_key str, " +
				"test_invitation_max_count int, test_invitation_message str?",
			deleteKeys: "id_test_invitation, test_invitation_key",
			create: "id_test_type, id_project, test_invitation_key, test_invitation_max_count, test_invitation_count, test_invitation_creation_date, " +
				"test_invitation_expiration_date) VALUES (9000, 1, 1, 'newinvitation', 3, 0, now(), now() + interval '1 day'",
			update: "id_device = 1, id_participant = 1, id_session = 1, id_user = 9, test_invitation_message = 'come'",
		},
		{
			objectType: "server_settings", table: "t_server_settings", id: 9000,
			keys: "id_server_settings int, server_settings_name str", deleteKeys: "id_server_settings",
			create: "server_settings_name, server_settings_value) VALUES (9000, 'NewKey', '" + secret + "r'",
			update: "server_settings_name = 'OtherKey'",
		},
	}
}

func (k kind) idColumn() string { return "id_" + k.objectType }

func (k kind) insert() string {
	return fmt.Sprintf("INSERT INTO %s (%s, version_id, %s)", k.table, k.idColumn(), strings.Replace(k.create, "(9000", "(9000, 1", 1))
}

func (k kind) set(assignments string) string {
	return fmt.Sprintf("UPDATE %s SET %s, version_id = version_id + 1 WHERE %s = %d", k.table, assignments, k.idColumn(), k.id)
}

func (k kind) delete() string {
	return fmt.Sprintf("DELETE FROM %s WHERE %s = %d", k.table, k.idColumn(), k.id)
}

func (k kind) event(op string) string { return fmt.Sprintf("%s %s %d", op, k.objectType, k.id) }
