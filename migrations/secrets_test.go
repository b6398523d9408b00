package migrations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// leaks returns the columns of terasocket.* that hold a secret.
func (f *fixture) leaks() (found []string) {
	f.Helper()
	tables := one[[]string](f, "SELECT array_agg(relname::text ORDER BY relname) FROM pg_class WHERE relnamespace = 'terasocket'::regnamespace AND relkind = 'r'")
	if !slices.Contains(tables, "events") || !slices.Contains(tables, "capture_errors") || !slices.Contains(tables, "changes") {
		f.Fatalf("the test looks at the wrong tables: %v", tables)
	}
	for _, table := range tables {
		rows := one[[]string](f, fmt.Sprintf("SELECT coalesce(array_agg(left(t::text, 300)), '{}') FROM terasocket.%s t WHERE t::text ILIKE '%%%s%%'", table, secret))
		for _, row := range rows {
			found = append(found, table+": "+row)
		}
	}
	return found
}

// A text column of OpenTera's tables that the sheet does not list never appears in a table of ours, whatever happens to its row.
func TestNoHiddenColumnInTheLog(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listed := map[string][]string{}
	for _, k := range kinds() {
		for item := range strings.SplitSeq(k.keys+", "+k.computed, ", ") {
			name, _, _ := strings.Cut(item, " ")
			listed[k.table] = append(listed[k.table], name)
		}
		f.exec(k.insert()) // with secrets, see kinds
		f.exec(k.set(k.update))
	}
	type column struct {
		Table, Column, Key string
		Length             int
	}
	rows, err := f.conn.Query(t.Context(), `
		SELECT c.relname::text, a.attname::text, k.attname::text, CASE WHEN a.atttypmod > 0 THEN a.atttypmod - 4 ELSE 60 END
		FROM   pg_class c
		JOIN   pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('varchar'::regtype, 'text'::regtype)
		JOIN   pg_index i     ON i.indrelid = c.oid AND i.indisprimary
		JOIN   pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
		WHERE  c.relname ~ '^t_' AND c.relkind = 'r' ORDER BY 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		t.Fatal(err)
	}
	hidden := map[string]bool{}
	for _, c := range columns {
		captured := listed[c.Table] != nil
		if captured && slices.Contains(listed[c.Table], c.Column) || c.Table == "t_services_roles" || c.Length < 20 {
			continue // roles are shown in the events of their service
		}
		if strings.HasSuffix(c.Column, "_uuid") {
			continue
		}
		hidden[c.Column] = true
		f.exec(fmt.Sprintf("UPDATE %s SET %s = left('%s%s-' || %s, %d)", c.Table, c.Column, secret, strings.ReplaceAll(c.Column, "_", ""), c.Key, c.Length))
	}
	for _, name := range strings.Fields(`user_username user_email user_password user_profile user_notes user_2fa_otp_secret participant_username
		participant_password participant_token device_token device_certificate device_config device_infos device_notes session_type_config
		session_comments session_parameters server_settings_value service_config_config user_preference_preference session_event_text`) {
		if !hidden[name] {
			t.Errorf("%s is not among the hidden columns that the test has filled", name)
		}
	}
	// every row holds secrets now: let everything happen to it
	told := len(f.log())
	leaks := map[string]bool{}
	step := func(sql string) {
		f.exec(sql)
		for _, found := range f.leaks() { // before it is announced
			leaks[found] = true
		}
		told += len(f.log())
	}
	for _, k := range kinds() {
		if k.objectType != "server_settings" {
			step(fmt.Sprintf("UPDATE %s SET deleted_at = now() WHERE %s > 1", k.table, k.idColumn()))
			step(fmt.Sprintf("UPDATE %s SET deleted_at = NULL", k.table))
		}
	}
	step("BEGIN; UPDATE t_participants SET id_project = id_project % 8 + 1; UPDATE t_sessions_participants SET id_participant = id_participant % 100 + 1; COMMIT")
	step("BEGIN; DELETE FROM t_sessions; DELETE FROM t_devices_participants; DELETE FROM t_sites; COMMIT; TRUNCATE t_users, t_services, t_server_settings CASCADE")
	if told < 1000 {
		t.Errorf("only %d events: the test does not see much", told)
	}
	for found := range leaks {
		t.Errorf("before it was announced: %q", found)
	}
	if found := f.leaks(); len(found) > 0 {
		t.Errorf("%d rows hold a secret: %q", len(found), found[:min(len(found), 5)])
	}
}

// Nor does one when capture or an announcement fails: an error message can quote a value.
func TestNoHiddenColumnInErrors(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true
	f.exec("ALTER TABLE terasocket.changes ADD CONSTRAINT refuse CHECK (what <> 'user' AND what <> 'participant') NOT VALID")
	f.exec("ALTER TABLE terasocket.told ADD CONSTRAINT refuse CHECK (object_type <> 'user' AND object_type <> 'device') NOT VALID")
	for _, k := range kinds() {
		f.exec(k.insert())
	}
	mustEqual(t, "capture errors", one[int](f, "SELECT count(*) FROM terasocket.capture_errors"), 2)
	if _, err := f.call("1000, true"); err != nil {
		t.Error(err)
	}
	mustEqual(t, "set aside", one[[]string](f, "SELECT array_agg(object_type || ' ' || id ORDER BY object_type) FROM terasocket.set_aside"), []string{"device 9000", "user 9000"})
	if found := f.leaks(); len(found) > 0 {
		t.Errorf("secrets: %q", found)
	}
}

// If only the value of a server setting changes, that is announced without the value.
func TestServerSettingsNeverShowAValue(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.expectOne("UPDATE t_server_settings SET server_settings_value = '"+secret+"value' WHERE id_server_settings = 1", "U server_settings 1")
	mustEqual(t, "body", e.Body, object{"id_server_settings": 1.0, "server_settings_name": "TokenEncryptionKey"})
	mustEqual(t, "seen by", e.sees, []int32{1, 2})
	f.expect("UPDATE t_server_settings SET version_id = version_id + 1 WHERE id_server_settings = 1")
	f.expect("UPDATE t_server_settings SET server_settings_value = server_settings_value WHERE id_server_settings = 1")
	f.expect("INSERT INTO t_server_settings VALUES (9000, 'Other', '"+secret+"other', 1)", "C server_settings 9000")
	f.expect("DELETE FROM t_server_settings WHERE id_server_settings = 9000", "D server_settings 9000")
	if found := f.leaks(); len(found) > 0 {
		t.Errorf("secrets: %q", found)
	}
}
