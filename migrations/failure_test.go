package migrations_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Whatever breaks inside capture, OpenTera's write succeeds; a WARNING tells of it, and a row of terasocket.capture_errors.
func TestCaptureNeverFailsTheWrite(t *testing.T) {
	t.Parallel()
	const (
		update   = "UPDATE t_sites SET site_name = 'written' WHERE id_site = 1"
		twice    = "BEGIN; UPDATE t_sites SET site_name = 'first' WHERE id_site = 1; UPDATE t_sites SET site_name = 'written' WHERE id_site = 1; COMMIT"
		withLink = "BEGIN; UPDATE t_sites SET site_name = 'written' WHERE id_site = 1; UPDATE t_devices_sites SET id_site = 2 WHERE id_device = 1; COMMIT"
		remove   = "BEGIN; UPDATE t_sites SET site_name = 'written' WHERE id_site = 1; DELETE FROM t_users_groups WHERE id_user_group = 12; COMMIT"
		truncate = "BEGIN; UPDATE t_sites SET site_name = 'written' WHERE id_site = 1; TRUNCATE t_tests_invitations; COMMIT"
		rights   = "BEGIN; UPDATE t_sites SET site_name = 'written' WHERE id_site = 1; UPDATE t_services_access SET version_id = 1; COMMIT"
	)
	tests := []struct {
		name, breakIt, write string
		recorded             bool // in capture_errors
	}{
		{"no object type", "DELETE FROM terasocket.object_types WHERE object_type = 'site'", update, true},
		{"no object types", "DROP TABLE terasocket.object_types CASCADE", update, true},
		{"no log", "ALTER TABLE terasocket.events RENAME TO moved", update, true},
		{"no log and no record", "ALTER TABLE terasocket.events RENAME TO moved; ALTER TABLE terasocket.capture_errors RENAME TO moved_too", update, false},
		{"a column of the log is gone", "ALTER TABLE terasocket.events DROP COLUMN former", update, true},
		{"log refuses", "ALTER TABLE terasocket.events ADD CONSTRAINT no CHECK (false) NOT VALID", update, true},
		{"sequence is at its end", "SELECT setval(pg_get_serial_sequence('terasocket.events', 'seq'), 9223372036854775807)", update, true},
		{"function is gone", "DROP FUNCTION terasocket.keys(text, jsonb)", update, true},
		{"function divides by zero", "CREATE OR REPLACE FUNCTION terasocket.keys(object_type text, r jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(1/(r ->> ''id_site'')::int - 1/0)'", update, true},
		{"notify fails", "CREATE OR REPLACE FUNCTION terasocket.notify_events() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$no$$; END'", update, true},
		{"capture_failed is gone too", "DROP FUNCTION terasocket.keys(text, jsonb); ALTER TABLE terasocket.capture_errors ADD CONSTRAINT no CHECK (false) NOT VALID", update, false},
		{"settle fails", "DROP FUNCTION terasocket.without_dead(jsonb, xid8)", twice, true},
		{"pending is gone", "ALTER TABLE terasocket.pending RENAME TO moved", twice, true},
		{"link", "DROP FUNCTION terasocket.link_tags(text, jsonb)", withLink, true},
		{"remember", "DROP FUNCTION terasocket.is_seen_through(terasocket.object_types, bigint)", remove, true},
		{"truncate", "DROP FUNCTION terasocket.deleted_body(terasocket.object_types, jsonb)", truncate, true},
		{"rights", "DROP FUNCTION terasocket.note_statement()", rights, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.isBroken = true
			warnings := make(chan *pgconn.Notice, 100)
			config := f.conn.Config().Copy()
			config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { warnings <- n }
			writer, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = writer.Close(t.Context()) }()
			execOn(t, writer, tt.write) // with the plans that it has from then on
			execOn(t, writer, "UPDATE t_sites SET site_name = 'before'; UPDATE t_devices_sites SET id_site = 1 WHERE id_device = 1")
			f.exec(tt.breakIt)
			for len(warnings) > 0 {
				t.Errorf("warning before: %s", (<-warnings).Message)
			}
			execOn(t, writer, strings.ReplaceAll(tt.write, "id_user_group = 12", "id_user_group = 11"))
			mustEqual(t, "site", one[string](f, "SELECT site_name FROM t_sites WHERE id_site = 1"), "written")
			if len(warnings) == 0 {
				t.Fatal("no warning")
			}
			first := <-warnings
			if first.Severity != "WARNING" || !strings.HasPrefix(first.Message, "terasocket: ") || !strings.Contains(first.Message, "not recorded") {
				t.Errorf("%s: %s", first.Severity, first.Message)
			}
			if !tt.recorded {
				return
			}
			n := one[int](f, "SELECT count(*) FROM terasocket.capture_errors WHERE table_name <> '' AND op <> '' AND length(sqlstate) = 5 AND message <> '' AND context <> ''")
			if n == 0 {
				t.Error("no row in terasocket.capture_errors")
			}
		})
	}
}

// The writing role needs rights on OpenTera's tables only.
func TestWriterWithoutRights(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO " + role)
	f.exec("SET ROLE " + role)
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'x' WHERE id_site = 1; UPDATE t_sites SET site_name = 'y' WHERE id_site = 1; UPDATE t_devices_sites SET id_site = 3 WHERE id_device = 1; COMMIT")
	f.exec("UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user_user_group = 1; UPDATE t_users SET deleted_at = now() WHERE id_user = 13; DELETE FROM t_users_groups WHERE id_user_group = 12; TRUNCATE t_tests_invitations")
	for _, sql := range []string{
		"SELECT * FROM terasocket.events", "SELECT * FROM terasocket.pending", "SELECT * FROM terasocket.connect_tokens", "SELECT terasocket.attach()",
		"INSERT INTO terasocket.events (topic, type, body, audience) VALUES ('', '', '{}', '[[\"x\"]]')", "SELECT * FROM terasocket.audience(ARRAY['[[\"x\"]]'])",
		"CREATE TRIGGER mine AFTER UPDATE ON t_sites EXECUTE FUNCTION terasocket.settle()",
	} {
		if _, err := f.conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	f.exec("RESET ROLE")
	got := map[string]int{}
	for _, e := range f.log() {
		got[e.ObjectType+" "+e.Op]++
	}
	for _, want := range []string{"site U", "device U", "user U", "user_group D", "test_invitation D"} {
		if got[want] == 0 {
			t.Errorf("no %s in %v", want, got)
		}
	}
}

// Nor is any function of ours open to everybody, whichever migration made it.
func TestNoFunctionForPublic(t *testing.T) {
	t.Parallel()
	f := setup(t)
	open := one[[]string](f, `SELECT coalesce(array_agg(p.oid::regprocedure::text), '{}') FROM pg_proc p
		WHERE p.pronamespace = 'terasocket'::regnamespace AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))`)
	if len(open) > 0 {
		t.Errorf("%q", open)
	}
	relaxed := one[[]string](f, `SELECT coalesce(array_agg(p.oid::regprocedure::text), '{}') FROM pg_proc p
		WHERE p.pronamespace = 'terasocket'::regnamespace AND p.prosecdef AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)`)
	if len(relaxed) > 0 {
		t.Errorf("SECURITY DEFINER without a search path: %q", relaxed)
	}
}

// A writer cannot lend capture its own tables or functions, not even ones that fit better than PostgreSQL's own in OpenTera's
// schema: that schema is in no search path of ours.
func TestWriterCannotSpoof(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO " + role + "; CREATE SCHEMA mine AUTHORIZATION " + role)
	f.exec("GRANT CREATE ON SCHEMA public TO " + role) // as PostgreSQL before 15 does
	f.exec("SET ROLE " + role)
	f.exec(`CREATE TEMP TABLE t_users AS SELECT * FROM public.t_users WHERE false;
		CREATE TEMP TABLE t_services_roles AS SELECT * FROM public.t_services_roles WHERE false;
		CREATE TEMP TABLE t_participants AS SELECT id_participant, 8 AS id_project, deleted_at FROM public.t_participants;
		CREATE TEMP TABLE new_rows (x int); CREATE TEMP TABLE old_rows (x int)`)
	f.exec(`CREATE FUNCTION mine.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT ''{"hacked": true}''::jsonb';
		CREATE FUNCTION public.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT ''{"hacked": true}''::jsonb';
		CREATE FUNCTION public.concat_ws(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT ''hacked''';
		CREATE FUNCTION public.concat_ws(text, varchar, varchar) RETURNS text LANGUAGE sql AS 'SELECT ''hacked''';
		CREATE FUNCTION public.jsonb_build_array(text[]) RETURNS jsonb LANGUAGE sql AS 'SELECT ''[["u:9"]]''::jsonb';
		CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS 'SELECT ''hacked''';
		CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
		CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT 1/0'`)
	f.exec("CREATE FUNCTION mine.jminus(jsonb, text[]) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'; CREATE OPERATOR mine.- (LEFTARG = jsonb, RIGHTARG = text[], FUNCTION = mine.jminus)")
	f.exec("SET search_path = pg_temp, mine, public, pg_catalog")
	f.exec("BEGIN; UPDATE public.t_sessions SET session_name = 'x' WHERE id_session = 1; UPDATE public.t_sessions SET session_name = 'y' WHERE id_session = 1; COMMIT")
	f.exec("UPDATE public.t_users SET user_firstname = 'x' WHERE id_user = 9")
	f.exec("RESET ROLE; RESET search_path; DISCARD TEMP")
	events := f.log()
	if len(events) != 3 {
		t.Fatalf("%v", events)
	}
	want := one[[]int32](f, "SELECT ids FROM terasocket.audience(ARRAY[(SELECT terasocket.keys('session', to_jsonb(s))::text FROM t_sessions s WHERE id_session = 1)])")
	mustSee(t, "session", f.seenBy(events[1].Audience), want...)
	mustSee(t, "user", f.seenBy(events[2].Audience), 1, 7, 9)
	if events[2].Body["user_firstname"] != "x" || events[2].Body["user_name"] == "hacked" || events[1].Body["session_name"] != "y" {
		t.Errorf("%v", events)
	}
}
