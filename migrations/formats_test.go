package migrations_test

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"terasocket/db/opentera"
)

// Create, update, soft delete and delete of each kind have the keys and types of sheet database-events, section 3, whatever the settings
// of the writing session.
func TestFormats(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("SET timezone = 'Asia/Kolkata'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'")
	_, _ = f.conn.Exec(t.Context(), "SET standard_conforming_strings = off") // PostgreSQL 19 no longer allows off
	all := kinds()
	if n := one[int](f, "SELECT count(*) FROM terasocket.object_types"); n != 18 || len(all) != 18 {
		t.Fatalf("there are %d kinds in the database and %d in the test, not 18", n, len(all))
	}
	for _, k := range all {
		t.Run(k.objectType, func(t *testing.T) {
			f := f.in(t)
			created := f.only(k, "C", k.insert())
			checkBody(t, created.Body, k.keys, k.onCreate)
			mustEqual(t, "topic", created.Topic, "module.TeraServer.DatabaseModule.events."+k.objectType)

			updated := f.only(k, "U", k.set(k.update))
			checkBody(t, updated.Body, k.keys, k.computed)
			for key, value := range updated.Body {
				if value == nil {
					t.Errorf("%s is still null in %v: the test does not see its type", key, updated.Body)
				}
			}

			gone := f.only(k, "D", k.delete())
			checkKeys(t, gone.Gone, strings.Split(k.deleteKeys, ", "))
			for key, value := range gone.Gone {
				mustEqual(t, key, value, updated.Body[key])
			}

			if k.objectType == "server_settings" {
				return // cannot be soft-deleted
			}
			f.only(k, "C", k.insert())
			removed := f.only(k, "G", k.set("deleted_at = '2024-05-06 07:08:09.1+02'"))
			checkBody(t, removed.Body, k.keys+", deleted_at ts", k.onCreate, strings.ReplaceAll(k.softDeleted(), "str?", "str"))
			mustEqual(t, "deleted_at", removed.Body["deleted_at"], "2024-05-06T05:08:09.100000+00:00")
			f.expect(k.delete()) // of a deleted row: nobody sees it
		})
	}
}

// softDeleted returns the computed keys of the soft delete of a row that was only created.
func (k kind) softDeleted() string {
	if k.objectType == "session" || k.objectType == "service" {
		return ""
	}
	return k.computed
}

// in returns the same fixture for a subtest.
func (f *fixture) in(t *testing.T) *fixture {
	same := *f
	same.TB = t
	return &same
}

// only runs a statement, and returns the only event of k that is announced then.
func (f *fixture) only(k kind, op, sql string) recorded {
	f.Helper()
	f.log()
	f.exec(sql)
	events := slices.DeleteFunc(f.log(), func(e recorded) bool { return e.ObjectType != k.objectType })
	if len(events) != 1 || events[0].String() != k.event(op) {
		f.Fatalf("%s: announced %v, want %s", sql, events, k.event(op))
	}
	return events[0]
}

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$`)

// checkBody compares a body with a list of "name type" as in kind.keys.
func checkBody(t *testing.T, body object, lists ...string) {
	t.Helper()
	want := map[string]string{}
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ", ") {
			if name, kind, ok := strings.Cut(item, " "); ok {
				want[name] = kind
			}
		}
	}
	checkKeys(t, body, slices.Collect(maps.Keys(want)))
	for name, kind := range want {
		value, kind, mayBeNull := body[name], strings.TrimSuffix(kind, "?"), strings.HasSuffix(kind, "?")
		if value == nil && mayBeNull {
			continue
		}
		ok := false
		switch v := value.(type) {
		case float64:
			ok = kind == "int" && v == math.Trunc(v)
		case bool:
			ok = kind == "bool"
		case string:
			ok = kind == "str" || kind == "ts" && timestamp.MatchString(v)
		case []any:
			ok = kind == "array"
		}
		if !ok {
			t.Errorf("%s is %v (%T), want %s", name, value, value, kind)
		}
	}
}

func checkKeys(t *testing.T, body object, want []string) {
	t.Helper()
	got := slices.Sorted(maps.Keys(body))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("keys\ngot  %v\nwant %v", got, want)
	}
}

func TestTimestampFormat(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tests := []struct{ zone, written, want string }{
		{"America/Montreal", "2024-01-02 03:04:05", "2024-01-02T08:04:05+00:00"},
		{"America/Montreal", "2024-07-02 03:04:05", "2024-07-02T07:04:05+00:00"}, // summer
		{"Asia/Kolkata", "2024-01-02 03:04:05.1", "2024-01-01T21:34:05.100000+00:00"},
		{"UTC", "2024-01-02 03:04:05.000001", "2024-01-02T03:04:05.000001+00:00"},
		{"UTC", "2024-01-02 03:04:05.123456+14", "2024-01-01T13:04:05.123456+00:00"},
		{"UTC", "2024-01-02 03:04:05.9999999", "2024-01-02T03:04:06+00:00"},
		{"UTC", "1899-12-31 23:59:59.5", "1899-12-31T23:59:59.500000+00:00"},
	}
	for i, tt := range tests {
		e := f.expectOne(fmt.Sprintf("SET timezone = '%s'; UPDATE t_assets SET asset_datetime = '%s' WHERE id_asset = %d", tt.zone, tt.written, i+1),
			fmt.Sprintf("U asset %d", i+1))
		mustEqual(t, tt.zone+" "+tt.written, e.Body["asset_datetime"], any(tt.want))
		got, err := time.Parse(time.RFC3339Nano, tt.want)
		if stored := one[time.Time](f, "SELECT asset_datetime FROM t_assets WHERE id_asset = $1", i+1); err != nil || !stored.Equal(got) {
			t.Errorf("time %s, want that of the row, %v (%v)", tt.want, stored, err)
		}
	}
	// an impossible time must not cost the event
	f.expect("UPDATE t_assets SET asset_datetime = 'infinity' WHERE id_asset = 1", "U asset 1")
}

// Clients know a service by its key too: with another key it is another service.
func TestServiceKeyChange(t *testing.T) {
	t.Parallel()
	f := setup(t)
	old := one[string](f, "SELECT service_key FROM t_services WHERE id_service = 5")
	events := f.expect("UPDATE t_services SET service_key = 'Other' WHERE id_service = 5", "D service 5", "C service 5")
	mustEqual(t, "gone", events[0].Gone["service_key"], any(old))
	mustEqual(t, "created", events[1].Body["service_key"], any("Other"))
	e := f.expectOne("UPDATE t_services SET service_name = 'x' WHERE id_service = 5", "U service 5")
	mustEqual(t, "gone, now", e.Gone["service_key"], any("Other"))
}

// Times of a device's login are in UTC too, whatever the session's time zone.
func TestTimesOfALoginAreInUTC(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("SET timezone = 'Asia/Kolkata'; UPDATE t_devices SET device_lastonline = '2026-01-02 03:04:05.5+00' WHERE id_device = 1")
	mustEqual(t, "device_lastonline", one[string](f, "SELECT terasocket.device_login(1) #>> '{device_info,device_lastonline}'"), "2026-01-02T03:04:05.500000+00:00")
}

func TestUserName(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.expectOne("UPDATE t_users SET user_firstname = 'Anne-Sophie', user_lastname = 'de l''Étoile' WHERE id_user = 9", "U user 9")
	mustEqual(t, "user_name", e.Body["user_name"], "Anne-Sophie de l'Étoile")
	e = f.expectOne("UPDATE t_users SET user_firstname = '' WHERE id_user = 9", "U user 9")
	mustEqual(t, "user_name without first name", e.Body["user_name"], " de l'Étoile")
}

// Sheet database-events, section 4.
func TestSessionKeys(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const insert = `INSERT INTO t_sessions (id_session, session_uuid, id_session_type, id_creator_user, session_name, session_start_datetime,
		session_duration, session_status, version_id) VALUES (9000, 'u-9000', 1, 9, 'New', now(), 0, 1, 1)`
	e := f.expectOne(insert, "C session 9000")
	if _, ok := e.Body["session_creator_user"]; ok {
		t.Errorf("a new session has its creator already: %v", e.Body)
	}
	mustEqual(t, "counts", []any{e.Body["session_assets_count"], e.Body["session_tests_count"]}, []any{0.0, 0.0})

	f.exec(`INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id, deleted_at)
		SELECT 9000 + i, 9000, 'a', 'a' || i, '` + opentera.DemoVideoRehabServiceUUID + `', 't', 1, CASE i WHEN 4 THEN now() END FROM generate_series(1, 4) i;
		INSERT INTO t_tests (id_test, id_test_type, id_session, test_uuid, test_name, test_datetime, test_status, version_id)
		VALUES (9000, 1, 9000, 't1', 't', now(), 0, 1)`)
	e = f.expectOne("UPDATE t_sessions SET session_status = 2 WHERE id_session = 9000", "U session 9000")
	mustEqual(t, "counts", []any{e.Body["session_assets_count"], e.Body["session_tests_count"]}, []any{3.0, 1.0})
	mustEqual(t, "creator", []any{e.Body["session_creator_user"], e.Body["session_creator_user_uuid"]},
		[]any{one[string](f, "SELECT user_firstname || ' ' || user_lastname FROM t_users WHERE id_user = 9"), opentera.DemoProjectUserUUID})
	for _, key := range []string{"session_creator_device", "session_creator_participant_uuid", "session_creator_service"} {
		if _, ok := e.Body[key]; ok {
			t.Errorf("%s: the session has no such creator: %v", key, e.Body)
		}
	}

	e = f.expectOne(`UPDATE t_sessions SET id_creator_user = NULL, id_creator_participant = 1, id_creator_device = 1, id_creator_service = 5 WHERE id_session = 9000`, "U session 9000")
	mustEqual(t, "creators", []any{e.Body["session_creator_participant_uuid"], e.Body["session_creator_device_uuid"], e.Body["session_creator_service_uuid"], e.Body["session_creator_service"]},
		[]any{opentera.DemoParticipantUUID, opentera.DemoDeviceUUID, opentera.DemoVideoRehabServiceUUID, "Video Rehabilitation Service"})
	if _, ok := e.Body["session_creator_user"]; ok {
		t.Errorf("the former creator is still there: %v", e.Body)
	}

	f.exec("UPDATE t_participants SET deleted_at = now() WHERE id_participant = 1")
	e = f.expectOne("UPDATE t_sessions SET session_status = 3 WHERE id_session = 9000", "U session 9000")
	if _, ok := e.Body["session_creator_participant"]; ok {
		t.Errorf("a deleted creator is shown: %v", e.Body)
	}
}

// Sheet database-events, section 5.
func TestServiceKeys(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.expectOne("UPDATE t_services SET service_port = 4071 WHERE id_service = 5", "U service 5")
	roles, _ := e.Body["service_roles"].([]any)
	mustEqual(t, "roles", roles, []any{
		object{"id_service": 5.0, "id_service_role": 7.0, "service_role_name": "admin", "service_name": "Video Rehabilitation Service"},
		object{"id_service": 5.0, "id_service_role": 8.0, "service_role_name": "user", "service_name": "Video Rehabilitation Service"},
		object{
			"id_service": 5.0, "id_service_role": 31.0, "service_role_name": "manager", "service_name": "Video Rehabilitation Service",
			"id_project": 2.0, "project_name": "Équilibre 65+",
		},
		object{
			"id_service": 5.0, "id_service_role": 32.0, "service_role_name": "admin", "service_name": "Video Rehabilitation Service",
			"id_site": 3.0, "site_name": "Clinique universitaire de Québec",
		},
	})
	projects, _ := e.Body["service_projects"].([]any)
	if n := one[int](f, "SELECT count(*) FROM t_services_projects WHERE id_service = 5 AND deleted_at IS NULL"); n == 0 || len(projects) != n {
		t.Errorf("service_projects has %d entries, not %d: %v", len(projects), n, projects)
	}
	mustEqual(t, "first project", projects[0], any(object{"id_project": 1.0, "id_service": 5.0, "id_service_project": 2.0}))
	mustEqual(t, "endpoints", []any{e.Body["service_endpoint_user"], e.Body["service_endpoint_participant"]}, []any{"/user", "/participant"})
	if v, ok := e.Body["service_endpoint_device"]; ok {
		t.Errorf("service_endpoint_device is %v, not left out", v)
	}

	f.exec("UPDATE t_services_roles SET deleted_at = now() WHERE id_service = 5")
	e = f.expectOne("UPDATE t_services SET service_endpoint_user = '', service_endpoint_participant = NULL WHERE id_service = 5", "U service 5")
	mustEqual(t, "dead roles", e.Body["service_roles"], any([]any{}))
	for _, key := range []string{"service_endpoint_user", "service_endpoint_participant"} {
		if v, ok := e.Body[key]; ok {
			t.Errorf("%s is %v, not left out", key, v)
		}
	}
}

func TestSessionTypeService(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for sql, want := range map[string]any{
		"INSERT INTO t_sessions_types_projects VALUES (9000, 1, 5, 1)": 5.0,
		"INSERT INTO t_sessions_types_projects VALUES (9001, 3, 4, 1)": nil, // that type has no service
	} {
		f.log()
		f.exec(sql)
		e := f.log()[0]
		if got, ok := e.Body["session_type_id_service"]; !ok || got != want {
			t.Errorf("%s: session_type_id_service is %v, want %v", sql, got, want)
		}
	}
}

// A deleted test invitation carries its own id. OpenTera's carries that of the test type, which is a bug.
func TestDeletedInvitation(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := one[int](f, "SELECT min(id_test_invitation) FROM t_tests_invitations WHERE deleted_at IS NULL AND id_test_invitation <> id_test_type")
	e := f.expectOne(fmt.Sprintf("DELETE FROM t_tests_invitations WHERE id_test_invitation = %d", id), fmt.Sprintf("D test_invitation %d", id))
	mustEqual(t, "id_test_invitation", e.Gone["id_test_invitation"], any(float64(id)))
}

// Undelete is an update without deleted_at, and nobody has seen the object before.
func TestUndelete(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.expectOne(fmt.Sprintf("UPDATE t_users SET deleted_at = NULL WHERE id_user = %d", opentera.DemoDeletedID), "U user 41")
	if _, ok := e.Body["deleted_at"]; ok {
		t.Errorf("deleted_at is there: %v", e.Body)
	}
	mustSee(t, "undeleted user", e.sees, opentera.DemoSuperadminID)
	mustEqual(t, "former", e.Former, "")
}
