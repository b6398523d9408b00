package migrations_test

import (
	"strings"
	"testing"

	"terasocket/migrations"
)

// Functions are applied only when they differ; triggers, indexes and the first fill are done afterwards.
func TestFunctionsFollowTheirFiles(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	var said []string
	m.Progress = func(line string) { said = append(said, line) }
	mustUp(t, m)
	mustEqual(t, "progress", said, []string{"functions applied", "triggers on 2 tables", "making 1 indexes", "about 2 objects still to read", "all objects are read"})
	execOn(t, conn, "UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	if n := oneOn[int](t, conn, "SELECT count(*) FROM terasocket.changes"); n != 1 {
		t.Errorf("%d changes", n)
	}
	const applied = "SELECT hash || compatibility || applied_at FROM terasocket.functions"
	first := oneOn[string](t, conn, applied)
	mustUp(t, m)
	if now := oneOn[string](t, conn, applied); now != first {
		t.Error("the same functions are applied again")
	}
	mustUp(t, from(t, url, with("functions/one.sql", "CREATE OR REPLACE FUNCTION terasocket.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'")))
	if now := oneOn[string](t, conn, applied); now == first || oneOn[int](t, conn, "SELECT terasocket.one()") != 1 {
		t.Error("other functions are not applied")
	}
	status, err := m.Status(t.Context())
	if err != nil || status.Functions != "different" || status.Compatibility != migrations.Compatibility {
		t.Errorf("%+v, %v", status, err)
	}
	mustUp(t, m)
	if oneOn[bool](t, conn, "SELECT to_regproc('terasocket.one') IS NOT NULL") {
		t.Error("a removed function still exists")
	}
	status, err = m.Status(t.Context())
	if err != nil || status.Functions != "current" || status.Unfinished != "" {
		t.Errorf("%+v, %v", status, err)
	}
}

// Removed functions are dropped even if other objects of ours use them, in any order; triggers on OpenTera's tables are replaced first.
func TestRemovedFunctionsAreDropped(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, with("functions/old.sql", `
		CREATE OR REPLACE FUNCTION terasocket.base() RETURNS integer LANGUAGE sql AS 'SELECT 1';
		CREATE OR REPLACE VIEW terasocket.seen AS SELECT terasocket.base() AS n;
		CREATE OR REPLACE FUNCTION terasocket.of_view() RETURNS SETOF terasocket.seen LANGUAGE sql AS 'SELECT * FROM terasocket.seen';
		CREATE OR REPLACE VIEW terasocket.again AS SELECT n FROM terasocket.of_view();
		CREATE OR REPLACE FUNCTION terasocket.on_changes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		DROP TRIGGER IF EXISTS mine ON terasocket.changes;
		CREATE TRIGGER mine AFTER DELETE ON terasocket.changes EXECUTE FUNCTION terasocket.on_changes();
		CREATE OR REPLACE FUNCTION terasocket.old_capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`))
	mustUp(t, m)
	// as an older attach_table made it
	execOn(t, conn, "DROP TRIGGER terasocket_update ON t_sites; CREATE TRIGGER terasocket_old AFTER UPDATE ON t_sites EXECUTE FUNCTION terasocket.old_capture()")
	files := standIn()
	files["functions/attach.sql"] = file(strings.Replace(string(files["functions/attach.sql"].Data), "LANGUAGE plpgsql AS $$ BEGIN",
		"LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('DROP TRIGGER IF EXISTS terasocket_old ON OPENTERA.%I', table_name);", 1))
	mustUp(t, from(t, url, files))
	left := oneOn[string](t, conn, `SELECT string_agg(n, ' ' ORDER BY n) FROM (SELECT proname::text FROM pg_proc WHERE pronamespace = 'terasocket'::regnamespace
		UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'terasocket'::regnamespace AND relkind = 'v'
		UNION ALL SELECT tgname FROM pg_trigger WHERE tgname IN ('mine', 'terasocket_old', 'terasocket_update')) x (n)`)
	mustEqual(t, "left", left, "announcer attach_table capture_t_sessions capture_t_sites capture_tables fill keys missing_triggers terasocket_update terasocket_update wanted_indexes")
}

// If a foreign object uses a removed function, it cannot be dropped: nothing changes, and the error names the object.
func TestRemovedFunctionInUse(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, with("functions/old.sql", "CREATE OR REPLACE FUNCTION terasocket.base() RETURNS integer LANGUAGE sql AS 'SELECT 1'"))
	mustUp(t, m)
	execOn(t, conn, "CREATE VIEW mine AS SELECT terasocket.base()")
	_, err := from(t, url, with("functions/new.sql", "CREATE OR REPLACE FUNCTION terasocket.new() RETURNS integer LANGUAGE sql AS 'SELECT 1'")).Up(t.Context())
	if err == nil || !strings.Contains(err.Error(), "drop removed functions") || !strings.Contains(err.Error(), "terasocket.base()") {
		t.Errorf("%v", err)
	}
	if oneOn[bool](t, conn, "SELECT to_regproc('terasocket.new') IS NOT NULL") {
		t.Error("half of it was applied")
	}
}

// Another result type needs a DROP; operators' grants are granted again.
func TestFunctionOfAnotherType(t *testing.T) {
	t.Parallel()
	const old = `CREATE OR REPLACE FUNCTION terasocket.base(a integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
		CREATE OR REPLACE VIEW terasocket.seen AS SELECT terasocket.base(1) AS n, 2 AS m`
	m, url, conn := standingIn(t, with("functions/old.sql", old))
	mustUp(t, m)
	role := newRole(t, conn)
	execOn(t, conn, "GRANT USAGE ON SCHEMA terasocket TO "+role+"; GRANT EXECUTE ON FUNCTION terasocket.base(integer) TO "+role+"; GRANT SELECT ON terasocket.seen TO "+role)
	changed := strings.NewReplacer("RETURNS integer", "RETURNS text", "SELECT 1'", "SELECT ''1'''", ", 2 AS m", "").Replace(old)
	mustUp(t, from(t, url, with("functions/old.sql", changed)))
	execOn(t, conn, "SET ROLE "+role)
	if one := oneOn[string](t, conn, "SELECT terasocket.base(1) || n FROM terasocket.seen"); one != "11" {
		t.Errorf("%q", one)
	}
	execOn(t, conn, "RESET ROLE; UPDATE t_sites SET site_name = 'still watched' WHERE id_site = 1")
	if n := oneOn[int](t, conn, "SELECT count(*) FROM terasocket.changes"); n != 1 {
		t.Errorf("%d changes", n)
	}
}

// A faulty file is named, with the line, and nothing of the set is applied. Functions may use those of later files.
func TestFunctionsWithFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"SELECT 1;\nCREATE FUNCTION oops": "functions/zz.sql line 2: ",
		"CREATE OR REPLACE FUNCTION terasocket.bad() RETURNS integer LANGUAGE sql AS 'SELECT no_such_column'":           "no_such_column",
		"CREATE OR REPLACE FUNCTION terasocket.bad() RETURNS integer LANGUAGE sql AS 'SELECT terasocket.no_such_one()'": "no_such_one",
		"CREATE OR REPLACE FUNCTION terasocket.bad() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN oops 1; END'":    "terasocket.bad(): syntax error",
	} {
		m, _, conn := standingIn(t, with("functions/zz.sql", text))
		if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if n := oneOn[int](t, conn, "SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'terasocket'::regnamespace) + (SELECT count(*) FROM terasocket.functions)"); n != 0 {
			t.Errorf("%s: %d things of a set with a fault", text, n)
		}
		mustVersion(t, m, 2)
	}
	m, _, _ := standingIn(t, with("functions/a.sql", "CREATE OR REPLACE FUNCTION terasocket.a() RETURNS bigint LANGUAGE sql AS 'SELECT terasocket.fill(1)'"))
	mustUp(t, m)
}

// Only the owner may call our functions, including the generated ones.
func TestFunctionsAreClosed(t *testing.T) {
	t.Parallel()
	m, _, conn := standingIn(t, standIn())
	mustUp(t, m)
	if n := oneOn[int](t, conn, `SELECT count(*) FROM pg_proc p WHERE p.pronamespace = 'terasocket'::regnamespace
		AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))`); n != 0 {
		t.Errorf("%d functions are open to everybody", n)
	}
}

// Changed formulas fill told and holdings again; other changed functions do not.
func TestFormulas(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	mustUp(t, m)
	filled := func(m *migrations.Migrator) (n int) {
		m.Progress = func(line string) {
			if strings.HasSuffix(line, "still to read") {
				n++
			}
		}
		mustUp(t, m)
		return n
	}
	if n := filled(from(t, url, with("functions/one.sql", "CREATE OR REPLACE FUNCTION terasocket.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'"))); n != 0 {
		t.Error("everything was read again because of another function")
	}
	if n := filled(from(t, url, with("functions/rights.sql", "CREATE OR REPLACE FUNCTION terasocket.tags() RETURNS integer LANGUAGE sql AS 'SELECT 1'"))); n != 1 {
		t.Error("the formulas of rights changed, and nothing was read again")
	}
	if !oneOn[bool](t, conn, "SELECT fill_type IS NULL FROM terasocket.announcer") {
		t.Error("it is not filled")
	}
}
