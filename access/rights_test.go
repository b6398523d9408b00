package access_test

import (
	"testing"

	"terasocket/access"
	"terasocket/db/dbtest"
)

// A change of rights counts for the next message: for each table that the rules read, somebody receives a message before the change and
// not after it, or the other way round.
func TestRightsThatChange(t *testing.T) {
	t.Parallel()
	f := setup(t, sessionWorld())
	participant := func(id int) (string, fields) {
		return "ParticipantEvent", fields{"participantUuid": participantUUID(id)}
	}
	device := func(id int) (string, fields) { return "DeviceEvent", fields{"deviceUuid": deviceUUID(id)} }
	user := func(id int32) (string, fields) { return "UserEvent", fields{"userUuid": userUUID(id)} }
	leave := func(id int) (string, fields) { return "LeaveSessionEvent", fields{"sessionUuid": sessionUUID(id)} }
	stop := func(id int) (string, fields) { return "StopSessionEvent", fields{"sessionUuid": sessionUUID(id)} }
	archive := func(owner string) (string, fields) { return "ArchiveEvent", fields{"ownerUuid": owner} }
	type question func() (string, fields)
	ask := func(f func(int) (string, fields), id int) question {
		return func() (string, fields) { return f(id) }
	}
	u := func(id int32) access.Principal { return access.Principal{Kind: access.User, ID: id} }
	p := func(id int32) access.Principal { return access.Principal{Kind: access.Participant, ID: id} }
	d := func(id int32) access.Principal { return access.Principal{Kind: access.Device, ID: id} }
	for _, test := range []struct {
		change string
		who    access.Principal
		of     question
		hears  bool // after the change; before it, the opposite
	}{
		{bury("t_users_users_groups", 5), u(projectUser), ask(participant, 31), false},
		{remove("t_users_users_groups", 5), u(projectUser), ask(participant, 31), false},
		{raise("t_users_users_groups", 11), u(deadMembership), ask(participant, 31), true},
		{row("t_users_users_groups", 900, "id_user=9", "id_user_group=5"), u(nobody), ask(participant, 31), true},
		{bury("t_users_groups", 5), u(projectUser), ask(participant, 31), false},
		{raise("t_users_groups", 10), u(deadGroup), ask(participant, 31), true},
		{bury("t_services_access", 5), u(projectUser), ask(participant, 31), false},
		{row("t_services_access", 900, "id_user_group=9", "id_service_role=112"), u(nobody), ask(participant, 31), true},
		{bury("t_services_roles", 112), u(projectUser), ask(participant, 31), false},
		{raise("t_services_roles", 113), u(deadRole), ask(participant, 31), true},
		{update("t_services_roles", 102, "service_role_name = 'admin'"), u(siteUser), ask(participant, 31), true},
		{update("t_services_roles", 101, "service_role_name = 'user'"), u(siteAdmin), ask(participant, 31), false},
		{update("t_users", int(nobody), "user_superadmin = true"), u(nobody), ask(device, 43), true},
		{update("t_users", int(superadmin), "user_superadmin = false"), u(superadmin), ask(participant, 33), false},
		{update("t_users", int(projectUser), "user_enabled = false"), u(projectUser), ask(participant, 31), false},
		{update("t_users", int(disabled), "user_enabled = true"), u(disabled), ask(participant, 31), true},
		{bury("t_users", int(projectUser)), u(projectUser), ask(participant, 31), false},
		{bury("t_users", int(projectUser)), u(projectAdmin), func() (string, fields) { return user(projectUser) }, false},
		{bury("t_projects", 11), u(projectUser), ask(participant, 31), false},
		{update("t_projects", 11, "id_site = 2"), u(siteAdmin), ask(participant, 31), false},
		{update("t_projects", 11, "id_site = 2"), u(otherSiteAdmin), ask(participant, 31), true},
		{bury("t_sites", 1), u(siteUser), ask(device, 41), false},
		{update("t_participants", 31, "id_project = 21", "id_participant_group = NULL"), u(projectUser), ask(participant, 31), false},
		{update("t_participants", 31, "id_project = 21", "id_participant_group = NULL"), u(otherProjectUser), ask(participant, 31), true},
		{bury("t_participants", 31), u(superadmin), ask(participant, 31), false},
		{bury("t_participants", 31), p(31), func() (string, fields) { return archive(participantUUID(31)) }, false},
		{update("t_participants", 31, "participant_enabled = false"), p(31), ask(participant, 31), false},
		{update("t_participants", 36, "participant_enabled = true"), p(36), ask(leave, 84), true},
		{update("t_devices", 41, "device_enabled = false"), d(41), ask(participant, 31), false},
		{update("t_devices", 44, "device_enabled = true"), d(44), ask(participant, 31), true},
		{bury("t_devices", 41), u(siteUser), ask(device, 41), false},
		{bury("t_devices_sites", 411), u(siteUser), ask(device, 41), false},
		{row("t_devices_sites", 900, "id_device=43", "id_site=1"), u(siteUser), ask(device, 43), true},
		{"UPDATE t_devices_participants SET deleted_at = now() WHERE id_device_participant = 1", d(41), ask(participant, 31), false},
		{"UPDATE t_devices_participants SET deleted_at = now() WHERE id_device_participant = 1", p(31), ask(device, 41), false},
		{"DELETE FROM t_devices_participants WHERE id_device_participant = 1", d(41), ask(participant, 31), false},
		{"UPDATE t_devices_participants SET deleted_at = NULL WHERE id_device_participant = 8", d(41), ask(participant, 32), true},
		{link(900, 42, 31, "NULL"), p(31), ask(device, 42), true},
		{bury("t_sessions_users", 840), u(projectUser), ask(leave, 84), false},
		{raise("t_sessions_users", 842), u(otherSiteAdmin), ask(leave, 84), true},
		{bury("t_sessions_participants", 840), p(32), ask(leave, 84), false},
		{raise("t_sessions_participants", 842), p(33), ask(stop, 84), true},
		{bury("t_sessions_devices", 840), d(43), ask(leave, 84), false},
		{raise("t_sessions_devices", 841), d(42), ask(stop, 84), true},
		{bury("t_sessions", 84), u(projectUser), ask(leave, 84), false},
		{raise("t_sessions", 85), d(43), ask(stop, 85), true},
		{update("t_sessions", 84, "id_creator_device = NULL"), u(otherProjectUser), ask(stop, 84), false},
		{update("t_sessions", 81, "id_creator_service = 6"), u(otherProjectUser), ask(stop, 81), true},
	} {
		hears := func() bool {
			message, body := test.of()
			return one[bool](f, "SELECT EXISTS (SELECT FROM terasocket.audience(ARRAY[$1]) WHERE kind = $2 AND $3 = ANY (ids))",
				f.keysOf(message, body, ""), int16(test.who.Kind), test.who.ID)
		}
		before := hears()
		if _, err := f.conn.Exec(t.Context(), "BEGIN; "+test.change); err != nil {
			t.Fatalf("%s: %v", test.change, err)
		}
		if after := hears(); after != test.hears || before == after {
			t.Errorf("%s: %v receives it before: %t, after: %t; want %t after, and the opposite before", test.change, test.who, before, after, test.hears)
		}
		dbtest.Exec(t, f.conn, "ROLLBACK")
	}
}
