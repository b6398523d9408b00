package migrations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
)

// Whatever breaks inside capture, OpenTera's write succeeds, with a WARNING and a row of terasocket.capture_errors, from which the change
// is announced.
func TestCaptureNeverFailsTheWrite(t *testing.T) {
	t.Parallel()
	const (
		site   = "UPDATE t_sites SET site_name = 'written' WHERE id_site = 1"
		refuse = "ALTER TABLE terasocket.changes ADD CONSTRAINT no CHECK (false) NOT VALID"
		permit = "ALTER TABLE terasocket.changes DROP CONSTRAINT no"
	)
	tests := []struct {
		name, breakIt, write, mendIt string
		failures                     string   // op, table, what and ids; "" if they cannot be recorded either
		announced                    []string // after the repair
	}{
		{"changes refuse", refuse, site, permit, "UPDATE t_sites site {1}", []string{"U site 1"}},
		{"no changes", "ALTER TABLE terasocket.changes RENAME TO moved", site, "ALTER TABLE terasocket.moved RENAME TO changes", "UPDATE t_sites site {1}", []string{"U site 1"}},
		{"no changes and no record", "ALTER TABLE terasocket.changes RENAME TO moved; ALTER TABLE terasocket.capture_errors RENAME TO lost", site,
			"ALTER TABLE terasocket.moved RENAME TO changes; ALTER TABLE terasocket.lost RENAME TO capture_errors", "", nil},
		{"a column is gone", "ALTER TABLE terasocket.changes DROP COLUMN rights", site, "ALTER TABLE terasocket.changes ADD COLUMN rights boolean", "UPDATE t_sites site {1}", nil},
		{"sequence is at its end", "ALTER TABLE terasocket.changes ALTER COLUMN id SET MAXVALUE 1000000 RESTART 1000000; INSERT INTO terasocket.changes (what, op) VALUES ('site', 'U')", site,
			"ALTER TABLE terasocket.changes ALTER COLUMN id SET MAXVALUE 2000000; DELETE FROM terasocket.changes", "UPDATE t_sites site {1}", []string{"U site 1"}},
		{"hint fails", "CREATE OR REPLACE FUNCTION terasocket.hint(what text, op text, ids bigint[]) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$no$$; END'", site, "",
			"UPDATE t_sites site {1}", []string{"U site 1"}},
		{"hint is gone", "DROP FUNCTION terasocket.hint(text, text, bigint[])", site, "", "UPDATE t_sites site {1}", []string{"U site 1"}},
		{"many rows", refuse, "UPDATE t_sites SET site_name = 'written'", permit, "UPDATE t_sites site {1,2,3}", []string{"U site 1", "U site 2", "U site 3"}},
		{"insert", refuse, site + "; INSERT INTO t_sites VALUES (9000, 'x', false, 1)", permit, "UPDATE t_sites site {1}, INSERT t_sites site {9000}", []string{"U site 1", "U site 9000"}},
		{"delete", refuse, site + "; DELETE FROM t_tests_invitations WHERE id_test_invitation = 1", permit,
			"UPDATE t_sites site {1}, DELETE t_tests_invitations test_invitation {1}", []string{"D test_invitation 1", "U site 1"}},
		{"link", refuse, site + "; UPDATE t_devices_sites SET id_site = 2 WHERE id_device = 1", permit, "UPDATE t_sites site {1}, UPDATE t_devices_sites device {1}", []string{"U device 1", "U site 1"}},
		{"truncate", refuse, site + "; TRUNCATE t_tests_types_sites", permit, "UPDATE t_sites site {1}, TRUNCATE t_tests_types_sites test_type -", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.isBroken = true
			writer, warnings := warned(f)
			execOn(t, writer, site) // with cached plans
			execOn(t, writer, "UPDATE t_sites SET site_name = 'before'; UPDATE t_devices_sites SET id_site = 1 WHERE id_device = 1")
			f.log()
			f.exec(tt.breakIt)
			for len(warnings) > 0 {
				t.Errorf("warning before: %s", (<-warnings).Message)
			}
			execOn(t, writer, tt.write)
			mustEqual(t, "site", one[string](f, "SELECT site_name FROM t_sites WHERE id_site = 1"), "written")
			if len(warnings) == 0 {
				t.Fatal("no warning")
			}
			first := <-warnings
			if first.Severity != "WARNING" || !strings.HasPrefix(first.Message, "terasocket: ") || !strings.Contains(first.Message, "not recorded") {
				t.Errorf("%s: %s", first.Severity, first.Message)
			}
			f.exec(tt.mendIt)
			mustEqual(t, "failures", one[string](f, `SELECT coalesce(string_agg(concat_ws(' ', op, table_name, what, coalesce(ids::text, '-')), ', ' ORDER BY id), '')
				FROM terasocket.capture_errors WHERE length(sqlstate) = 5 AND message <> '' AND context <> ''`), tt.failures)
			if tt.announced != nil {
				var told []string
				for _, e := range f.log() {
					told = append(told, e.String())
				}
				slices.Sort(told)
				mustEqual(t, "announced", told, tt.announced)
				f.expectLog("again")
			}
		})
	}
}

// warned returns a writer and the warnings that it receives.
func warned(f *fixture) (*pgx.Conn, <-chan *pgconn.Notice) {
	f.Helper()
	warnings := make(chan *pgconn.Notice, 100)
	config := f.conn.Config().Copy()
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { warnings <- n }
	writer, err := pgx.ConnectConfig(f.Context(), config)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = writer.Close(f.Context()) })
	return writer, warnings
}

// A change that could not be captured because somebody locks terasocket.changes costs the writer a moment; it is kept in capture_errors,
// and announced from there with its rights.
func TestCaptureErrorsAreAnnounced(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true
	other := dbtest.Conn(t, f.url)
	execOn(t, other, "BEGIN; LOCK TABLE terasocket.changes IN ACCESS EXCLUSIVE MODE")
	f.within(time.Second, "a write beside a locked table", func() {
		f.exec("UPDATE t_participants SET participant_name = 'x' WHERE id_participant IN (1, 2); UPDATE t_users SET user_enabled = false WHERE id_user = 9")
	})
	execOn(t, other, "COMMIT")
	mustEqual(t, "why", one[[]string](f, "SELECT array_agg(DISTINCT sqlstate) FROM terasocket.capture_errors"), []string{"55P03"})
	f.announce()
	told := f.told()
	slices.Sort(told[1:])
	mustEqual(t, "told", told[1:], []string{"Settled", "U participant 1", "U participant 2", "U user 9"})
	mustEqual(t, "first", told[0][:len("Rights user 9 -")], "Rights user 9 -")
	mustEqual(t, "rights of the disabled user", one[int](f, "SELECT count(*) FROM terasocket.holdings WHERE kind = 'user' AND id = 9"), 0)
	mustEqual(t, "left", one[int](f, "SELECT count(*) FROM terasocket.capture_errors WHERE announced_at IS NULL"), 0)
}

// A serialization failure is the writer's own: it is raised, so that the writer retries, and nothing is lost.
func TestSerializationFailuresAreRaised(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			RAISE EXCEPTION USING ERRCODE = current_setting('test.state'), MESSAGE = 'provoked'; END $$;
		CREATE TRIGGER fail BEFORE INSERT ON terasocket.changes FOR EACH ROW EXECUTE FUNCTION fail()`)
	for _, state := range []string{"40001", "40P01"} {
		f.exec("SET test.state = '" + state + "'")
		if got, _ := refusal(t, f.conn, "UPDATE t_sites SET site_name = 'lost' WHERE id_site = 1"); got != state {
			t.Errorf("the writer gets %q, want %s", got, state)
		}
	}
	f.exec("DROP TRIGGER fail ON terasocket.changes")
	if name := one[string](f, "SELECT site_name FROM t_sites WHERE id_site = 1"); name == "lost" {
		t.Error("the write went through")
	}
}

// Two SERIALIZABLE writers with a write skew: one of them fails, and the other's change is announced.
func TestWriteSkew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := dbtest.Conn(t, f.url)
	begin := "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t_sites WHERE site_name = 'x'"
	f.exec(begin)
	execOn(t, other, begin)
	f.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	execOn(t, other, "UPDATE t_sites SET site_name = 'x' WHERE id_site = 2")
	f.exec("COMMIT")
	_, err := other.Exec(t.Context(), "COMMIT")
	if err == nil || !strings.Contains(err.Error(), "40001") {
		t.Errorf("the second writer: %v", err)
	}
	f.expectLog("one of two", "U site 1")
}

// The writing role needs rights on OpenTera's tables only.
func TestWriterWithoutRights(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO " + role)
	f.exec("SET ROLE " + role)
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'y' WHERE id_site = 1; UPDATE t_devices_sites SET id_site = 3 WHERE id_device = 1; COMMIT")
	f.exec("UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user_user_group = 1; UPDATE t_users SET deleted_at = now() WHERE id_user = 13; DELETE FROM t_users_groups WHERE id_user_group = 12; TRUNCATE t_tests_invitations")
	for _, sql := range []string{
		"SELECT * FROM terasocket.events", "SELECT * FROM terasocket.changes", "SELECT * FROM terasocket.connect_tokens", "SELECT terasocket.attach_table('t_sites')",
		"INSERT INTO terasocket.changes (what, op) VALUES ('site', 'U')", "SELECT * FROM terasocket.audience(ARRAY['[[\"x\"]]'])", "SELECT * FROM terasocket.announce()",
		"SELECT terasocket.record('site', 'U', true, NULL)",
		"CREATE TRIGGER mine AFTER UPDATE ON t_sites EXECUTE FUNCTION terasocket.capture_t_sites()",
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
	for _, want := range []string{"site U", "device U", "user G", "user_group D", "test_invitation D"} {
		if got[want] == 0 {
			t.Errorf("no %s in %v", want, got)
		}
	}
}

// No function of ours is public, and no SECURITY DEFINER function has an open search path.
func TestNoFunctionForPublic(t *testing.T) {
	t.Parallel()
	f := setup(t)
	open := one[[]string](f, `SELECT coalesce(array_agg(p.oid::regprocedure::text), '{}') FROM pg_proc p
		WHERE p.pronamespace = 'terasocket'::regnamespace AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))`)
	if len(open) > 0 {
		t.Errorf("%q", open)
	}
	relaxed := one[[]string](f, `SELECT coalesce(array_agg(p.oid::regprocedure::text), '{}') FROM pg_proc p
		WHERE p.pronamespace = 'terasocket'::regnamespace AND p.prosecdef
		AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)`)
	if len(relaxed) > 0 {
		t.Errorf("SECURITY DEFINER without a search path: %q", relaxed)
	}
}

// A writer cannot make capture or announcements use its own tables or functions, not even better-matching ones in OpenTera's schema,
// which is in no search path of ours.
func TestWriterCannotSpoof(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO " + role + "; CREATE SCHEMA mine AUTHORIZATION " + role)
	f.exec("GRANT CREATE ON SCHEMA public TO " + role) // the default before PostgreSQL 15
	f.exec("SET ROLE " + role)
	f.exec(`CREATE TEMP TABLE t_users AS SELECT * FROM public.t_users WHERE false;
		CREATE TEMP TABLE t_services_roles AS SELECT * FROM public.t_services_roles WHERE false;
		CREATE TEMP TABLE changes (x int); CREATE TEMP TABLE new_rows (x int); CREATE TEMP TABLE old_rows (x int)`)
	for _, schema := range []string{"mine", "public"} {
		f.exec(strings.ReplaceAll(`CREATE FUNCTION mine.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT ''{"hacked": true}''::jsonb';
			CREATE FUNCTION mine.concat_ws(text, varchar, varchar) RETURNS text LANGUAGE sql AS 'SELECT ''hacked''';
			CREATE FUNCTION mine.jsonb_build_array(text[]) RETURNS jsonb LANGUAGE sql AS 'SELECT ''[["u:9"]]''::jsonb';
			CREATE FUNCTION mine.format(text, text) RETURNS text LANGUAGE sql AS 'SELECT ''hacked''';
			CREATE FUNCTION mine.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
			CREATE FUNCTION mine.array_to_string(bigint[], text) RETURNS text LANGUAGE sql AS 'SELECT ''hacked''';
			CREATE FUNCTION mine.jminus(jsonb, text[]) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
			CREATE OPERATOR mine.- (LEFTARG = jsonb, RIGHTARG = text[], FUNCTION = mine.jminus)`, "mine.", schema+"."))
	}
	f.exec("CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT 1/0'")
	f.exec("SET search_path = pg_temp, mine, public, pg_catalog")
	f.exec("UPDATE public.t_sessions SET session_name = 'x' WHERE id_session = 1; UPDATE public.t_users SET user_firstname = 'x' WHERE id_user = 9")
	f.exec("RESET ROLE; RESET search_path; DISCARD TEMP")
	execOn(t, f.teller, "SET search_path = mine, public, pg_catalog")
	session := f.seers("session", 1)
	events := f.log()
	mustEqual(t, "announced", fmt.Sprint(events), "[U session 1 U user 9]")
	mustEqual(t, "viewers of the session", events[0].sees, session)
	mustSee(t, "user", events[1].sees, 1, 7, 9)
	if events[1].Body["user_firstname"] != "x" || events[1].Body["user_name"] == "hacked" || events[0].Body["session_name"] != "x" {
		t.Errorf("%v", events)
	}
}
