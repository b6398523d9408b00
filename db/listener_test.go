package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/db"
	"terasocket/db/dbtest"
)

// bundle is a listener on a database of its own.
type bundle struct {
	t        *testing.T
	url      string
	pool     *pgxpool.Pool
	listener *db.Listener
	metrics  *db.Metrics
	log      *dbtest.Log
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	b := &bundle{t: t, url: dbtest.New(t, dbtest.Empty()), metrics: db.NewMetrics(prometheus.NewRegistry()), log: &dbtest.Log{}}
	b.pool = dbtest.Pool(t, b.url)
	var err error
	b.listener, err = db.Listen(t.Context(), db.ListenerConfig{DatabaseURL: b.url, RetryMin: 10 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(b.log, nil)), Metrics: b.metrics})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- b.listener.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bundle) notify(channel, payload string) {
	b.t.Helper()
	dbtest.Exec(b.t, b.pool, "SELECT pg_notify($1, $2)", channel, payload)
}

// hear waits until n notifications were received.
func (b *bundle) hear(n int) {
	b.t.Helper()
	dbtest.Eventually(b.t, fmt.Sprint(n, " notifications"), func() bool { return testutil.ToFloat64(b.metrics.Notifications) >= float64(n) })
}

// start takes the gap that the listener reports at its start.
func (b *bundle) start() {
	b.t.Helper()
	<-b.listener.Changed()
	<-b.listener.Announced()
	hints := b.listener.TakeHints()
	if seq, isGap := b.listener.TakeAnnounced(); !hints.IsMore || hints.Since.IsZero() || seq != 0 || !isGap {
		b.t.Fatalf("at the start: %+v, seq %d, gap %t", hints, seq, isGap)
	}
}

func TestBothChannelsAreHeard(t *testing.T) {
	b := setup(t)
	b.start()
	b.notify("terasocket", `{"xid": "771", "what": "participant", "op": "U", "ids": [12]}`)
	b.notify("terasocket", `{"xid": "772", "what": "session", "op": "C"}`)
	b.notify("terasocket_log", `{"seq": 102}`)
	b.notify("terasocket_log", `{"seq": 101, "snapshot": "771:775:773"}`)
	b.hear(4)
	<-b.listener.Changed()
	<-b.listener.Announced()
	if hints := b.listener.TakeHints(); !slices.Equal(hints.XIDs, []uint64{771, 772}) || hints.IsMore || hints.Since.IsZero() {
		t.Errorf("%+v", hints)
	}
	if seq, isGap := b.listener.TakeAnnounced(); seq != 102 || isGap {
		t.Errorf("seq %d, gap %t", seq, isGap)
	}
	if hints := b.listener.TakeHints(); !hints.Since.IsZero() || hints.XIDs != nil {
		t.Errorf("taken twice: %+v", hints)
	}
	if seq, isGap := b.listener.TakeAnnounced(); seq != 0 || isGap {
		t.Errorf("taken twice: seq %d, gap %t", seq, isGap)
	}
	b.notify("terasocket", `{"what": "poll"}`)
	b.hear(5)
	if hints := b.listener.TakeHints(); !hints.IsMore || testutil.ToFloat64(b.metrics.Malformed) > 0 {
		t.Errorf("a gateway begins to poll: %+v", hints)
	}
}

// A gateway whose end takes too long closes what it has opened while Run still runs.
func TestCloseBesideRun(t *testing.T) {
	b := setup(t)
	b.start()
	b.notify("terasocket_log", `{"seq": 1}`)
	b.hear(1)
	b.listener.Close()
	b.notify("terasocket_log", `{"seq": 2}`)
	b.hear(2)
	if n := testutil.ToFloat64(b.metrics.Reconnects); n != 0 {
		t.Errorf("%v reconnects", n)
	}
}

func TestALostConnectionIsAGap(t *testing.T) {
	b := setup(t)
	b.start()
	before := time.Now()
	dbtest.Exec(t, b.pool, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'terasocket listener' AND datname = current_database()`)
	dbtest.Eventually(t, "it is connected again", func() bool { return testutil.ToFloat64(b.metrics.Reconnects) == 1 })
	<-b.listener.Changed()
	<-b.listener.Announced()
	if !b.listener.Connected() || !b.listener.Down().IsZero() {
		t.Error("reconnected, without a gap")
	}
	if hints := b.listener.TakeHints(); !hints.IsMore || hints.Since.Before(before) || hints.Since.After(time.Now()) {
		t.Errorf("hints after the gap: %+v", hints)
	}
	if _, isGap := b.listener.TakeAnnounced(); !isGap {
		t.Error("announcements may have been missed, without a gap")
	}
	b.notify("terasocket_log", `{"seq": 1}`)
	<-b.listener.Announced()
	if seq, isGap := b.listener.TakeAnnounced(); seq != 1 || isGap {
		t.Errorf("seq %d, gap %t", seq, isGap)
	}
}

// Anyone may NOTIFY: it makes the gateway look, is counted, and does not flood the log.
func TestForeignNotifications(t *testing.T) {
	b := setup(t)
	b.start()
	payloads := []string{"", "{", "null", "[]", `"x"`, "\u00e9", `{"xid": 1}`, `{"xid": "-1"}`, strings.Repeat("9", 7900),
		`{"xid": "18446744073709551615"}`, `{"seq": 0}`, `{"seq": -1}`, `{"seq": "1"}`}
	for _, channel := range []string{"terasocket", "terasocket_log"} {
		for _, payload := range payloads {
			b.notify(channel, payload)
		}
	}
	n := 2 * len(payloads)
	b.hear(n)
	if got := testutil.ToFloat64(b.metrics.Malformed); int(got) != n {
		t.Errorf("%v of %d were counted as malformed", got, n)
	}
	if got := b.log.Count("did not send"); got != 1 {
		t.Errorf("the log tells of them %d times", got)
	}
	if b.log.Count("9999") > 0 {
		t.Error("the log holds a payload")
	}
	if hints := b.listener.TakeHints(); !hints.IsMore || len(hints.XIDs) != 0 {
		t.Errorf("%+v", hints)
	}
	if seq, isGap := b.listener.TakeAnnounced(); seq != 0 || !isGap {
		t.Errorf("seq %d, gap %t", seq, isGap)
	}
}

func TestHintsAreBounded(t *testing.T) {
	b := setup(t)
	b.start()
	dbtest.Exec(t, b.pool, `SELECT pg_notify('terasocket', '{"xid": "' || x || '"}') FROM generate_series(1, 1000) x`)
	b.hear(1000)
	dbtest.Exec(t, b.pool, `SELECT pg_notify('terasocket', '{"xid": "' || x || '"}') FROM generate_series(1001, 1002) x`)
	b.hear(1002)
	if hints := b.listener.TakeHints(); !hints.IsMore || len(hints.XIDs) > 0 {
		t.Errorf("more: %t, %d transactions", hints.IsMore, len(hints.XIDs))
	}
}

func TestListenFailsAtOnceOnABadSetting(t *testing.T) {
	t.Parallel()
	metrics := db.NewMetrics(prometheus.NewRegistry())
	for name, url := range map[string]string{
		"not a URL":       "postgres://%zz",
		"nobody there":    "postgres://127.0.0.1:1/x?connect_timeout=1",
		"no such socket":  "postgres:///x?host=/nonexistent",
		"unknown setting": "postgres://127.0.0.1/x?sslmode=perhaps",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := db.Listen(t.Context(), db.ListenerConfig{DatabaseURL: url, Log: slog.New(slog.DiscardHandler), Metrics: metrics}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestThePoolMustLeadToTheSameDatabase(t *testing.T) {
	b := setup(t)
	if err := b.listener.MustShareDatabase(t.Context(), b.pool); err != nil {
		t.Error(err)
	}
	other := dbtest.Pool(t, dbtest.New(t, dbtest.Empty()))
	if err := b.listener.MustShareDatabase(t.Context(), other); err == nil || !strings.Contains(err.Error(), "--listen-database-url") {
		t.Errorf("another database: %v", err)
	}
	other.Close()
	if err := b.listener.MustShareDatabase(t.Context(), other); err == nil {
		t.Error("no error of a closed pool")
	}
}

// The names of the counters follow Prometheus' conventions.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	db.NewMetrics(registry)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// Pool settings in the URL win; others are set by default.
func TestOpen(t *testing.T) {
	t.Parallel()
	base := dbtest.New(t, dbtest.Empty())
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
