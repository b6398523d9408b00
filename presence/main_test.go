package presence

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

func migrated() dbtest.Template { return dbtest.OpenTera("presence", migrations.Up) }

// cluster is one database and its gateways.
type cluster struct {
	testing.TB
	url        string
	conn       *pgx.Conn
	statements atomic.Int64 // of all gateways
}

func setup(t testing.TB) *cluster {
	t.Helper()
	url, conns := dbtest.Lend(t, migrated(), 1)
	return &cluster{TB: t, url: url, conn: conns[0]}
}

// TraceQueryStart counts statements (pgx.QueryTracer).
func (c *cluster) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

// TraceQueryEnd is the other half of pgx.QueryTracer.
func (c *cluster) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// gateway returns a registry with a pool of its own.
func (c *cluster) gateway(change func(*Config)) *Registry {
	c.Helper()
	settings, err := pgxpool.ParseConfig(c.url)
	if err != nil {
		c.Fatal(err)
	}
	settings.ConnConfig.Tracer = c
	pool, err := pgxpool.NewWithConfig(c.Context(), settings)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(pool.Close)
	config := Config{Pool: pool, Name: c.Name(), Lease: time.Minute, Sweep: 10 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&config)
	}
	r := New(config)
	if err := r.Register(c.Context()); err != nil {
		c.Fatal(err)
	}
	return r
}

// run runs r until the returned function is called, or the test ends.
func (c *cluster) run(r *Registry) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	stop = func() { cancel(); <-done }
	c.Cleanup(stop)
	return stop
}

func (c *cluster) exec(sql string, args ...any) {
	c.Helper()
	dbtest.Exec(c, c.conn, sql, args...)
}

func (c *cluster) count(sql string, args ...any) int {
	c.Helper()
	return dbtest.One[int](c, c.conn, sql, args...)
}

func (c *cluster) announce() { dbtest.Announce(c, c.conn, 2000) }

// events counts the events of a type in the log, such as PARTICIPANT_CONNECTED.
func (c *cluster) events(what string) int {
	c.Helper()
	c.announce()
	return c.count("SELECT count(*) FROM terasocket.events WHERE body->>'type' = $1", what)
}

// online and sockets return numbers of rows.
func (c *cluster) online() int { return c.count("SELECT count(*) FROM terasocket.online") }

func (c *cluster) sockets() int { return c.count("SELECT count(*) FROM terasocket.connections") }

func user(id int32) access.Principal { return access.Principal{Kind: access.User, ID: id} }

func participant(id int32) access.Principal {
	return access.Principal{Kind: access.Participant, ID: id}
}
