package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// OpenTera's own migrations work with the triggers in place, and so do its later writes, in a session with older plans. What capture
// cannot record before its function is re-created is recorded as an error, and announced from there.
func TestAlterTable(t *testing.T) {
	t.Parallel()
	const plain = `{"id_site":1,"site_2fa_required":false,"site_name":"after"}`
	tests := []struct {
		name, ddl string
		body      string // of UPDATE t_sites SET site_name = 'after' WHERE id_site = 1; "" if unknown
	}{
		{"add a column", "ADD COLUMN site_address varchar", plain},
		{"add a column with default", "ADD COLUMN site_address varchar NOT NULL DEFAULT '" + secret + "'", plain},
		{"drop an unlisted column", "DROP COLUMN version_id", plain},
		{"drop a listed column", "DROP COLUMN site_2fa_required", `{"id_site":1,"site_name":"after"}`},
		{"drop and add a listed column", "DROP COLUMN site_2fa_required, ADD COLUMN site_2fa_required varchar DEFAULT 'maybe'", `{"id_site":1,"site_2fa_required":"maybe","site_name":"after"}`},
		{"rename a listed column", "RENAME COLUMN site_2fa_required TO site_needs_2fa", `{"id_site":1,"site_name":"after"}`},
		{"rename an unlisted column", "RENAME COLUMN version_id TO lock", plain},
		{"another type", "ALTER COLUMN site_2fa_required TYPE integer USING site_2fa_required::int", `{"id_site":1,"site_2fa_required":0,"site_name":"after"}`},
		{"a type without equality", "ALTER COLUMN site_2fa_required TYPE json USING to_json(site_2fa_required)", plain},
		{"another type of the name", "ALTER COLUMN site_name TYPE varchar(200)", plain},
		{"a wider key", "ALTER COLUMN id_site TYPE bigint", plain},
		{"drop deleted_at", "DROP COLUMN deleted_at", ""},
		{"rename deleted_at", "RENAME COLUMN deleted_at TO removed_at", ""},
		{"rename the key", "RENAME COLUMN id_site TO site_id", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.isBroken = true
			for range 7 { // enough for generic plans
				f.exec("UPDATE t_sites SET site_name = site_name || '.' WHERE id_site = 1")
			}
			f.exec("BEGIN; UPDATE t_sites SET site_name = 'before' WHERE id_site = 1; ALTER TABLE t_sites " + tt.ddl + "; COMMIT")
			key := "id_site"
			if strings.Contains(tt.ddl, "site_id") {
				key = "site_id"
			}
			f.exec(fmt.Sprintf("UPDATE t_sites SET site_name = 'after' WHERE %s = 1", key))
			mustEqual(t, "row", one[string](f, "SELECT site_name FROM t_sites WHERE "+key+" = 1"), "after")
			captured := one[int](f, "SELECT (SELECT count(*) FROM terasocket.capture_errors) + (SELECT count(*) FROM terasocket.changes WHERE ids = '{1}')")
			if captured < 2 {
				t.Errorf("neither a change nor a capture error: %v", f.changes())
			}
			if tt.body != "" {
				events := f.log()
				if len(events) != 1 {
					t.Fatalf("announced %v", events)
				}
				mustEqual(t, "body", toJSON(events[0].Body), tt.body)
			}
			dropNotNull(f, key)
			f.exec("SELECT terasocket.refresh_capture()")
			f.exec("DELETE FROM terasocket.capture_errors")
			f.exec(fmt.Sprintf("INSERT INTO t_sites (%s, site_name) VALUES (9000, 'x')", key))
			f.exec(fmt.Sprintf("UPDATE t_sites SET site_name = 'y' WHERE %s = 9000", key))
			if tt.body != "" {
				if n := one[int](f, "SELECT count(*) FROM terasocket.capture_errors"); n > 0 {
					t.Errorf("%d capture errors after refresh_capture(): %s", n, one[string](f, "SELECT max(message) FROM terasocket.capture_errors"))
				}
				f.expectLog("after refresh_capture()", "C site 9000")
			}
			f.exec(fmt.Sprintf("DELETE FROM t_sites WHERE %s = 9000", key))
			if found := f.leaks(); len(found) > 0 {
				t.Errorf("%q", found)
			}
		})
	}
}

// A column that is added later is captured after refresh_capture(), which gateways call every minute.
func TestColumnOfANewerOpenTera(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("ALTER TABLE t_sites DROP COLUMN site_2fa_required")
	mustEqual(t, "functions re-created", one[int](f, "SELECT terasocket.refresh_capture()"), 1)
	mustEqual(t, "again", one[int](f, "SELECT terasocket.refresh_capture()"), 0)
	f.exec("ALTER TABLE t_sites ADD COLUMN site_2fa_required boolean")
	f.expect("UPDATE t_sites SET site_2fa_required = true WHERE id_site = 1")
	mustEqual(t, "functions re-created", one[int](f, "SELECT terasocket.refresh_capture()"), 1)
	e := f.expectOne("UPDATE t_sites SET site_2fa_required = false WHERE id_site = 1", "U site 1")
	mustEqual(t, "body", e.Body["site_2fa_required"], any(false))
}

// dropNotNull makes every column of t_sites except key and name nullable.
func dropNotNull(f *fixture, key string) {
	f.Helper()
	for _, column := range one[[]string](f, `SELECT coalesce(array_agg(attname::text), '{}') FROM pg_attribute
		WHERE attrelid = 't_sites'::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND attname NOT IN ('site_name', $1)`, key) {
		f.exec("ALTER TABLE t_sites ALTER COLUMN " + column + " DROP NOT NULL")
	}
}

// A column that the rules read is dropped: the write succeeds, and is announced once possible.
func TestDropColumnOfTheRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ ddl, write, undo, want string }{
		{"ALTER TABLE t_participants RENAME COLUMN id_project TO x", "UPDATE t_participants SET participant_name = 'after' WHERE id_participant = 1", "ALTER TABLE t_participants RENAME COLUMN x TO id_project",
			"U session 8, U session 52, U test_invitation 1, U participant 1"}, // those that follow were set aside with it,
		{"ALTER TABLE t_assets RENAME COLUMN deleted_at TO x", "UPDATE t_sessions SET session_name = 'after' WHERE id_session = 1", "ALTER TABLE t_assets RENAME COLUMN x TO deleted_at", "U session 1"},
		{"ALTER TABLE t_devices_sites RENAME TO x", "UPDATE t_devices SET device_name = 'after' WHERE id_device = 1", "ALTER TABLE x RENAME TO t_devices_sites", "U device 1"},
	} {
		t.Run(tt.ddl, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.isBroken = true
			f.exec(strings.ReplaceAll(tt.write, "after", "before")) // its plan is older than the dropped column
			f.log()
			f.exec(tt.ddl)
			f.exec(tt.write)
			if _, err := f.call(""); err == nil && len(f.changes()) > 0 {
				t.Error("not announced, without an error")
			}
			if _, err := f.call("100, true"); err != nil {
				t.Errorf("carefully: %v", err)
			}
			f.seen = oneOn[int64](t, f.teller, "SELECT last_seq FROM terasocket.announcer")
			f.exec(tt.undo + "; SELECT terasocket.refresh_capture()")
			f.exec(strings.ReplaceAll(tt.write, "after", "again"))
			f.expectLog("when it is back", strings.Split(tt.want, ", ")...)
			mustEqual(t, "set aside", one[int](f, "SELECT count(*) FROM terasocket.set_aside"), 0)
		})
	}
}

// A new OpenTera can drop tables; the others keep working, and a re-created one is found.
func TestDropAndCreateTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("CREATE TABLE keep AS SELECT * FROM t_tests_invitations; DROP TABLE t_tests_invitations CASCADE")
	f.expect("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1", "U site 1")
	mustEqual(t, "missing", one[int](f, "SELECT count(*) FROM terasocket.missing_triggers()"), 0)
	f.exec("ALTER TABLE keep RENAME TO t_tests_invitations")
	f.expect("DELETE FROM t_tests_invitations")
	mustEqual(t, "missing", one[int](f, "SELECT count(*) FROM terasocket.missing_triggers()"), 4)
	f.exec("SELECT terasocket.attach_table('t_tests_invitations'); SELECT terasocket.attach_table('t_tests_invitations')")
	mustEqual(t, "missing", one[int](f, "SELECT count(*) FROM terasocket.missing_triggers()"), 0)
	k := kinds()[16]
	f.expect(k.insert(), k.event("C"))
	f.exec("SELECT terasocket.detach(); SELECT terasocket.detach()")
	f.expect("UPDATE t_sites SET site_name = 'z' WHERE id_site = 1")
}

// A table is replaced under the same name, as alembic does for large changes.
func TestReplaceTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("UPDATE t_server_settings SET server_settings_name = 'x' WHERE id_server_settings = 1")
	f.log()
	f.exec("CREATE TABLE t_new (LIKE t_server_settings INCLUDING ALL); INSERT INTO t_new SELECT * FROM t_server_settings; DROP TABLE t_server_settings; ALTER TABLE t_new RENAME TO t_server_settings")
	f.expect("UPDATE t_server_settings SET server_settings_name = 'y' WHERE id_server_settings = 1")
	f.exec("SELECT terasocket.attach_table('t_server_settings')")
	f.expect("UPDATE t_server_settings SET server_settings_name = 'z' WHERE id_server_settings = 1", "U server_settings 1")
}

// TRUNCATE deletes every living row for those who saw it.
func TestTruncate(t *testing.T) {
	t.Parallel()
	f := setup(t)
	before := map[int64][]int32{}
	for _, id := range one[[]int64](f, "SELECT array_agg(id_test_invitation) FROM t_tests_invitations WHERE deleted_at IS NULL") {
		before[id] = f.seers("test_invitation", int(id))
	}
	f.exec("TRUNCATE t_tests_invitations")
	events := f.log()
	if len(events) != len(before) || len(before) == 0 {
		t.Errorf("%d events of %d living rows", len(events), len(before))
	}
	for _, e := range events {
		if e.Op != "D" || len(e.Gone) != 2 || e.Gone["test_invitation_key"] == nil {
			t.Errorf("%s: %v", e, e.Gone)
		}
		mustEqual(t, e.String(), e.saw, before[e.ObjectID])
	}
	f.expect("TRUNCATE t_tests_invitations")
	f.expect("BEGIN; TRUNCATE t_assets; ROLLBACK")
	mustEqual(t, "told", one[int](f, "SELECT count(*) FROM terasocket.told WHERE object_type = 'test_invitation'"), 0)
}

// TRUNCATE of a link table deletes what was seen through the links, for those who saw it by them.
func TestTruncateOfLinks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	saw := f.seers("device", 1)
	f.exec("TRUNCATE t_devices_sites")
	for _, e := range f.log() {
		body, gone := e.hears()
		mustEqual(t, e.String()+" is seen by", body, []int32{1, 2})
		if e.ObjectType != "device" || e.Op != "U" {
			t.Errorf("%s", e)
		}
		if e.ObjectID == 1 {
			mustEqual(t, "told that device 1 is gone", len(gone), len(saw)-2)
		}
	}
	f.exec("TRUNCATE t_users_users_groups")
	f.log()
	mustEqual(t, "holders of a role", one[[]int32](f, "SELECT array_agg(DISTINCT id ORDER BY id) FROM terasocket.holdings WHERE tag LIKE 'p:%'"), []int32{1, 2})
}

// TRUNCATE ... CASCADE also empties the tables that decided who saw the rows; those who saw them are told all the same.
func TestTruncateCascade(t *testing.T) {
	t.Parallel()
	f := setup(t)
	want := map[string]int{}
	for _, k := range kinds() {
		if k.objectType == "user" || k.objectType == "user_group" || k.objectType == "service" || k.objectType == "server_settings" || k.objectType == "device" ||
			k.objectType == "session_type" || k.objectType == "session_type_service" || k.objectType == "test_type" {
			continue // these do not refer to sites
		}
		want[k.objectType] = one[int](f, fmt.Sprintf("SELECT count(*) FROM %s WHERE deleted_at IS NULL", k.table))
	}
	participant, session := f.seers("participant", 1), f.seers("session", 1)
	f.exec("TRUNCATE t_sites CASCADE")
	got := map[string]int{}
	for _, e := range f.log() {
		if e.Op == "D" {
			got[e.ObjectType]++
		}
		switch e.String() {
		case "D participant 1":
			mustEqual(t, e.String(), e.saw, participant)
		case "D session 1":
			mustEqual(t, e.String(), e.saw, session)
		}
	}
	mustEqual(t, "events", got, want)
	f.expect("INSERT INTO t_sites VALUES (1, 'again', false, 1)", "C site 1")
}
