package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func unmigrated() dbtest.Template { return dbtest.OpenTera("opentera") }

// migrator returns a Migrator of an OpenTera database without terasocket.
func migrator(t *testing.T) (*migrations.Migrator, string, *pgx.Conn) {
	t.Helper()
	url := dbtest.New(t, unmigrated())
	m, err := migrations.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return m, url, dbtest.Conn(t, url)
}

func mustMigrate(t *testing.T, want int, do func() (int, error)) {
	t.Helper()
	n, err := do()
	if err != nil || n != want {
		t.Fatalf("%d migrations (want %d), %v", n, want, err)
	}
}

func mustVersion(t *testing.T, m *migrations.Migrator, want uint) {
	t.Helper()
	if v, err := m.Version(t.Context()); err != nil || v != want {
		t.Errorf("version %d (want %d), %v", v, want, err)
	}
}

// ours counts terasocket's objects in a database: its schema, and triggers and indexes on OpenTera's tables.
func ours(t *testing.T, conn *pgx.Conn) int {
	t.Helper()
	return oneOn[int](t, conn, `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'terasocket') + (SELECT count(*) FROM pg_trigger WHERE tgname ~ 'terasocket')
		+ (SELECT count(*) FROM pg_class WHERE relname ~ 'terasocket')`)
}

func TestSteps(t *testing.T) {
	t.Parallel()
	for i, s := range migrations.Steps() {
		if s.Version != uint(i+1) || s.Name == "" || s.Applied {
			t.Errorf("step %d is %+v", i+1, s)
		}
		down, err := filepath.Glob("*_" + s.Name + ".down.sql")
		if err != nil || len(down) != 1 {
			t.Errorf("%s has no down file: %v, %v", s.Name, down, err)
		}
	}
}

func TestUpAndDown(t *testing.T) {
	t.Parallel()
	m, _, conn := migrator(t)
	all := int(migrations.Latest())
	mustVersion(t, m, 0)
	mustMigrate(t, 0, func() (int, error) { return m.Down(t.Context(), 1) })
	mustMigrate(t, all, func() (int, error) { return m.Up(t.Context()) })
	mustMigrate(t, 0, func() (int, error) { return m.Up(t.Context()) })
	mustVersion(t, m, migrations.Latest())
	mustMigrate(t, 1, func() (int, error) { return m.Down(t.Context(), 1) })
	mustVersion(t, m, migrations.Latest()-1)
	mustMigrate(t, 1, func() (int, error) { return m.Up(t.Context()) })
	mustMigrate(t, 2, func() (int, error) { return m.Down(t.Context(), 2) })
	mustVersion(t, m, migrations.Latest()-2)
	mustMigrate(t, all-2, func() (int, error) { return m.Down(t.Context(), all+7) })
	mustVersion(t, m, 0)
	if n := ours(t, conn); n != 0 {
		t.Errorf("%d things are left after the last down", n)
	}
	if _, err := m.Down(t.Context(), 0); err == nil {
		t.Error("down 0 is not refused")
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	m, _, _ := migrator(t)
	applied := func() (list []bool) {
		steps, err := m.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps.Steps {
			list = append(list, s.Applied)
		}
		return list
	}
	want := make([]bool, migrations.Latest())
	mustEqual(t, "never migrated", applied(), want)
	mustMigrate(t, len(want), func() (int, error) { return m.Up(t.Context()) })
	mustMigrate(t, 1, func() (int, error) { return m.Down(t.Context(), 1) })
	for i := range len(want) - 1 {
		want[i] = true
	}
	mustEqual(t, "one taken back", applied(), want)
}

var restrict = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`)

// dump returns the pg_dump -s of a database, including our objects.
func dump(t *testing.T, url string) string {
	t.Helper()
	program := dbtest.Program(t, url, "pg_dump")
	out, err := exec.CommandContext(t.Context(), program, "-s", "-d", url).Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return restrict.ReplaceAllString(string(out), "")
}

// OpenTera's schema is byte-identical after migrate down, the first time and the second.
func TestDownLeavesNoTrace(t *testing.T) {
	t.Parallel()
	m, url, conn := migrator(t)
	before := dump(t, url)
	if !strings.Contains(before, "CREATE TABLE public.t_sites") {
		t.Fatalf("that is no dump of OpenTera: %.300s", before)
	}
	for range 2 {
		mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Up(t.Context()) })
		execOn(t, conn, "UPDATE t_sites SET site_name = site_name || '!'; DELETE FROM t_users_preferences")
		if during := dump(t, url); !strings.Contains(during, "CREATE SCHEMA terasocket") || !strings.Contains(during, "CREATE TRIGGER terasocket_") {
			t.Error("migrate up does not show in the dump")
		}
		mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Down(t.Context(), 99) })
		if after := dump(t, url); after != before {
			t.Fatalf("the schema has changed:\n%s", firstDifference(before, after))
		}
	}
}

func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return "was " + la[i] + "\nis  " + lb[i]
		}
	}
	return "one is longer"
}

// OpenTera's tables are not changed while terasocket is installed either, except for triggers and indexes of our name.
func TestUpAddsTriggersAndIndexesOnly(t *testing.T) {
	t.Parallel()
	m, _, conn := migrator(t)
	const objects = `SELECT coalesce(string_agg(o, E'\n' ORDER BY o), '') FROM (
		SELECT format('%s.%s %s %s', c.oid::regclass, a.attname, a.atttypid::regtype, a.attnotnull) o FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'public'::regnamespace AND c.relname !~ '^terasocket_'
		UNION ALL SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL SELECT format('%s on %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE tgname !~ '^terasocket_' AND tgrelid::regclass::text ~ '^t_' AND NOT tgisinternal
		UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace) x`
	before := oneOn[string](t, conn, objects)
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Up(t.Context()) })
	if after := oneOn[string](t, conn, objects); after != before {
		t.Error(firstDifference(before, after))
	}
}

// An obstacle fails a migration as a whole; earlier ones stay, and nothing is dirty.
func TestFailedMigrationLeavesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, obstacle, remove string
		applied                int
	}{
		{"table of 0001", "CREATE SCHEMA terasocket; CREATE TABLE terasocket.filling ()", "DROP TABLE terasocket.filling", 0},
		{"table of 0002", "CREATE SCHEMA terasocket; CREATE TABLE terasocket.more ()", "DROP TABLE terasocket.more", 1},
		{"function", "CREATE SCHEMA terasocket; CREATE VIEW terasocket.v AS SELECT 1 AS one; CREATE FUNCTION terasocket.fill(batch integer) RETURNS SETOF terasocket.v LANGUAGE sql AS 'SELECT 1'; " +
			"CREATE VIEW public.mine AS SELECT * FROM terasocket.fill(1)", "DROP VIEW mine", 2},
		{"trigger", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER terasocket_update AFTER UPDATE ON t_sessions EXECUTE FUNCTION f(); " +
			"CREATE SCHEMA terasocket; CREATE FUNCTION terasocket.missing_triggers() RETURNS TABLE (table_name text) LANGUAGE sql AS 'SELECT 1::text'", "DROP FUNCTION f CASCADE", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			files := standIn()
			if tt.name == "trigger" {
				files["functions/attach.sql"] = file(strings.Replace(string(files["functions/attach.sql"].Data), "AND g.tgname = 'terasocket_update'", "AND g.tgfoid = to_regproc('terasocket.capture_' || t.table_name)", 1))
			}
			m, _, conn := standingIn(t, files)
			execOn(t, conn, tt.obstacle)
			n, err := m.Up(t.Context())
			if err == nil || n != tt.applied || !strings.Contains(err.Error(), "already exists") && !strings.Contains(err.Error(), "depend") {
				t.Errorf("%d migrations (want %d), %v", n, tt.applied, err)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("the message is too long for people: %s", err)
			}
			mustVersion(t, m, uint(tt.applied))
			execOn(t, conn, tt.remove)
			mustMigrate(t, 2-tt.applied, func() (int, error) { return m.Up(t.Context()) })
			if status, err := m.Status(t.Context()); err != nil || status.Functions != "current" || status.Unfinished != "" {
				t.Errorf("%+v, %v", status, err)
			}
		})
	}
}

// The error of a dirty database names the two commands that repair it, and they do.
func TestDirty(t *testing.T) {
	t.Parallel()
	m, url, conn := migrator(t)
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Up(t.Context()) })
	last := int(migrations.Latest())
	execOn(t, conn, "UPDATE terasocket.schema_migrations SET dirty = true")
	_, versionErr := m.Version(t.Context())
	_, statusErr := m.Status(t.Context())
	_, upErr := m.Up(t.Context())
	_, downErr := m.Down(t.Context(), 1)
	for _, err := range []error{versionErr, statusErr, upErr, downErr, migrations.Check(t.Context(), conn), migrations.Up(t.Context(), url)} {
		if !errors.Is(err, migrations.ErrDirty) {
			t.Fatalf("%v", err)
		}
		for _, part := range []string{fmt.Sprintf("at version %d", last), fmt.Sprintf("`terasocket migrate force %d`, then `terasocket migrate up`", last-1),
			fmt.Sprintf("`terasocket migrate force %d` instead", last)} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in %q", part, err)
			}
		}
	}
	// the migration is complete: the first advice says so, the second repairs it
	if err := m.Force(t.Context(), last-1); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("%v", err)
	}
	if err := m.Force(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	mustVersion(t, m, migrations.Latest())
	mustMigrate(t, 0, func() (int, error) { return m.Up(t.Context()) })
}

// Interrupted in the last step down, golang-migrate leaves version -1.
func TestDirtyAtNothing(t *testing.T) {
	t.Parallel()
	m, _, conn := migrator(t)
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Up(t.Context()) })
	execOn(t, conn, "UPDATE terasocket.schema_migrations SET dirty = true, version = -1")
	_, err := m.Version(t.Context())
	for _, err := range []error{err, migrations.Check(t.Context(), conn)} {
		if !errors.Is(err, migrations.ErrDirty) || !strings.Contains(err.Error(), "`terasocket migrate force 0`") {
			t.Errorf("%v", err)
		}
	}
}

func TestForce(t *testing.T) {
	t.Parallel()
	m, _, _ := migrator(t)
	for _, v := range []int{-1, int(migrations.Latest()) + 1} {
		if err := m.Force(t.Context(), v); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("must be 0 to %d", migrations.Latest())) {
			t.Errorf("force %d: %v", v, err)
		}
	}
	if err := m.Force(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "version 2 is not applied to this database, which has no table terasocket.") {
		t.Errorf("%v", err)
	}
	if err := m.Force(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	mustVersion(t, m, 0)
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Up(t.Context()) })
	if err := m.Force(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	mustVersion(t, m, 2)
}

// Ctrl-C leaves what is done, and says how to go on.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	m, _, _ := migrator(t)
	ctx, cancel := context.WithCancel(t.Context())
	m.Progress = func(line string) { cancel() }
	if _, err := m.Up(ctx); err == nil || !strings.Contains(err.Error(), "interrupted: ") || !strings.Contains(err.Error(), "run `terasocket migrate up` again, it continues here") {
		t.Errorf("%v", err)
	}
	mustMigrate(t, 0, func() (int, error) { return m.Up(t.Context()) })
}

func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	m, _, conn := migrator(t)
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Up(t.Context()) })
	execOn(t, conn, "UPDATE terasocket.schema_migrations SET version = 99")
	_, upErr := m.Up(t.Context())
	_, downErr := m.Down(t.Context(), 1)
	for _, err := range []error{upErr, downErr} {
		if !errors.Is(err, migrations.ErrAhead) {
			t.Errorf("%v", err)
		}
	}
	mustVersion(t, m, 99)
}

// A second migration waits for the first one, but not for ever.
func TestAnotherMigration(t *testing.T) {
	t.Parallel()
	m, _, conn := migrator(t)
	if m.LockTimeout != 10*time.Second {
		t.Errorf("the default is %s", m.LockTimeout)
	}
	execOn(t, conn, "SELECT pg_advisory_lock(hashtextextended('terasocket migrate', 0))")
	m.LockTimeout = 50 * time.Millisecond
	for _, err := range []error{second(m.Up(t.Context())), second(m.Down(t.Context(), 1)), m.Force(t.Context(), 1)} {
		if want := fmt.Sprintf("another migration is running (process %d of role ", conn.PgConn().PID()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

// Several gateways that migrate at start wait for each other.
func TestMigratorsAtOnce(t *testing.T) {
	t.Parallel()
	_, url, conn := migrator(t)
	var applied [4]int
	var errs [4]error
	var wg sync.WaitGroup
	for i := range applied {
		wg.Go(func() {
			m, err := migrations.New(t.Context(), url)
			if err == nil {
				m.LockTimeout = time.Minute // on a busy machine each takes seconds
				applied[i], err = m.Up(t.Context())
			}
			errs[i] = err
		})
	}
	wg.Wait()
	total := 0
	for i := range applied {
		total += applied[i]
		if errs[i] != nil || applied[i] != 0 && applied[i] != int(migrations.Latest()) {
			t.Errorf("%d migrations, %v", applied[i], errs[i])
		}
	}
	if total != int(migrations.Latest()) {
		t.Errorf("%d migrations in all", total)
	}
	if err := migrations.Check(t.Context(), conn); err != nil {
		t.Error(err)
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	if _, err := migrations.New(t.Context(), dbtest.New(t, dbtest.Empty())); !errors.Is(err, migrations.ErrNotOpenTera) {
		t.Errorf("an empty database: %v", err)
	}
	if _, err := migrations.New(t.Context(), "postgres://127.0.0.1:1/nothing"); err == nil || !strings.Contains(err.Error(), "the database cannot be reached") {
		t.Errorf("no server: %v", err)
	}
	if _, err := migrations.New(t.Context(), "postgres://%%"); err == nil || !strings.Contains(err.Error(), "read the database URL") {
		t.Errorf("no URL: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := migrations.Up(ctx, dbtest.New(t, unmigrated())); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
