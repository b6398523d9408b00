package dbtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"terasocket/db/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

func TestOpenTera(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, dbtest.OpenTera("opentera")))
	var users int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM t_users WHERE deleted_at IS NULL").Scan(&users); err != nil || users != 40 {
		t.Errorf("%d users, %v", users, err)
	}
}

func TestQuickPasswords(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, dbtest.OpenTera("quick", dbtest.QuickPasswords)))
	var slow int
	err := conn.QueryRow(t.Context(), `SELECT count(*) FROM (SELECT user_password FROM t_users UNION ALL
		SELECT participant_password FROM t_participants) p (hash) WHERE hash NOT LIKE '$2b$04$%'`).Scan(&slow)
	if err != nil || slow != 0 {
		t.Errorf("%d slow passwords, %v", slow, err)
	}
}

// Each test has its own rows.
func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	template := dbtest.OpenTera("opentera")
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Pool(t, dbtest.New(t, template))
			tag, err := pool.Exec(t.Context(), "UPDATE t_sites SET site_name = 'changed' WHERE site_name <> 'changed'")
			if err != nil || tag.RowsAffected() != 3 {
				t.Errorf("changed %d sites, %v", tag.RowsAffected(), err)
			}
		})
	}
}

// Changes of rows and connections in a lent database are undone for the next test; a database with other changes is not lent again.
func TestLend(t *testing.T) {
	t.Parallel()
	template := dbtest.OpenTera("opentera")
	var pid uint32 // of a connection that must be reused
	for _, sql := range []string{"UPDATE t_sites SET site_name = 'changed'", "SET work_mem = '1MB'", "BEGIN; DELETE FROM t_sessions_participants",
		"INSERT INTO t_server_settings SELECT 900, 'new', 'new', 1", "CREATE TEMP TABLE t_sites (site_name text)", "",
		"TRUNCATE t_sites CASCADE", "ALTER TABLE t_sites DROP COLUMN site_name", "CREATE TABLE more ()", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 64', current_database()); END $$", "ALTER TABLE t_users DISABLE TRIGGER ALL", ""} {
		t.Run(sql, func(t *testing.T) {
			_, conns := dbtest.Lend(t, template, 1)
			if pid != 0 && conns[0].PgConn().PID() != pid {
				t.Error("another connection")
			}
			state := dbtest.One[string](t, conns[0], `SELECT concat_ws(' ', (SELECT count(*) FROM t_sites WHERE site_name <> 'changed'), (SELECT count(*) > 0 FROM t_sessions_participants),
				(SELECT count(*) FROM t_server_settings WHERE id_server_settings = 900), current_setting('work_mem'), to_regclass('more'),
				(SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'), (SELECT count(*) FROM pg_proc WHERE proname = 'f'))`)
			if state != "3 t 0 4MB 0 0" {
				t.Errorf("the database comes as %q", state)
			}
			dbtest.Exec(t, conns[0], sql)
			if pid = conns[0].PgConn().PID(); strings.Contains(sql, "TRUNCATE") || strings.Contains(sql, "CREATE") || strings.Contains(sql, "ALTER") {
				pid = 0
			}
		})
	}
	_, one := dbtest.Lend(t, template, 1)
	_, other := dbtest.Lend(t, template, 1)
	if one[0].PgConn().PID() == other[0].PgConn().PID() {
		t.Error("two tests share a database at the same time")
	}
}

// Two listeners on the same channel in two databases each receive only the notifications of their own database.
func TestNotifyStaysInItsDatabase(t *testing.T) {
	t.Parallel()
	var bothListen sync.WaitGroup
	bothListen.Add(2)
	for _, me := range []string{"one", "two"} {
		t.Run(me, func(t *testing.T) {
			t.Parallel()
			url := dbtest.New(t, dbtest.Empty())
			listener, sender := dbtest.Conn(t, url), dbtest.Conn(t, url)
			if _, err := listener.Exec(t.Context(), "LISTEN terasocket"); err != nil {
				t.Fatal(err)
			}
			bothListen.Done()
			bothListen.Wait()
			for i := range 50 {
				if _, err := sender.Exec(t.Context(), "SELECT pg_notify('terasocket', $1)", fmt.Sprint(me, i)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 50 { // exactly what was sent here is received, in order
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				n, err := listener.WaitForNotification(ctx)
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprint(me, i); n.Payload != want {
					t.Fatalf("received %q, want %q", n.Payload, want)
				}
			}
		})
	}
}

func TestFillRunsOnce(t *testing.T) {
	t.Parallel()
	var fills atomic.Int32
	template := dbtest.Template{Name: "once", Fill: func(ctx context.Context, url string) error {
		fills.Add(1)
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "CREATE TABLE filled AS SELECT 1 AS n")
		return err
	}}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			conn, err := pgx.Connect(t.Context(), dbtest.New(t, template))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(context.Background())
			if _, err := conn.Exec(t.Context(), "INSERT INTO filled VALUES (2)"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("filled %d times", n)
	}
}

// The database is dropped with its test, even while a client is connected.
func TestDropped(t *testing.T) {
	t.Parallel()
	var url string
	var left *pgx.Conn
	t.Run("inner", func(t *testing.T) {
		url = dbtest.New(t, dbtest.Empty())
		var err error
		if left, err = pgx.Connect(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	})
	defer left.Close(context.Background())
	if err := left.Ping(t.Context()); err == nil {
		t.Error("the connection survived its database")
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		conn.Close(t.Context())
		t.Fatal("the database is still there")
	}
	if !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
}

// An unreachable server fails the test; it is not skipped.
func TestNoServerFails(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestOpenTera$", "-test.v")
	cmd.Env = append(os.Environ(), "DATABASE_URL=postgres://nobody@127.0.0.1:1/none?connect_timeout=2")
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatalf("err = %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- FAIL: TestOpenTera") || !strings.Contains(string(out), "connect to the test server") {
		t.Errorf("output:\n%s", out)
	}
}

func BenchmarkNew(b *testing.B) {
	template := dbtest.OpenTera("bench")
	dbtest.New(b, template)
	for b.Loop() {
		dbtest.New(b, template)
	}
}
