package migrations_test

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestMain(m *testing.M) {
	// golang-migrate leaves its read-ahead goroutines when a migration fails; the command exits then
	goleak.VerifyTestMain(dbtest.Suite(m),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).readUp"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).readUp.func2"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).read"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).readDown"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migration).Buffer"))
}

// fixture is a test's migrated OpenTera database with the demo installation, a connection of OpenTera's role, and one that announces.
type fixture struct {
	testing.TB
	url      string
	conn     *pgx.Conn
	teller   *pgx.Conn
	seen     int64         // seq of the last row that was read
	index    *access.Index // of all users, as of that row
	isBroken bool          // the test provokes errors of capture or announcements
}

type object = map[string]any

func migrated() dbtest.Template {
	from := unmigrated()
	return dbtest.Template{Name: "migrated", From: &from, Fill: migrations.Up}
}

// setup makes the fixture. At the end of the test no capture may have failed and nothing be set aside, unless the test has set isBroken.
func setup(t testing.TB) *fixture {
	t.Helper()
	url, conns := dbtest.Lend(t, migrated(), 2)
	return begin(t, url, conns[0], conns[1])
}

// alone is setup with an unused database.
func alone(t testing.TB) *fixture {
	t.Helper()
	url := dbtest.New(t, migrated())
	return begin(t, url, dbtest.Conn(t, url), dbtest.Conn(t, url))
}

func begin(t testing.TB, url string, conn, teller *pgx.Conn) *fixture {
	t.Helper()
	f := &fixture{TB: t, url: url, conn: conn, teller: teller}
	t.Cleanup(f.verify)
	f.skip()
	return f
}

func (f *fixture) verify() {
	if f.conn.IsClosed() || f.Failed() || f.isBroken {
		return
	}
	var failures []string
	err := f.conn.QueryRow(context.Background(), `SELECT coalesce(array_agg(f), '{}') FROM (
		SELECT concat_ws(' ', op, table_name, message, context) FROM terasocket.capture_errors UNION ALL
		SELECT concat_ws(' ', object_type, id, message) FROM terasocket.set_aside) e (f)`).Scan(&failures)
	if err != nil || len(failures) > 0 {
		f.Errorf("capture errors, or objects set aside: %q, %v", failures, err)
	}
}

// exec runs statements, which must succeed. Several statements in one string without BEGIN are one transaction.
func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	execOn(f, f.conn, sql, args...)
}

func execOn(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	dbtest.Exec(t, conn, sql, args...)
}

// one returns the single value of a query.
func one[T any](f *fixture, sql string, args ...any) T {
	f.Helper()
	return oneOn[T](f, f.conn, sql, args...)
}

func oneOn[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	// the statement is parsed each time, since tests alter its tables
	return dbtest.One[T](t, conn, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
}

// expect runs statements, and compares the database events that they lead to.
func (f *fixture) expect(sql string, want ...string) []recorded {
	f.Helper()
	f.log()
	f.exec(sql)
	return f.expectLog(sql, want...)
}

// expectLog compares the database events that are announced now.
func (f *fixture) expectLog(what string, want ...string) []recorded {
	f.Helper()
	events := f.log()
	got := make([]string, len(events))
	for i, e := range events {
		got[i] = e.String()
	}
	if !slices.Equal(got, want) {
		f.Errorf("%.300s\nannounced %q\nwant      %q", what, got, want)
	}
	return events
}

// expectOne is expect for statements that lead to one event.
func (f *fixture) expectOne(sql, want string) recorded {
	f.Helper()
	events := f.expect(sql, want)
	if len(events) != 1 {
		f.FailNow()
	}
	return events[0]
}

func mustSee(t testing.TB, what string, got []int32, want ...int32) {
	t.Helper()
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("%s: user %d is missing in %v", what, id, got)
		}
	}
}

func mustNotSee(t testing.TB, what string, got []int32, not ...int32) {
	t.Helper()
	for _, id := range not {
		if slices.Contains(got, id) {
			t.Errorf("%s: user %d must not be in %v", what, id, got)
		}
	}
}

func mustEqual(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
