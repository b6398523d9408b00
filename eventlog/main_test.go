package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/eventlog"
	"terasocket/migrations"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(dbtest.Suite(m))
}

func migrated() dbtest.Template { return dbtest.OpenTera("migrated", migrations.Up) }

// gateway announces and reads, without sockets.
type gateway struct {
	t        *testing.T
	url      string
	pool     *pgxpool.Pool
	registry *prometheus.Registry
	listened *db.Metrics
	metrics  *eventlog.Metrics
	log      *dbtest.Log

	listener  *db.Listener
	progress  *eventlog.Progress
	feed      *eventlog.Feed
	history   *eventlog.History
	beginning event.Beginning
	stop      func() // stops Run; called at the latest when the test ends
}

// options differ from test to test. Polling defaults to once a minute, so that what a test hears comes by notification.
type options struct {
	poll     time.Duration // 0: a minute
	pageRows int
	atMost   int
	limit    time.Duration
	silent   bool // does not announce
}

// setup starts a gateway on a database of its own.
func setup(t *testing.T, o options) *gateway {
	t.Helper()
	t.Parallel()
	url := dbtest.New(t, migrated())
	return begin(t, url, dbtest.Pool(t, url), o)
}

// begin makes a gateway, runs it and calls Begin.
func begin(t *testing.T, url string, pool *pgxpool.Pool, o options) *gateway {
	t.Helper()
	g := run(t, url, pool, o)
	if o.silent {
		g.exec("SELECT terasocket.enter_epoch(0)")
	}
	g.begin()
	return g
}

func run(t *testing.T, url string, pool *pgxpool.Pool, o options) *gateway {
	t.Helper()
	if o.poll == 0 {
		o.poll = time.Minute
	}
	g := &gateway{t: t, url: url, pool: pool, registry: prometheus.NewRegistry(), log: &dbtest.Log{}}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), g.log), nil))
	g.listened = db.NewMetrics(g.registry)
	g.metrics = eventlog.NewMetrics(g.registry)
	var err error
	g.listener, err = db.Listen(t.Context(), db.ListenerConfig{DatabaseURL: url, RetryMin: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		Log: log, Metrics: g.listened})
	if err != nil {
		t.Fatal(err)
	}
	g.progress = eventlog.NewProgress(g.listener)
	g.progress.Register(g.registry)
	g.feed = eventlog.NewFeed(eventlog.FeedConfig{Pool: pool, Listener: g.listener, Progress: g.progress, Log: log, Metrics: g.metrics,
		PollEvery: o.poll, PageRows: o.pageRows})
	g.history = eventlog.NewHistory(pool, g.feed, log, g.metrics)
	announcer := eventlog.NewAnnouncer(eventlog.AnnouncerConfig{Pool: pool, Listener: g.listener, Progress: g.progress, Feed: g.feed, Log: log,
		Metrics: g.metrics, PollEvery: o.poll, AtMost: o.atMost, Limit: o.limit})
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	group.Go(func() error { return g.listener.Run(ctx) })
	if !o.silent {
		if err := announcer.First(t.Context()); err != nil {
			t.Fatal(err)
		}
		group.Go(func() error { return announcer.Run(ctx) })
	}
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

func (g *gateway) begin() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	var err error
	if g.beginning, err = g.feed.Begin(ctx); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) exec(sql string, args ...any) {
	g.t.Helper()
	dbtest.Exec(g.t, g.pool, sql, args...)
}

// publish announces messages in this order, in one statement, so that they are never merged with others.
const publish = `SELECT terasocket.publish('module.TeraServer.UserManagerModule.events', jsonb_build_object(
	'@type', 'type.googleapis.com/opentera.protobuf.UserEvent', 'userUuid', (SELECT min(user_uuid) FROM t_users), 'userFullname', mark))
	FROM unnest($1::text[]) WITH ORDINALITY m (mark, n) ORDER BY n`

func (g *gateway) publish(q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, marks ...string) {
	g.t.Helper()
	rows, err := q.Query(g.t.Context(), publish, marks)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) tx() pgx.Tx {
	g.t.Helper()
	tx, err := g.pool.Begin(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

func (g *gateway) commit(tx pgx.Tx) {
	g.t.Helper()
	if err := tx.Commit(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
}

func mark(e event.Event) string {
	if m, ok := e.Message.(*opentera.UserEvent); ok {
		return m.GetUserFullname()
	}
	return e.TypeName()
}

// next reads up to a mark, or ErrBroken, and returns all events in order. It checks that seqs have no gap, as the feed promises.
func (g *gateway) next(last string) (heard []event.Event, err error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	for {
		events, err := g.feed.Next(ctx)
		if errors.Is(err, event.ErrBroken) {
			return heard, err
		}
		if ctx.Err() != nil {
			g.t.Fatalf("%q did not arrive; received %d events: %.300q", last, len(heard), marks(heard))
		}
		if err != nil {
			g.t.Logf("next: %v", err) // as a dispatcher does: call again
			time.Sleep(10 * time.Millisecond)
			continue
		}
		for _, e := range events {
			if n := len(heard); n > 0 && e.Seq <= heard[n-1].Seq {
				g.t.Fatalf("seq %d after %d", e.Seq, heard[n-1].Seq)
			}
			heard = append(heard, e)
		}
		if mark(heard[len(heard)-1]) == last {
			return heard, nil
		}
	}
}

func marks(events []event.Event) (list []string) {
	for _, e := range events {
		list = append(list, mark(e))
	}
	return list
}

func (g *gateway) hear(last string) []event.Event {
	g.t.Helper()
	heard, err := g.next(last)
	if err != nil {
		g.t.Fatal(err)
	}
	return heard
}

func (g *gateway) mustHear(want ...string) {
	g.t.Helper()
	if got := marks(g.hear(want[len(want)-1])); fmt.Sprint(got) != fmt.Sprint(want) {
		g.t.Errorf("received %.500q, want %.500q", got, want)
	}
}

// mustBreak expects Next to report missing events, and begins anew.
func (g *gateway) mustBreak() {
	g.t.Helper()
	if heard, err := g.next("never"); !errors.Is(err, event.ErrBroken) || len(heard) > 0 {
		g.t.Fatalf("heard %q, %v", marks(heard), err)
	}
	g.begin()
}

// killListeners terminates the backends that LISTEN and waits until this gateway is connected again.
func (g *gateway) killListeners() {
	g.t.Helper()
	before := testutil.ToFloat64(g.listened.Reconnects)
	g.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'terasocket listener' AND datname = current_database()`)
	dbtest.Eventually(g.t, "it listens again", func() bool { return testutil.ToFloat64(g.listened.Reconnects) > before })
}

// value returns a metric of the gateway.
func (g *gateway) value(name string) float64 {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	g.t.Fatalf("no metric %s", name)
	return 0
}

func scan[T any](g *gateway, sql string, args ...any) T {
	g.t.Helper()
	return dbtest.One[T](g.t, g.pool, sql, args...)
}

// holdAnnouncements blocks all announcements until release is called: it locks one of the tables under terasocket.announcer against
// changes of its rows.
func (g *gateway) holdAnnouncements(table string) (release func()) {
	g.t.Helper()
	tx, err := g.pool.Begin(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	dbtest.Exec(g.t, tx, "LOCK TABLE terasocket."+table+" IN SHARE ROW EXCLUSIVE MODE")
	return func() { _ = tx.Rollback(context.Background()) }
}
