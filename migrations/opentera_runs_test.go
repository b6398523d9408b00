package migrations_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// mainSession is what OpenTera's main thread keeps open as long as it runs: one idle transaction that has read and not written. It holds
// ACCESS SHARE on each of the tables here, as it does on 15 to 33 in production.
func mainSession(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	config := dbtest.Conn(t, url).Config().Copy()
	config.RuntimeParams["application_name"] = "OpenTera main"
	session, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	tables := oneOn[[]string](t, session, "SELECT array_agg(oid::regclass::text) FROM pg_class WHERE relkind = 'r' AND relname ~ '^t_' AND relnamespace = 'public'::regnamespace")
	execOn(t, session, "BEGIN")
	for _, table := range tables {
		execOn(t, session, "SELECT count(*) FROM "+table)
	}
	other := dbtest.Conn(t, url)
	if n := oneOn[int](t, other, `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
		WHERE a.application_name = 'OpenTera main' AND a.datname = current_database() AND a.state = 'idle in transaction' AND a.backend_xid IS NULL AND a.backend_xmin IS NULL
		AND l.mode = 'AccessShareLock' AND c.relkind = 'r' AND c.relname ~ '^t_'`); n < 15 {
		t.Fatalf("OpenTera's main session holds %d tables", n)
	}
	return session
}

// neighbours are clients of OpenTera that read and write until stop: none may wait a second for a lock.
func neighbours(t testing.TB, url string) (stop func()) {
	t.Helper()
	stopping := make(chan struct{})
	var all sync.WaitGroup
	for _, statements := range []string{
		"SELECT count(*) FROM t_users; SELECT session_name FROM t_sessions WHERE id_session = 1; SELECT count(*) FROM t_sites",
		"UPDATE t_sessions SET session_name = 'x' || clock_timestamp() WHERE id_session = 1",
		"BEGIN; UPDATE t_participants SET participant_name = 'x' || clock_timestamp() WHERE id_participant = 1; SELECT count(*) FROM t_services_roles; COMMIT",
	} {
		client := dbtest.Conn(t, url)
		execOn(t, client, "SET lock_timeout = '1s'") // tells waiting for a lock from a busy machine
		all.Go(func() {
			longest, err := again(t.Context(), client, statements, stopping)
			if err != nil {
				t.Errorf("beside: %s: %v", statements, err)
			}
			t.Logf("slowest %s: %.40s", longest.Round(time.Millisecond), statements)
		})
	}
	return func() { close(stopping); all.Wait() }
}

// OpenTera's main thread keeps one transaction open (bridge.md, "What else the live server showed"). `migrate up` succeeds beside it, the
// first time and for repairs.
func TestUpBesideOpenTera(t *testing.T) {
	t.Parallel()
	m, url, conn := migrator(t)
	m.LockTimeout = 3 * time.Second
	session := mainSession(t, url)
	stop := neighbours(t, url)
	defer stop()
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Up(t.Context()) })
	const index = "terasocket_t_sessions_users_id_session"
	for damage, what := range map[string]string{
		"ALTER TABLE t_sites DISABLE TRIGGER terasocket_update": "triggers are missing (1)",
		"DROP TRIGGER terasocket_update ON t_sites":             "triggers are missing (1)",
		`CREATE FUNCTION terasocket.other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; DROP TRIGGER terasocket_update ON t_sites;
			CREATE TRIGGER terasocket_update AFTER UPDATE ON t_sites EXECUTE FUNCTION terasocket.other()`: "triggers are missing (1)",
		"DROP INDEX " + index: "indexes are missing (1)",
		"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '" + index + "'::regclass": "indexes are missing (1)",
	} {
		if oneOn[int](t, conn, "SELECT current_setting('server_version_num')::integer / 10000") < 14 && strings.Contains(damage, "TRIGGER") && !strings.HasPrefix(damage, "DROP") {
			continue // needs DROP TRIGGER, and so a stopped OpenTera
		}
		execOn(t, session, "ROLLBACK")
		execOn(t, conn, damage)
		session = mainSession(t, url)
		if status, err := m.Status(t.Context()); err != nil || status.Unfinished != what {
			t.Errorf("%s: %+v, %v", damage, status, err)
		}
		mustMigrate(t, 0, func() (int, error) { return m.Up(t.Context()) })
		if status, err := m.Status(t.Context()); err != nil || status.Unfinished != "" {
			t.Errorf("%s: %+v, %v", damage, status, err)
		}
	}
	const broken = "SELECT count(*) FROM pg_class WHERE relname ~ '^terasocket_broken_'"
	mustEqual(t, "indexes left aside while OpenTera runs", oneOn[int](t, conn, broken), 1)
	execOn(t, session, "ROLLBACK")
	mustMigrate(t, 0, func() (int, error) { return m.Up(t.Context()) })
	mustEqual(t, "indexes left aside after it has stopped", oneOn[int](t, conn, broken), 0)
}

// While OpenTera runs, and something else blocks indexes, broken ones do not accumulate.
func TestBrokenIndexesBesideOpenTera(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	m.LockTimeout = 5 * time.Second
	session := mainSession(t, url)
	dump := dbtest.Conn(t, url)
	execOn(t, dump, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t_sites")
	// when there are too many, or when its time is over, depending on the machine
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "stop OpenTera's server, and run `terasocket migrate up`") &&
		!strings.Contains(err.Error(), "no lock within 5s") {
		t.Errorf("%v", err)
	}
	if n := oneOn[int](t, conn, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"); n > 6 {
		t.Errorf("%d broken indexes", n)
	}
	execOn(t, dump, "ROLLBACK")
	execOn(t, session, "ROLLBACK")
	mustUp(t, m)
	mustEqual(t, "broken indexes", oneOn[int](t, conn, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0)
}

// While OpenTera runs, `migrate down` says who is in the way and since when, changes nothing, and makes nobody wait.
func TestDownBesideOpenTera(t *testing.T) {
	t.Parallel()
	m, url, conn := migrator(t)
	mustUp(t, m)
	session := mainSession(t, url)
	before := dump(t, url)
	stop := neighbours(t, url)
	defer stop()
	m.LockTimeout = 3 * time.Second
	pid := session.PgConn().PID()
	since := oneOn[string](t, conn, "SELECT to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM pg_stat_activity WHERE pid = "+fmt.Sprint(pid))
	_, err := m.Down(t.Context(), 99)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{fmt.Sprintf("pid %d (OpenTera main, idle in transaction since %s)", pid, since), "stop OpenTera's server", "nothing has changed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if after := dump(t, url); after != before {
		t.Errorf("it has changed: %s", firstDifference(before, after))
	}
	execOn(t, session, "ROLLBACK")
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Down(t.Context(), 99) })
	if n := ours(t, conn); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// Dropping may take long, on a slow server or with many objects: nobody waits for that, unless there is no other session.
func TestDownThatTakesLong(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	mustUp(t, m)
	execOn(t, conn, `CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); END';
		CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('DROP TRIGGER') EXECUTE FUNCTION public.slow()`)
	before := dump(t, url)
	m.LockTimeout = time.Second
	stop := neighbours(t, url)
	_, err := m.Down(t.Context(), 99)
	stop()
	if err == nil || !strings.Contains(err.Error(), "nothing has changed") {
		t.Errorf("%v", err)
	}
	if after := dump(t, url); after != before {
		t.Errorf("it has changed: %s", firstDifference(before, after))
	}
	execOn(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	_ = conn.Close(t.Context())
	mustMigrate(t, 2, func() (int, error) { return m.Down(t.Context(), 99) })
}
