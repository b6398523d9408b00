package migrations_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"terasocket/db/opentera"
)

// online returns online_seen of a viewer, its objects in order.
func (f *fixture) online(viewer int, kind string) []object {
	f.Helper()
	var objects []object
	if err := json.Unmarshal([]byte(one[string](f, fmt.Sprintf("SELECT terasocket.online_seen(%d, '%s')::text", viewer, kind))), &objects); err != nil {
		f.Fatal(err)
	}
	return objects
}

// values returns one key of each object.
func values(objects []object, key string) string {
	all := make([]string, len(objects))
	for i, o := range objects {
		all[i] = fmt.Sprint(o[key])
	}
	return strings.Join(all, " ")
}

func TestOnlineObjects(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 1)
	f.exec("UPDATE t_participants SET participant_email = 'lucie@example.org', id_participant_group = NULL WHERE id_participant = 1")
	f.connect(g[0], "user", opentera.DemoProjectUserID)
	f.connect(g[0], "participant", opentera.DemoParticipantID)
	f.connect(g[0], "device", opentera.DemoDeviceID)

	mustEqual(t, "user", f.online(opentera.DemoProjectUserID, "user"), []object{{
		"id_user": 9.0, "user_2fa_enabled": false, "user_enabled": true, "user_firstname": "Ursula", "user_lastname": "Côté", "user_superadmin": false,
		"user_uuid": opentera.DemoProjectUserUUID, "user_name": "Ursula Côté", "user_online": true, "user_busy": false}})
	mustEqual(t, "participant", f.online(opentera.DemoProjectUserID, "participant"), []object{{
		"id_participant": 1.0, "id_participant_group": nil, "id_project": 1.0, "participant_email": "lucie@example.org", "participant_enabled": true,
		"participant_name": f.name("participant", 1), "participant_token_enabled": true, "participant_uuid": opentera.DemoParticipantUUID,
		"participant_online": true, "participant_busy": false,
		"project_name": "Télé-AVC", "id_site": 1.0, "site_name": "Centre de réadaptation de l'Estrie"}})
	device := object{"device_enabled": true, "device_name": "Kit TeraPlus 01", "device_uuid": opentera.DemoDeviceUUID, "id_device": 1.0,
		"id_device_subtype": 1.0, "id_device_type": 1.0, "device_online": true, "device_busy": false,
		"device_status": object{"online": true, "busy": false, "status": nil}}
	mustEqual(t, "device", f.online(opentera.DemoProjectUserID, "device"), []object{device})

	// its status is from its time online; people in a session are listed even if offline
	f.exec(fmt.Sprintf(`SELECT terasocket.device_status(1, '{"battery": 50}', 12.5);
		SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', '%s')`,
		typed("JoinSessionEvent", fmt.Sprintf(`, "sessionUuid": "0badcafe-0000-4000-8000-000000000001", "sessionDevices": ["%s"], "sessionUsers": ["%s"]`, opentera.DemoDeviceUUID, opentera.DemoProjectAdminUUID))))
	device["device_busy"] = true
	device["device_status"] = object{"online": true, "busy": true, "status": object{"status": `{"battery": 50}`, "timestamp": 12.5}}
	mustEqual(t, "busy device", f.online(opentera.DemoProjectUserID, "device"), []object{device})
	mustEqual(t, "busy user", values(f.online(opentera.DemoProjectUserID, "user"), "user_online"), "false true")
	mustEqual(t, "busy user", values(f.online(opentera.DemoProjectUserID, "user"), "user_busy"), "true false")
	f.exec("SELECT terasocket.disconnected(id, '0') FROM terasocket.connections WHERE kind = 'device'")
	device["device_online"], device["device_status"] = false, object{"online": false, "busy": true, "status": nil}
	mustEqual(t, "busy and offline", f.online(opentera.DemoProjectUserID, "device"), []object{device})

	for _, kind := range []string{"user", "participant", "device"} {
		if got := toJSON(f.online(opentera.DemoOtherSiteAdminID, kind)); got != "[]" {
			t.Errorf("the admin of another site is shown %s", got)
		}
	}
	for _, kind := range []string{"'x'", "NULL", "''"} {
		if _, err := f.conn.Exec(t.Context(), "SELECT terasocket.online_seen(1, "+kind+")"); err == nil || !strings.Contains(err.Error(), "kind is") {
			t.Errorf("kind %s: %v", kind, err)
		}
	}
}

// Users are ordered by first name, the others by name, by code points as Python sorts.
func TestOnlineOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(`UPDATE t_users SET user_firstname = CASE id_user WHEN 7 THEN 'b' WHEN 9 THEN 'é' WHEN 15 THEN 'A' WHEN 24 THEN 'B' ELSE 'b' END, user_lastname = 'x';
		UPDATE t_participants SET participant_name = CASE id_participant WHEN 1 THEN 'z' WHEN 3 THEN 'Z' ELSE 'y' END;
		UPDATE t_devices SET device_name = CASE id_device WHEN 1 THEN 'z' WHEN 2 THEN 'Z' ELSE 'y' END;
		INSERT INTO terasocket.online (kind, principal, online_since, connected_at) SELECT 'user', n, now(), now() FROM unnest('{7,9,15,24,25}'::integer[]) n
		UNION ALL SELECT k, n, now(), now() FROM unnest('{participant,device}'::text[]) k, generate_series(1, 3) n`)
	mustEqual(t, "users", values(f.online(1, "user"), "id_user"), "15 24 7 25 9")
	mustEqual(t, "participants", values(f.online(1, "participant"), "id_participant"), "3 2 1")
	mustEqual(t, "devices", values(f.online(1, "device"), "id_device"), "2 3 1")
}

// The cost does not grow with the square of the number online.
func TestOnlineOfMany(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_token_enabled, participant_enabled, participant_login_enabled, id_project, version_id)
		SELECT n, '0badcafe-0000-4000-8000-' || lpad(n::text, 12, '0'), 'p' || n, false, true, false, 1 + n % 8, 1 FROM generate_series(100001, 103000) n;
		INSERT INTO terasocket.online (kind, principal, online_since, connected_at) SELECT 'participant', n, now(), now() FROM generate_series(100001, 103000) n; ANALYZE`)
	f.exec("SET statement_timeout = '5s'")
	if n := len(f.online(opentera.DemoProjectUserID, "participant")); n != 375 {
		t.Errorf("%d participants", n)
	}
	if n := len(f.online(opentera.DemoSuperadminID, "participant")); n != 3000 {
		t.Errorf("%d participants of the superadmin", n)
	}
}

func TestDeviceByToken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	token := one[string](f, "SELECT device_token FROM t_devices WHERE id_device = 1")
	text := func() string {
		return one[string](f, "SELECT coalesce((SELECT concat_ws(' ', id, uuid, name, is_enabled, key) FROM terasocket.device_by_token($1)), 'nobody')", token)
	}
	mustEqual(t, "device", text(), "1 "+opentera.DemoDeviceUUID+" Kit TeraPlus 01 t rT4kQz8WmV2cXy6PbN1sLd9HfG3jJa7E")
	f.exec("UPDATE t_devices SET device_enabled = false WHERE id_device = 1")
	mustEqual(t, "disabled", text(), "1 "+opentera.DemoDeviceUUID+" Kit TeraPlus 01 f rT4kQz8WmV2cXy6PbN1sLd9HfG3jJa7E")
	f.exec("UPDATE t_devices SET deleted_at = now() WHERE id_device = 1")
	mustEqual(t, "deleted", text(), "nobody")
	token = "x"
	mustEqual(t, "unknown", text(), "nobody")
}

// A role with only USAGE on the schema can neither read presence nor kick with these functions.
func TestOnlineFunctionsAreNotForEverybody(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec(fmt.Sprintf("GRANT USAGE ON SCHEMA terasocket TO %s; SET ROLE %[1]s", role))
	for _, call := range []string{"online_seen(1, 'user')", "device_by_token('x')", "administered(1)", "user_may_disconnect(1, 'user', 9)",
		"service_may_disconnect(1, 'user', 9)", "disconnect('user', 1, 'user', 9, NULL)"} {
		if _, err := f.conn.Exec(t.Context(), "SELECT terasocket."+call); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", call, err)
		}
	}
	f.exec("RESET ROLE")
}
