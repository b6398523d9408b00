package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"terasocket/db/dbtest"
)

// A transaction that holds a table keeps the migration from finishing, and nobody from writing; the next Up continues.
func TestUpContinues(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	m.LockTimeout = 300 * time.Millisecond
	holder := dbtest.Conn(t, url)
	execOn(t, holder, "SET application_name = 'long'; BEGIN; UPDATE t_sessions SET session_name = 'x' WHERE id_session = 1")
	n, err := m.Up(t.Context())
	if n != 2 || err == nil {
		t.Fatalf("%d, %v", n, err)
	}
	for _, want := range []string{"put triggers on t_sessions", "no lock within 300ms", "(long, idle in transaction", "run `terasocket migrate up` again, it continues here"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	execOn(t, conn, "UPDATE t_sites SET site_name = 'watched already' WHERE id_site = 1; UPDATE t_sessions SET session_name = 'y' WHERE id_session = 2")
	if n := oneOn[int](t, conn, "SELECT count(*) FROM terasocket.changes"); n != 1 {
		t.Errorf("%d changes", n)
	}
	status, err := m.Status(t.Context())
	if err != nil || status.Functions != "current" || status.Unfinished != "triggers are missing (1)" {
		t.Errorf("%+v, %v", status, err)
	}
	execOn(t, holder, "ROLLBACK")
	mustMigrate(t, 0, func() (int, error) { return m.Up(t.Context()) })
	if status, err := m.Status(t.Context()); err != nil || status.Unfinished != "" {
		t.Errorf("%+v, %v", status, err)
	}
}

// If a trigger was missing, everything is read again.
func TestMissingTrigger(t *testing.T) {
	t.Parallel()
	m, _, conn := standingIn(t, standIn())
	mustUp(t, m)
	for _, want := range []bool{false, true} {
		var isRead bool
		m.Progress = func(line string) { isRead = isRead || strings.HasSuffix(line, "still to read") }
		mustUp(t, m)
		if isRead != want {
			t.Errorf("read again: %t, want %t", isRead, want)
		}
		execOn(t, conn, "DROP TRIGGER IF EXISTS terasocket_update ON t_sites")
	}
}

// An operator who knows that something was missed can have everything read again.
func TestReadAgain(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	mustUp(t, m)
	m.ReadAgain = true
	var isRead bool
	m.Progress = func(line string) { isRead = isRead || strings.HasSuffix(line, "still to read") }
	mustUp(t, m)
	if !isRead || !oneOn[bool](t, conn, "SELECT fill_type IS NULL FROM terasocket.announcer") {
		t.Error("it was not read again, or not all of it")
	}
	execOn(t, dbtest.Conn(t, url), "BEGIN; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE")
	m.LockTimeout = 100 * time.Millisecond
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "begin to read OpenTera's objects again: no lock within 100ms") {
		t.Errorf("%v", err)
	}
}

// A gateway re-creates a trigger function at the same time without harm.
func TestUpBesideAGateway(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	mustUp(t, m)
	for range 3 {
		gateway := dbtest.Conn(t, url)
		execOn(t, gateway, "BEGIN; SELECT terasocket.attach_table('t_sites')")
		done := make(chan error, 1)
		go func() { done <- second(m.Up(t.Context())) }()
		dbtest.Eventually(t, "up waits for the gateway", func() bool {
			return oneOn[bool](t, conn, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))")
		})
		execOn(t, gateway, "COMMIT")
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// An old snapshot blocks the creation of indexes; the broken one that remains is dropped and created again.
func TestBrokenIndex(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	m.LockTimeout = 300 * time.Millisecond
	dump := dbtest.Conn(t, url)
	execOn(t, dump, "SET application_name = 'pg_dump'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t_sites")
	_, err := m.Up(t.Context())
	if err == nil || !strings.Contains(err.Error(), "index terasocket_t_sessions_name") || !strings.Contains(err.Error(), "(pg_dump, idle in transaction") {
		t.Fatalf("%v", err)
	}
	execOn(t, dump, "ROLLBACK")
	execOn(t, conn, "DROP INDEX IF EXISTS terasocket_t_sessions_name")
	// what a server killed in between leaves behind
	execOn(t, conn, "CREATE INDEX terasocket_t_sessions_name ON t_sessions (session_name); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'terasocket_t_sessions_name'::regclass")
	mustUp(t, m)
	if !oneOn[bool](t, conn, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'terasocket_t_sessions_name'::regclass") {
		t.Error("the index is broken")
	}
}

// The first fill waits for an announcement, and continues where it stopped.
func TestFillContinues(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	ctx, cancel := context.WithCancel(t.Context())
	m.Progress = func(line string) {
		if strings.HasSuffix(line, "still to read") {
			cancel()
		}
	}
	if _, err := m.Up(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if status, err := m.Status(t.Context()); err != nil || status.Unfinished != "not all objects are read" {
		t.Errorf("%+v, %v", status, err)
	}
	announcer := dbtest.Conn(t, url)
	execOn(t, announcer, "BEGIN; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE")
	m.LockTimeout = 100 * time.Millisecond
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "read OpenTera's objects: no lock within 100ms") {
		t.Errorf("%v", err)
	}
	execOn(t, announcer, "ROLLBACK")
	mustUp(t, m)
	if todo := oneOn[int](t, conn, "SELECT todo FROM terasocket.announcer"); todo != 0 {
		t.Errorf("%d are still to read", todo)
	}
}

// No transaction of OpenTera fails with a deadlock: the migrator gives up first.
func TestNoDeadlock(t *testing.T) {
	t.Parallel()
	m, url, _ := standingIn(t, standIn())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stop, done := make(chan struct{}), make(chan error, 2)
	for _, tables := range [][2]string{{"t_sites SET site_name = 'x'", "t_sessions SET session_name = 'x'"}, {"t_sessions SET session_name = 'y'", "t_sites SET site_name = 'y'"}} {
		conn := dbtest.Conn(t, url)
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				// different rows: the two never wait for each other
				key := map[bool]string{true: "1", false: "2"}
				first := tables[0] < tables[1]
				where := func(s string) string {
					if strings.HasPrefix(s, "t_sites") {
						return s + " WHERE id_site = " + key[first]
					}
					return s + " WHERE id_session = " + key[first]
				}
				if _, err := conn.Exec(ctx, "BEGIN; UPDATE "+where(tables[0])+"; SELECT pg_sleep(0.02); UPDATE "+where(tables[1])+"; COMMIT"); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	m.LockTimeout = time.Second
	for range 5 {
		// these two leave no moment at which nobody holds a table: giving up is right, a deadlock is not
		for _, err := range []error{second(m.Up(t.Context())), second(m.Down(t.Context(), 99))} {
			if err != nil && !strings.Contains(err.Error(), "no lock within 1s") {
				t.Error(err)
			}
		}
	}
	close(stop)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("a writer: %v", err)
		}
	}
}
