package migrations_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestMain(m *testing.M) {
	// golang-migrate leaves the goroutines that read ahead when a migration fails; the command ends then
	goleak.VerifyTestMain(dbtest.Suite(m),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).readUp"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).readUp.func2"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).read"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migrate).readDown"),
		goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migration).Buffer"))
}

// fixture is a migrated OpenTera database of a test, with the demo installation, and a connection of OpenTera's role.
type fixture struct {
	testing.TB
	url      string
	conn     *pgx.Conn
	seen     int64 // seq of the last event that log() returned
	isBroken bool  // the test provokes capture errors
}

// recorded is a row of the event log.
type recorded struct {
	Seq        int64
	Op         string
	ObjectType string
	ID         *int64
	Topic      string
	Body       object
	Audience   string
	Former     string
	FormerBody object
}

type object = map[string]any

// String is what a test compares: operation, type and id.
func (e recorded) String() string {
	if e.ID == nil {
		return fmt.Sprintf("%s %s -", e.Op, e.ObjectType)
	}
	return fmt.Sprintf("%s %s %d", e.Op, e.ObjectType, *e.ID)
}

func migrated() dbtest.Template { return dbtest.OpenTera("migrated", migrations.Up) }

// setup makes the fixture. When the test ends, terasocket.pending and terasocket.capture_errors must be empty, unless the
// test has set isBroken.
func setup(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t, url: dbtest.New(t, migrated())}
	f.conn = dbtest.Conn(t, f.url)
	t.Cleanup(f.verify)
	return f
}

func (f *fixture) verify() {
	if f.conn.IsClosed() || f.Failed() || f.isBroken {
		return
	}
	ctx := context.Background()
	var pending int
	var failures []string
	if err := f.conn.QueryRow(ctx, "SELECT count(*) FROM terasocket.pending").Scan(&pending); err != nil {
		f.Errorf("look at terasocket.pending: %v", err)
	} else if pending > 0 {
		f.Errorf("%d rows are left in terasocket.pending", pending)
	}
	err := f.conn.QueryRow(ctx, `SELECT coalesce(array_agg(concat_ws(' ', op, table_name, message, context)), '{}') FROM terasocket.capture_errors`).Scan(&failures)
	if err != nil || len(failures) > 0 {
		f.Errorf("capture errors: %q, %v", failures, err)
	}
}

// exec runs statements, which must succeed. Several statements in one string without BEGIN are one transaction.
func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	execOn(f, f.conn, sql, args...)
}

func execOn(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
}

// one is the single value of a query.
func one[T any](f *fixture, sql string, args ...any) T {
	f.Helper()
	return oneOn[T](f, f.conn, sql, args...)
}

func oneOn[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	// the statement is parsed afresh each time: tests change the tables below it
	if err := conn.QueryRow(t.Context(), sql, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&v); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	return v
}

// log returns the events recorded since the last call, in order.
func (f *fixture) log() []recorded {
	f.Helper()
	rows, err := f.conn.Query(f.Context(), `SELECT seq, coalesce(op, ''), coalesce(object_type, ''), object_id, topic, body, audience::text,
		coalesce(former::text, ''), former_body FROM terasocket.events WHERE seq > $1 ORDER BY seq`, f.seen)
	if err != nil {
		f.Fatalf("read the event log: %v", err)
	}
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[recorded])
	if err != nil {
		f.Fatalf("read the event log: %v", err)
	}
	if len(events) > 0 {
		f.seen = events[len(events)-1].Seq
	}
	return events
}

// expect runs statements and compares the events that they record.
func (f *fixture) expect(sql string, want ...string) []recorded {
	f.Helper()
	f.log()
	f.exec(sql)
	events := f.log()
	got := make([]string, len(events))
	for i, e := range events {
		got[i] = e.String()
	}
	if !slices.Equal(got, want) {
		f.Errorf("%.300s\nrecorded %q\nwant     %q", sql, got, want)
	}
	return events
}

// expectOne is expect for statements that must record one event.
func (f *fixture) expectOne(sql, want string) recorded {
	f.Helper()
	events := f.expect(sql, want)
	if len(events) != 1 {
		f.FailNow()
	}
	return events[0]
}

// seenBy returns the users that hold routing keys, in order.
func (f *fixture) seenBy(keys string) []int32 {
	f.Helper()
	if keys == "" {
		return nil
	}
	ids := one[[]int32](f, "SELECT coalesce((SELECT ids FROM terasocket.audience(ARRAY[$1])), '{}')", keys)
	slices.Sort(ids)
	return ids
}

// hears returns who receives the body of e, and who receives its DB_DELETE instead.
func (f *fixture) hears(e recorded) (body, gone []int32) {
	f.Helper()
	body = f.seenBy(e.Audience)
	for _, id := range f.seenBy(e.Former) {
		if !slices.Contains(body, id) {
			gone = append(gone, id)
		}
	}
	return body, gone
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
