package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
)

// asRole creates a role with the owner's rights, and returns the URL of a new database for this role and for its owner.
func asRole(t *testing.T) (roleURL, ownerURL, role string) {
	t.Helper()
	admin := dbtest.Conn(t, dbtest.New(t, dbtest.Empty())) // outlives the database that the role is connected to
	role = fmt.Sprintf("terasocket_fault_%d", rand.Uint64())
	run := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(context.Background(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	run(fmt.Sprintf("CREATE ROLE %s LOGIN IN ROLE %s", role, pgx.Identifier{admin.Config().User}.Sanitize()))
	t.Cleanup(func() {
		conn, err := pgx.ConnectConfig(context.Background(), admin.Config())
		if err == nil {
			_, err = conn.Exec(context.Background(), "DROP ROLE "+role)
			_ = conn.Close(context.Background())
		}
		if err != nil {
			t.Errorf("drop role: %v", err)
		}
	})
	ownerURL = dbtest.New(t, migrated())
	target := must(url.Parse(ownerURL))
	target.User = url.User(role)
	return target.String(), ownerURL, role
}

// writes changes a participant n times, one transaction each.
func writes(t *testing.T, pool *pgxpool.Pool, prefix string, n int) (names []string) {
	t.Helper()
	for i := range n {
		names = append(names, fmt.Sprintf("%s %d", prefix, i))
		rename(t, pool, 1, names[i])
	}
	return names
}

// mustHearLast reads names of a participant until the last of these. Earlier ones may be skipped, since changes announced
// together are one event, but none may follow a newer one.
func (s *socket) mustHearLast(names ...string) (last event.Received) {
	s.t.Helper()
	for heard := -1; heard < len(names)-1; {
		e, d := s.event()
		i := slices.IndexFunc(names, func(name string) bool { return strings.Contains(d.GetObjectValue(), `"participant_name": "`+name+`"`) })
		if d.GetType() != pb.DatabaseEvent_DB_UPDATE || i <= heard {
			s.t.Fatalf("received %s %s, want one of %q after number %d", d.GetType(), d.GetObjectValue(), names, heard)
		}
		heard, last = i, e
	}
	return last
}

// lockTable holds the strongest lock on a table until release is called.
func lockTable(t *testing.T, databaseURL, table string) (release func()) {
	t.Helper()
	conn := dbtest.Conn(t, databaseURL)
	dbtest.Exec(t, conn, "BEGIN; LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE")
	return func() {
		t.Helper()
		if _, err := conn.Exec(context.Background(), "COMMIT"); err != nil {
			t.Fatal(err)
		}
	}
}

// Another session locks the captured changes, or the log. OpenTera's writes go on; everything is announced after the lock is
// released.
func TestTheLogIsLocked(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	for _, table := range []string{"terasocket.events", "terasocket.changes"} {
		gateway.part(table, func(t *testing.T, gateway *served) {
			pool := dbtest.Pool(t, gateway.dbURL)
			paul := gateway.login(opentera.DemoProjectAdmin, "")
			paul.mustHearLast(writes(t, pool, "before "+table, 3)...)

			release := lockTable(t, gateway.dbURL, table)
			names := writes(t, pool, "while "+table, 3)
			lost := dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.capture_errors WHERE sqlstate = '55P03' AND announced_at IS NULL")
			if want := map[string]int64{"terasocket.changes": 3, "terasocket.events": 0}[table]; lost != want {
				t.Errorf("%d changes not captured properly, want %d", lost, want)
			}
			gateway.waitFor(is("0"), "terasocket_database_up") // the gauges query both, and do not wait
			release()
			paul.mustHearLast(names...)
			paul.mustHearLast(writes(t, pool, "after "+table, 3)...)
			dbtest.Eventually(t, "all is announced", func() bool {
				return dbtest.One[int64](t, pool, "SELECT (SELECT count(*) FROM terasocket.changes) + (SELECT count(*) FROM terasocket.capture_errors WHERE announced_at IS NULL)") == 0
			})
			gateway.waitFor(is(fmt.Sprint(lost)), "terasocket_capture_errors_total")
		})
	}
	gateway.part("the notify queue grows", theNotifyQueueGrows)
}

// Time-outs that administrators set for all roles must neither disconnect the gateway nor make it lose anything. When no connection is
// left, that is reported at start; later the gateway waits, and clients stay.
func TestLimitsOfTheRole(t *testing.T) {
	t.Parallel()
	roleURL, ownerURL, role := asRole(t)
	pool := dbtest.Pool(t, ownerURL)
	limit := func(n int) {
		t.Helper()
		dbtest.Exec(t, pool, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", role, n))
	}
	start := func() result {
		return command(t.Context(), map[string]string{"DATABASE_URL": roleURL}, "serve", "--plain-http", "--listen", "127.0.0.1:0", "--admin-listen", "")
	}
	limit(0)
	if got := start(); got.code != 1 || !strings.Contains(got.stderr, "no connection left") || !strings.Contains(got.stderr, "CONNECTION LIMIT") ||
		strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("with no connection: %+v", got)
	}
	limit(1)
	if got := start(); got.code != 1 || !strings.Contains(got.stderr, "connect the listener") || !strings.Contains(got.stderr, "no connection left") {
		t.Errorf("with one connection: %+v", got)
	}
	limit(-1)
	for _, setting := range []string{"statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout"} {
		if setting != "idle_session_timeout" || dbtest.One[int](t, pool, "SELECT current_setting('server_version_num')::int") >= 140000 {
			dbtest.Exec(t, pool, "ALTER ROLE "+role+" SET "+setting+" = '1s'")
		}
	}
	gateway := serve(t, roleURL)
	gateway.dbURL = ownerURL
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	paul.mustHearLast(writes(t, pool, "before", 3)...)

	release := lockTable(t, ownerURL, "terasocket.events")
	names := writes(t, pool, "while", 5)
	time.Sleep(2 * time.Second) // twice the limit, idle or waiting
	release()
	paul.mustHearLast(names...)
	paul.mustHearLast(writes(t, pool, "after", 3)...)
	gateway.waitReady(http.StatusOK, "ready")
	if n := gateway.value("terasocket_listener_reconnects_total"); n != "0" {
		t.Errorf("the LISTEN connection was lost %s times", n)
	}
	gateway.login(opentera.DemoSuperadmin, "")

	for _, left := range []int{0, 1} {
		address := gateway.address("user", opentera.DemoProjectAdminUUID)
		limit(left)
		dbtest.Exec(t, pool, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
		gateway.waitReady(http.StatusServiceUnavailable, "")
		if left == 0 {
			gateway.mustTurnAway(address)
		}
		names := writes(t, pool, fmt.Sprint("with ", left), 5)
		limit(-1)
		gateway.waitReady(http.StatusOK, "ready")
		paul.mustHearLast(names...)
	}
	paul.mustHearLast(writes(t, pool, "in the end", 3)...)
}

// A program that LISTENs and stays in a transaction lets the notification queue grow. That is visible, and does no harm yet.
func theNotifyQueueGrows(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	stuck := dbtest.Conn(t, gateway.dbURL)
	dbtest.Exec(t, stuck, "LISTEN elsewhere")
	dbtest.Exec(t, stuck, "BEGIN; SELECT 1")
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	dbtest.Exec(t, pool, "SELECT pg_notify('elsewhere', i || repeat('x', 7900)) FROM generate_series(1, 2000) i")
	gateway.waitFor(func(v string) bool { return v != "" && v != "0" }, "terasocket_notify_queue_usage_ratio")
	paul.mustHearLast(writes(t, pool, "beside", 5)...)
	if n := gateway.value("terasocket_listener_malformed_total"); n != "0" {
		t.Errorf("%s notifications of another channel were received", n)
	}
}
