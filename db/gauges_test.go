package db_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// gathered are the gauges as a scrape gets them; one that is absent is not in it.
func gathered(t *testing.T, g *db.Gauges) map[string]float64 {
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
	t.Parallel()
	url := dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up))
	pool, conn := dbtest.Pool(t, url), dbtest.Conn(t, url)
	empty := gathered(t, db.NewGauges(pool))
	for _, name := range []string{"terasocket_log_rows", "terasocket_log_oldest_seconds", "terasocket_capture_errors_total"} {
		if v, isThere := empty[name]; !isThere || v != 0 {
			t.Errorf("%s of an empty log: %v", name, empty)
		}
	}
	for _, sql := range []string{
		"UPDATE t_sites SET site_name = 'a' WHERE id_site = 1",
		"UPDATE t_sites SET site_name = 'b' WHERE id_site = 1",
		"UPDATE terasocket.events SET at = now() - interval '1 hour' WHERE seq = (SELECT min(seq) FROM terasocket.events)",
		"SELECT terasocket.capture_failed('t_sites', 'UPDATE', '53100', 'no room', '')",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	g := db.NewGauges(pool)
	got := gathered(t, g)
	if got["terasocket_database_up"] != 1 || got["terasocket_log_rows"] != 2 || got["terasocket_capture_errors_total"] != 1 ||
		got["terasocket_log_oldest_seconds"] < 3600 || got["terasocket_log_oldest_seconds"] > 3700 {
		t.Errorf("%v", got)
	}
	if usage, isThere := got["terasocket_notify_queue_usage_ratio"]; !isThere || usage < 0 || usage > 1 {
		t.Errorf("notify queue: %v", got)
	}
	// not asked for again at once
	if _, err := conn.Exec(t.Context(), "UPDATE t_sites SET site_name = 'c' WHERE id_site = 1"); err != nil {
		t.Fatal(err)
	}
	if again := gathered(t, g); again["terasocket_log_rows"] != 2 {
		t.Errorf("the database was asked again: %v", again)
	}
}

// A role that may not see how many errors of capture there are still sees the rest; it is not told that there are none.
func TestGaugesOfARoleWithFewRights(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up)))
	role := fmt.Sprintf("terasocket_gauges_%d", rand.Uint64())
	for _, sql := range []string{"CREATE ROLE " + role + " LOGIN", "GRANT USAGE ON SCHEMA terasocket TO " + role, "GRANT SELECT ON terasocket.events TO " + role} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
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
	got := gathered(t, db.NewGauges(pool))
	if _, isThere := got["terasocket_capture_errors_total"]; isThere || got["terasocket_database_up"] != 1 || len(got) != 4 {
		t.Errorf("%v", got)
	}
}

// A database that does not answer costs a scrape 2 s at most, and takes the values away.
func TestGaugesWithoutDatabase(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
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
	g := db.NewGauges(pool)
	began := time.Now()
	got := gathered(t, g)
	if took := time.Since(began); took > 5*time.Second {
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

// The names of the counters are as Prometheus wants them.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	db.NewMetrics(registry)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// What the URL says of the pool holds; what it does not say is set.
func TestOpen(t *testing.T) {
	t.Parallel()
	base := dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up))
	for _, tt := range []struct {
		parameters map[string]string
		conns      int32
		timeout    time.Duration
		mode       pgx.QueryExecMode
	}{
		{map[string]string{"pool_max_conns": "2"}, 2, 5 * time.Second, pgx.QueryExecModeCacheStatement},
		{map[string]string{"pool_max_conns": "20", "connect_timeout": "3"}, 20, 3 * time.Second, pgx.QueryExecModeCacheStatement},
		{map[string]string{"default_query_exec_mode": "simple_protocol"}, 8, 5 * time.Second, pgx.QueryExecModeSimpleProtocol},
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		for key, value := range tt.parameters {
			query.Set(key, value)
		}
		u.RawQuery = query.Encode()
		pool, err := db.Open(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		got := pool.Config()
		if got.MaxConns < tt.conns || tt.conns < 8 && got.MaxConns != tt.conns || got.ConnConfig.ConnectTimeout != tt.timeout ||
			got.ConnConfig.DefaultQueryExecMode != tt.mode || got.PingTimeout != 2*time.Second {
			t.Errorf("%v: %d connections, %v, %v, ping %v", tt.parameters, got.MaxConns, got.ConnConfig.ConnectTimeout, got.ConnConfig.DefaultQueryExecMode, got.PingTimeout)
		}
		pool.Close()
	}
}
