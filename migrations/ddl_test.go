package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// OpenTera's own migrations work with the triggers in place, and its writes after them, in a session whose plans are older.
func TestAlterTable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, ddl string
		body      string // of UPDATE t_sites SET site_name = 'after' WHERE id_site = 1; "" when a capture error is the answer
	}{
		{"add a column", "ADD COLUMN site_address varchar", `{"id_site":1,"site_2fa_required":false,"site_name":"after"}`},
		{"add a column with default", "ADD COLUMN site_address varchar NOT NULL DEFAULT '" + secret + "'", `{"id_site":1,"site_2fa_required":false,"site_name":"after"}`},
		{"drop an unlisted column", "DROP COLUMN version_id", `{"id_site":1,"site_2fa_required":false,"site_name":"after"}`},
		{"drop a listed column", "DROP COLUMN site_2fa_required", `{"id_site":1,"site_name":"after"}`},
		{"drop and add a listed column", "DROP COLUMN site_2fa_required, ADD COLUMN site_2fa_required varchar DEFAULT 'maybe'", `{"id_site":1,"site_2fa_required":"maybe","site_name":"after"}`},
		{"rename a listed column", "RENAME COLUMN site_2fa_required TO site_needs_2fa", `{"id_site":1,"site_name":"after"}`},
		{"rename an unlisted column", "RENAME COLUMN version_id TO lock", `{"id_site":1,"site_2fa_required":false,"site_name":"after"}`},
		{"another type", "ALTER COLUMN site_2fa_required TYPE integer USING site_2fa_required::int", `{"id_site":1,"site_2fa_required":0,"site_name":"after"}`},
		{"another type of the name", "ALTER COLUMN site_name TYPE varchar(200)", `{"id_site":1,"site_2fa_required":false,"site_name":"after"}`},
		{"a wider key", "ALTER COLUMN id_site TYPE bigint", `{"id_site":1,"site_2fa_required":false,"site_name":"after"}`},
		{"drop deleted_at", "DROP COLUMN deleted_at", ""},
		{"rename deleted_at", "RENAME COLUMN deleted_at TO removed_at", ""},
		{"rename the key", "RENAME COLUMN id_site TO site_id", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.isBroken = true // terasocket.holders needs the columns that some tests take away
			for range 7 {     // enough for generic plans
				f.exec("UPDATE t_sites SET site_name = site_name || '.' WHERE id_site = 1")
			}
			f.exec("BEGIN; UPDATE t_sites SET site_name = 'before' WHERE id_site = 1; ALTER TABLE t_sites " + tt.ddl + "; COMMIT")
			f.log()
			key := "id_site"
			if strings.Contains(tt.ddl, "site_id") {
				key = "site_id"
			}
			f.exec(fmt.Sprintf("UPDATE t_sites SET site_name = 'after' WHERE %s = 1", key))
			mustEqual(t, "row", one[string](f, "SELECT site_name FROM t_sites WHERE "+key+" = 1"), "after")
			events, failures := f.log(), one[int](f, "SELECT count(*) FROM terasocket.capture_errors")
			switch {
			case tt.body == "" && len(events) > 0 && strings.Contains(tt.ddl, "id_site"):
				t.Errorf("events of an unknown object: %v", events)
			case tt.body == "" && failures == 0 && len(events) != 1:
				t.Errorf("neither event nor capture error")
			case tt.body != "" && (len(events) != 1 || failures > 0):
				t.Errorf("events %v, %d capture errors: %s", events, failures, one[string](f, "SELECT coalesce(max(message), '') FROM terasocket.capture_errors"))
			case tt.body != "":
				mustEqual(t, "body", toJSON(events[0].Body), tt.body)
			}
			dropNotNull(f, key)
			f.exec(fmt.Sprintf("INSERT INTO t_sites (%s, site_name) VALUES (9000, 'x')", key))
			f.exec(fmt.Sprintf("DELETE FROM t_sites WHERE %s = 9000", key))
			f.exec("SELECT terasocket.attach()")
			if found := f.leaks(); len(found) > 0 {
				t.Errorf("%q", found)
			}
		})
	}
}

// dropNotNull makes every column of t_sites but key and name optional.
func dropNotNull(f *fixture, key string) {
	f.Helper()
	for _, column := range one[[]string](f, `SELECT coalesce(array_agg(attname::text), '{}') FROM pg_attribute
		WHERE attrelid = 't_sites'::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND attname NOT IN ('site_name', $1)`, key) {
		f.exec("ALTER TABLE t_sites ALTER COLUMN " + column + " DROP NOT NULL")
	}
}

// A column that the computed keys or the rules read is dropped: the write goes on and the failure is on record.
func TestDropColumnOfTheRules(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true
	for _, tt := range []struct{ ddl, write string }{
		{"ALTER TABLE t_participants DROP COLUMN id_project", "UPDATE t_participants SET participant_name = 'after' WHERE id_participant = 1"},
		{"ALTER TABLE t_assets DROP COLUMN deleted_at", "UPDATE t_sessions SET session_name = 'after' WHERE id_session = 1"},
		{"ALTER TABLE t_services_roles RENAME COLUMN id_site TO x", "UPDATE t_sites SET deleted_at = now() WHERE id_site = 1"},
		{"DROP TABLE t_devices_sites", "UPDATE t_devices SET device_name = 'after' WHERE id_device = 1"},
	} {
		f.exec(tt.write) // the plan is old when the column goes
		f.exec(tt.ddl)
		f.exec("DELETE FROM terasocket.capture_errors")
		f.exec(strings.ReplaceAll(strings.ReplaceAll(tt.write, "after", "again"), "now()", "NULL"))
		f.exec(tt.write)
		if n, m := one[int](f, "SELECT count(*) FROM terasocket.capture_errors"), len(f.log()); n == 0 && m == 0 {
			t.Errorf("%s: neither event nor capture error", tt.ddl)
		}
	}
	f.exec("SELECT terasocket.attach()")
}

// A new OpenTera can drop tables; the others go on, and attach() finds the one that is back.
func TestDropAndCreateTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("CREATE TABLE keep AS SELECT * FROM t_tests_invitations; DROP TABLE t_tests_invitations CASCADE")
	f.expect("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1", "U site 1")
	f.exec("SELECT terasocket.attach()")
	f.exec("ALTER TABLE keep RENAME TO t_tests_invitations")
	f.expect("DELETE FROM t_tests_invitations")
	f.exec("SELECT terasocket.attach(); SELECT terasocket.attach()")
	k := kinds()[16]
	f.expect(k.insert(), k.event("C"))
	f.expect("UPDATE t_sites SET site_name = 'y' WHERE id_site = 1", "U site 1") // once, not twice
	f.exec("SELECT terasocket.detach(); SELECT terasocket.detach()")
	f.expect("UPDATE t_sites SET site_name = 'z' WHERE id_site = 1")
	if n := one[int](f, "SELECT count(*) FROM pg_class WHERE relname ~ '^terasocket_'"); n > 0 {
		t.Errorf("%d indexes are left after detach()", n)
	}
}

// A table that is renamed and replaced, as alembic does for large changes.
func TestReplaceTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("UPDATE t_server_settings SET server_settings_name = 'x' WHERE id_server_settings = 1")
	f.exec("CREATE TABLE t_new (LIKE t_server_settings INCLUDING ALL); INSERT INTO t_new SELECT * FROM t_server_settings; DROP TABLE t_server_settings; ALTER TABLE t_new RENAME TO t_server_settings")
	f.expect("UPDATE t_server_settings SET server_settings_name = 'y' WHERE id_server_settings = 1")
	f.exec("SELECT terasocket.attach()")
	f.expect("UPDATE t_server_settings SET server_settings_name = 'z' WHERE id_server_settings = 1", "U server_settings 1")
}

// TRUNCATE: every living row is gone for those who saw it.
func TestTruncate(t *testing.T) {
	t.Parallel()
	f := setup(t)
	living := one[int](f, "SELECT count(*) FROM t_tests_invitations WHERE deleted_at IS NULL")
	before := map[int64]string{}
	rows, err := f.conn.Query(t.Context(), "SELECT id_test_invitation, terasocket.keys('test_invitation', to_jsonb(i))::text FROM t_tests_invitations i WHERE deleted_at IS NULL")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id int64
		var keys string
		if err := rows.Scan(&id, &keys); err != nil {
			t.Fatal(err)
		}
		before[id] = keys
	}
	f.exec("TRUNCATE t_tests_invitations")
	events := f.log()
	if len(events) != living || living == 0 {
		t.Errorf("%d events of %d living rows", len(events), living)
	}
	for _, e := range events {
		if e.Op != "D" || len(e.Body) != 2 || e.Body["test_invitation_key"] == nil {
			t.Errorf("%s: %v", e, e.Body)
		}
		mustEqual(t, e.String(), f.seenBy(e.Audience), f.seenBy(before[*e.ID]))
	}
	f.expect("TRUNCATE t_tests_invitations")
	f.expect("BEGIN; TRUNCATE t_assets; ROLLBACK")
}

// TRUNCATE ... CASCADE empties what decides who saw the rows; they hear of it all the same.
func TestTruncateCascade(t *testing.T) {
	t.Parallel()
	f := setup(t)
	want := map[string]int{}
	for _, k := range kinds() {
		if k.objectType == "user" || k.objectType == "user_group" || k.objectType == "service" || k.objectType == "server_settings" || k.objectType == "device" ||
			k.objectType == "session_type" || k.objectType == "session_type_service" || k.objectType == "test_type" {
			continue // these do not hang on sites
		}
		want[k.objectType] = one[int](f, fmt.Sprintf("SELECT count(*) FROM %s WHERE deleted_at IS NULL", k.table))
	}
	projectUsers := f.seenBy(`[["p:1"]]`)
	session := one[[]int32](f, "SELECT ids FROM terasocket.audience(ARRAY[(SELECT terasocket.keys('session', to_jsonb(s))::text FROM t_sessions s WHERE id_session = 1)])")
	f.exec("TRUNCATE t_sites CASCADE")
	got := map[string]int{}
	for _, e := range f.log() {
		if e.Op != "D" {
			t.Errorf("%s", e)
		}
		got[e.ObjectType]++
		if e.String() == "D participant 1" {
			mustEqual(t, e.String(), f.seenBy(e.Audience), projectUsers)
		}
		if e.String() == "D session 1" {
			mustSee(t, e.String(), f.seenBy(e.Audience), session...)
		}
	}
	mustEqual(t, "events", got, want)
	f.expect("INSERT INTO t_sites VALUES (1, 'again', false, 1)", "C site 1")
}
