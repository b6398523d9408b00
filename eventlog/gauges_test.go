package eventlog_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/db/dbtest"
	"terasocket/eventlog"
)

// gathered returns the gauges as a scrape sees them, without those that are absent.
func gathered(t *testing.T, g *eventlog.Gauges) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(g)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	values := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		values[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return values
}

func TestGauges(t *testing.T) {
	g := setup(t, options{})
	g.publish(g.pool, "1", "2", "3")
	g.mustHear("1", "2", "3")
	g.newEpoch()
	g.trim("1")
	g.exec("UPDATE terasocket.events SET at = now() - interval '1 hour' WHERE seq = (SELECT min(seq) FROM terasocket.events)")
	g.exec("INSERT INTO terasocket.set_aside (object_type, id, sqlstate, message) VALUES ('session', 1, '57014', '')")
	g.exec("SELECT terasocket.capture_failed('t_sites', 'UPDATE', '53100', 'no room', '', NULL, NULL)")
	// inserted directly, without a notification, so that nobody announces it
	g.exec("INSERT INTO terasocket.changes (at, what, op, ids) VALUES (now() - interval '10 minutes', 'site', 'U', '{1}'), (now(), 'site', 'U', '{2}')")
	held := scan[float64](g, "SELECT count(*) FROM terasocket.events")
	gauges := eventlog.NewGauges(g.pool)
	got := gathered(t, gauges)
	between := func(name string, low, high float64) {
		t.Helper()
		if v, isThere := got[name]; !isThere || v < low || v > high {
			t.Errorf("%s is %v, want %v to %v", name, v, low, high)
		}
	}
	between("terasocket_database_up", 1, 1)
	between("terasocket_log_rows", held, held)
	between("terasocket_log_oldest_seconds", 3600, 3700)
	between("terasocket_capture_errors_total", 1, 1)
	between("terasocket_changes_waiting", 2, 2)
	between("terasocket_changes_oldest_seconds", 600, 700)
	between("terasocket_set_aside_objects", 1, 1)
	between("terasocket_notify_queue_usage_ratio", 0, 1)
	// cached
	g.exec("DELETE FROM terasocket.set_aside")
	if again := gathered(t, gauges); again["terasocket_set_aside_objects"] != 1 {
		t.Errorf("the database was asked again: %v", again)
	}
}

// A role that may not read the sequence of capture errors still sees the other gauges, and no false zero.
func TestGaugesOfARoleWithFewRights(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, migrated()))
	role := fmt.Sprintf("terasocket_gauges_%d", rand.Uint64())
	for _, sql := range []string{"CREATE ROLE " + role + " LOGIN", "GRANT USAGE ON SCHEMA terasocket TO " + role, "GRANT SELECT ON ALL TABLES IN SCHEMA terasocket TO " + role} {
		dbtest.Exec(t, conn, sql)
	}
	t.Cleanup(func() { // conn is closed later
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	config, err := pgxpool.ParseConfig(conn.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.User = role
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	got := gathered(t, eventlog.NewGauges(pool))
	if _, isThere := got["terasocket_capture_errors_total"]; isThere || got["terasocket_database_up"] != 1 || len(got) != 7 {
		t.Errorf("%v", got)
	}
}

// A database that does not answer delays a scrape by at most 2 s, and the values are absent.
func TestGaugesWithoutDatabase(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	target := url.URL{Scheme: "postgres", User: url.User("nobody"), Host: silent.Addr().String(), Path: "/x"}
	pool, err := pgxpool.New(t.Context(), target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	g := eventlog.NewGauges(pool)
	began := time.Now()
	got := gathered(t, g)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the scrape took %v", took)
	}
	if up, isThere := got["terasocket_database_up"]; !isThere || up != 0 {
		t.Errorf("%v", got)
	}
	for name := range got {
		if strings.Contains(name, "log") || strings.Contains(name, "capture") || strings.Contains(name, "notify") {
			t.Errorf("%s is there without a database", name)
		}
	}
}
