package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"terasocket/access"
	"terasocket/db/opentera"
)

func TestDevicesByUUID(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	for _, uuid := range []string{"", "x", "\x00", "\xff", opentera.DemoProjectUserUUID, strings.ToUpper(opentera.DemoDeviceUUID), opentera.DemoDeviceUUID + " ",
		strings.Repeat("x", 100_000), "' OR true --"} {
		device, err := d.devices.ByUUID(t.Context(), uuid)
		mustRefuse(t, "unknown", err, invalidToken, "")
		if device != (access.Identity{}) {
			t.Errorf("%.40q names %+v", uuid, device)
		}
	}
	if device, err := d.devices.ByUUID(t.Context(), opentera.DemoDisabledDeviceUUID); !errors.Is(err, access.ErrDisabled) || errors.Is(err, access.ErrUnauthorized) || device.ID != opentera.DemoDisabledDeviceID {
		t.Errorf("disabled: %+v, %v", device, err)
	}
	if device, err := d.devices.ByUUID(t.Context(), opentera.DemoDeviceUUID); err != nil || device.ID != opentera.DemoDeviceID || device.Kind != access.Device || device.Name == "" {
		t.Errorf("%+v, %v", device, err)
	}
	d.do("UPDATE t_devices SET deleted_at = now() WHERE id_device = 1")
	_, err := d.devices.ByUUID(t.Context(), opentera.DemoDeviceUUID)
	mustRefuse(t, "deleted", err, invalidToken, "")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.devices.ByUUID(ended, opentera.DemoDeviceUUID)
	_, err2 := d.devices.Info(ended, 1)
	for _, err := range []error{err, err2, d.devices.Logout(ended, access.Identity{})} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

// keysOf returns the keys of a JSON object, in order.
func keysOf(t *testing.T, v any) (keys []string) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestDeviceInfo(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.do("UPDATE t_devices SET device_lastonline = '2026-01-02 03:04:05.678901+00', device_config = '{}', id_device_subtype = (SELECT min(id_device_subtype) FROM t_devices_subtypes) WHERE id_device = 1")
	info, err := d.devices.Info(t.Context(), opentera.DemoDeviceID)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(keysOf(t, info), " "); got != "device_info participants_info session_types_info" {
		t.Errorf("keys %s", got)
	}
	if got := strings.Join(keysOf(t, info.Device), " "); got != "device_config device_enabled device_infos device_lastonline device_name device_notes device_onlineable "+
		"device_subtype device_token device_type device_uuid id_device id_device_subtype id_device_type" {
		t.Errorf("keys of device_info: %s", got)
	}
	if info.Device.UUID != opentera.DemoDeviceUUID || !info.IsOnlineable || !info.Device.IsOnlineable || !info.Device.IsEnabled || info.Device.Type == "" || info.Device.Subtype == nil ||
		info.Device.Token == nil || info.Device.LastOnline == nil || *info.Device.LastOnline != "2026-01-02T03:04:05.678901+00:00" || *info.Device.Config != "{}" {
		t.Errorf("device_info: %s of %s", info.Device.UUID, info.Device.Type)
	}
	if !slices.ContainsFunc(info.Participants, func(p access.DeviceParticipant) bool { return p.UUID == opentera.DemoParticipantUUID && p.Name != "" }) {
		t.Errorf("participants: %+v", info.Participants)
	}
	if got := strings.Join(keysOf(t, info.Participants[0]), " "); got != "participant_name participant_uuid" {
		t.Errorf("keys of participants_info: %s", got)
	}
	if len(info.SessionTypes) == 0 {
		t.Fatal("no session types")
	}
	if got := strings.Join(keysOf(t, info.SessionTypes[0]), " "); got != "id_service id_session_type session_type_category session_type_color session_type_name" {
		t.Errorf("keys of session_types_info: %s", got)
	}
	d.do(`UPDATE t_server_settings SET server_settings_value = '{"version_string": "OpenTera_v1.3.1"}' WHERE server_settings_name = 'ServerVersions'`)
	newer, err := d.devices.Info(t.Context(), opentera.DemoDeviceID)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range newer.SessionTypes {
		if (s.ServiceID != nil) != (s.ServiceKey != "" && s.ServiceUUID != "") {
			t.Errorf("from OpenTera 1.3.1 on: %+v", s)
		}
	}
	// deleted and foreign session types are not shown
	types := func() (ids []int32) {
		t.Helper()
		info, err := d.devices.Info(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range info.SessionTypes {
			ids = append(ids, s.ID)
		}
		return ids
	}
	want := asked[[]int32](d, `SELECT array_agg(DISTINCT l.id_session_type ORDER BY l.id_session_type) FROM t_sessions_types_projects l JOIN t_devices_projects p USING (id_project)
		JOIN t_sessions_types t USING (id_session_type) WHERE p.id_device = 1 AND l.deleted_at IS NULL AND p.deleted_at IS NULL AND t.deleted_at IS NULL`)
	if got := types(); !slices.Equal(got, want) {
		t.Errorf("session types %v, want %v", got, want)
	}
	for _, c := range [][2]string{
		{"UPDATE t_sessions_types_projects SET deleted_at = now()", "UPDATE t_sessions_types_projects SET deleted_at = NULL"},
		{"UPDATE t_devices_projects SET deleted_at = now()", "UPDATE t_devices_projects SET deleted_at = NULL"},
		{"UPDATE t_projects SET deleted_at = now()", "UPDATE t_projects SET deleted_at = NULL"},
	} {
		d.do(c[0])
		if got := types(); len(got) != 0 {
			t.Errorf("%s: %v", c[0], got)
		}
		d.do(c[1])
	}
	d.do("UPDATE t_devices_participants SET deleted_at = now()")
	d.do("UPDATE t_devices SET device_onlineable = false, id_device_subtype = NULL, device_lastonline = NULL WHERE id_device = 1")
	if info, err = d.devices.Info(t.Context(), 1); err != nil || info.IsOnlineable || info.Participants == nil || len(info.Participants) != 0 || info.Device.LastOnline != nil ||
		slices.Contains(keysOf(t, info.Device), "device_subtype") {
		t.Errorf("%v", err)
	}
	for _, id := range []int32{opentera.DemoDisabledDeviceID, 4711} {
		if info, err := d.devices.Info(t.Context(), id); !errors.Is(err, access.ErrUnauthorized) || info.Device.UUID != "" {
			t.Errorf("device %d: %v", id, err)
		}
	}
}

func TestParticipantSessionTypes(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	types, err := d.participants.SessionTypes(t.Context(), opentera.DemoParticipantID)
	if err != nil || len(types) == 0 {
		t.Fatalf("%+v, %v", types, err)
	}
	want := asked[[]string](d, `SELECT array_agg(concat_ws(' ', id_session_type, session_type_category, session_type_color, session_type_name) ORDER BY id_session_type)
		FROM t_sessions_types t WHERE deleted_at IS NULL AND EXISTS (SELECT FROM t_sessions_types_projects l WHERE l.id_session_type = t.id_session_type AND id_project = 1 AND l.deleted_at IS NULL)`)
	var got []string
	for _, s := range types {
		got = append(got, strings.Join([]string{number(s.ID), number(s.Category), s.Color, s.Name}, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	d.do("UPDATE t_sessions_types SET deleted_at = now()")
	if types, err := d.participants.SessionTypes(t.Context(), opentera.DemoParticipantID); err != nil || types == nil || len(types) != 0 {
		t.Errorf("deleted: %+v, %v", types, err)
	}
	if types, err := d.participants.SessionTypes(t.Context(), 4711); err != nil || types == nil || len(types) != 0 {
		t.Errorf("nobody's: %+v, %v", types, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.participants.SessionTypes(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func number(n int32) string {
	text, _ := json.Marshal(n)
	return string(text)
}

// Only an open socket on a living gateway counts: a grace period or a crash keeps nobody out.
func TestIsConnected(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	online := &access.Online{Pool: d.pool}
	user, device := access.Principal{Kind: access.User, ID: 9}, access.Principal{Kind: access.Device, ID: 9}
	must := func(what string, want bool) {
		t.Helper()
		if got, err := online.IsConnected(t.Context(), user); got != want || err != nil {
			t.Errorf("%s: %t, %v", what, got, err)
		}
		if got, err := online.IsConnected(t.Context(), device); got || err != nil {
			t.Errorf("%s: the device with that id: %t, %v", what, got, err)
		}
	}
	must("at first", false)
	gateway := asked[string](d, "SELECT terasocket.gateway_register('g', '1 minute')::text")
	connection := asked[int64](d, "SELECT terasocket.connected($1::text::uuid, 'user', 9, '', '')", gateway)
	must("connected", true)
	d.do("UPDATE terasocket.gateways SET lease_until = clock_timestamp()")
	must("the lease is over", false)
	d.do("UPDATE terasocket.gateways SET lease_until = '-infinity'")
	must("given up", false)
	d.do("UPDATE terasocket.gateways SET lease_until = clock_timestamp() + interval '1 minute'")
	must("beats again", true)
	d.do("SELECT terasocket.disconnected($1, '1 hour')", connection)
	if n := asked[int](d, "SELECT count(*) FROM terasocket.online"); n != 1 {
		t.Errorf("%d online within the grace, want 1", n)
	}
	must("within the grace", false)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := online.IsConnected(ended, user); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
