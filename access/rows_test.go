package access_test

import (
	"fmt"
	"slices"
	"strings"
)

// table lists what an INSERT into an OpenTera table must provide: its columns have no defaults.
type table struct {
	id      string
	columns string // "name=SQL literal, ..."; % is the id
}

var tables = map[string]table{
	"t_server_settings": {"id_server_settings", "server_settings_name='setting%', server_settings_value='secret%'"},
	"t_sites":           {"id_site", "site_name='site %', site_2fa_required=false"},
	"t_projects":        {"id_project", "project_name='project %', project_enabled=true"},
	"t_services": {"id_service", "service_uuid='5e000000-%', service_name='service %', service_key='Service%', service_hostname='h', service_port=1, " +
		"service_endpoint='/', service_clientendpoint='/', service_enabled=true, service_system=false, service_editable_config=false, " +
		"service_has_assets=true, service_has_tests=true"},
	"t_services_sites":    {"id_service_site", ""},
	"t_services_projects": {"id_service_project", ""},
	"t_services_roles":    {"id_service_role", "id_service=1"},
	"t_services_access":   {"id_service_access", ""},
	"t_users": {"id_user", "user_username='user%', user_uuid='00000000-%', user_firstname='First', user_lastname='Last %', user_password='', user_enabled=true, " +
		"user_profile='', user_superadmin=false, user_2fa_enabled=false, user_2fa_otp_enabled=false, user_2fa_email_enabled=false, user_force_password_change=false"},
	"t_users_groups":        {"id_user_group", "user_group_name='group %'"},
	"t_users_users_groups":  {"id_user_user_group", ""},
	"t_participants_groups": {"id_participant_group", "participant_group_name='pgroup %'"},
	"t_participants": {"id_participant", "participant_uuid='9a000000-%', participant_name='participant %', participant_token_enabled=false, " +
		"participant_enabled=true, participant_login_enabled=false"},
	"t_devices_types":    {"id_device_type", "device_type_name='type %', device_type_key='type%'"},
	"t_devices":          {"id_device", "device_uuid='de000000-%', device_name='device %', id_device_type=1, device_enabled=true, device_onlineable=true"},
	"t_devices_sites":    {"id_device_site", ""},
	"t_devices_projects": {"id_device_project", ""},
	"t_sessions_types": {"id_session_type", "session_type_name='stype %', session_type_online=true, session_type_color='#000000', " +
		"session_type_category=1"},
	"t_sessions_types_sites":    {"id_session_type_site", ""},
	"t_sessions_types_projects": {"id_session_type_project", ""},
	"t_sessions_types_services": {"id_session_type_service", ""},
	"t_sessions": {"id_session", "session_uuid='5e550000-%', session_name='session %', session_start_datetime='2024-01-01', session_duration=0, " +
		"session_status=0, id_session_type=61"},
	"t_sessions_users":        {"id_session_user", ""},
	"t_sessions_participants": {"id_session_participant", ""},
	"t_sessions_devices":      {"id_session_device", ""},
	"t_assets":                {"id_asset", "asset_uuid='a5000000-%', asset_name='asset %', asset_type='text/csv'"},
	"t_tests_types": {"id_test_type", "test_type_uuid='77000000-%', test_type_name='ttype %', test_type_has_json_format=false, " +
		"test_type_has_web_format=false, test_type_has_web_editor=false"},
	"t_tests_types_sites": {"id_test_type_site", ""},
	"t_tests":             {"id_test", "test_uuid='7e570000-%', test_name='test %', test_datetime='2024-01-01', test_status=0"},
	"t_tests_invitations": {"id_test_invitation", "test_invitation_key='inv%', test_invitation_max_count=1, test_invitation_count=0, " +
		"test_invitation_creation_date='2024-01-01', test_invitation_expiration_date='2025-01-01'"},
}

// row returns the INSERT of a row with these columns, "name=SQL literal", and the mandatory ones.
func row(name string, id int, columns ...string) string {
	t, ok := tables[name]
	if !ok {
		panic("no table " + name)
	}
	var names, values []string
	set := func(column string) {
		k, v, _ := strings.Cut(column, "=")
		if i := slices.Index(names, k); i >= 0 {
			values[i] = v
			return
		}
		names, values = append(names, k), append(values, v)
	}
	set(t.id + "=" + fmt.Sprint(id))
	set("version_id=1")
	if t.columns != "" {
		for _, c := range strings.Split(strings.ReplaceAll(t.columns, "%", fmt.Sprint(id)), ", ") {
			set(c)
		}
	}
	for _, c := range columns {
		set(c)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", name, strings.Join(names, ", "), strings.Join(values, ", "))
}

// update returns the UPDATE of one row.
func update(name string, id int, columns ...string) string {
	return fmt.Sprintf("UPDATE %s SET %s, version_id = version_id + 1 WHERE %s = %d", name, strings.Join(columns, ", "), tables[name].id, id)
}

// bury soft-deletes one row, raise undeletes it.
func bury(name string, id int) string  { return update(name, id, "deleted_at = clock_timestamp()") }
func raise(name string, id int) string { return update(name, id, "deleted_at = NULL") }

// remove deletes one row physically.
func remove(name string, id int) string {
	return fmt.Sprintf("DELETE FROM %s WHERE %s = %d", name, tables[name].id, id)
}
