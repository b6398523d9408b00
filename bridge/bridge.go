package bridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// Config configures the bridge. Zero durations mean the defaults given.
type Config struct {
	Redis   *redis.Client // OpenTera's (Open)
	Pool    *pgxpool.Pool
	Gateway string // name of this gateway, as in terasocket.gateways
	Log     *slog.Logger
	Metrics *Metrics

	Lease     time.Duration // another gateway takes the bridge this long, and a third, after the last sign of life of this one (3 s)
	Look      time.Duration // interval at which sockets that came or went are looked up (50 ms)
	Probe     time.Duration // interval at which OpenTera's user manager is probed (1 s)
	Reconcile time.Duration // interval of reconciliation with it (30 s)
	Answer    time.Duration // limit for its answers (2 s)
	Write     time.Duration // limit of one transaction that writes messages (30 s)
	Blocked   time.Duration // how long a join or leave may wait for a lock before it is left to the next reconciliation (5 s)
	Gone      time.Duration // OpenTera's own server counts as stopped when its user manager has not listened for this long (150 s)
	Silence   time.Duration // without an answer for this long Redis counts as dead (5 s)
}

// Bridge runs on each gateway beside a running OpenTera. All of them subscribe to Redis; the one that holds terasocket.bridge
// writes the messages to the log and tells OpenTera's user manager who is connected. When it stops, freezes or loses the
// database, another continues after the last written message.
//
// # Invariants
//
//  1. We keep no state in Redis: any gateway can continue the bridge from PostgreSQL.
//  2. Messages become rows in the order in which Redis delivers them. Each is written once, as long as one gateway was
//     subscribed all the time.
//  3. The user manager's answers arrive in the same stream as the messages, and are compared with the database at their place
//     in it. Whatever changed while the question was pending is left to the next reconciliation.
//  4. The user manager is never told about a deleted principal: it would be deaf for a while.
//
// # Concurrency
//
// Run has one goroutine that receives and one that acquires the bridge; while it holds the bridge, three more: one owns the
// writes, one the presence told, one the lease. It waits for all of them.
type Bridge struct {
	Config

	stream *stream
	sub    *subscription
}

// New returns a bridge; call Run.
func New(c Config) *Bridge {
	setDefault(&c.Lease, 3*time.Second)
	setDefault(&c.Look, 50*time.Millisecond)
	setDefault(&c.Probe, time.Second)
	setDefault(&c.Reconcile, 30*time.Second)
	setDefault(&c.Answer, 2*time.Second)
	setDefault(&c.Write, 30*time.Second)
	setDefault(&c.Blocked, 5*time.Second)
	setDefault(&c.Gone, 150*time.Second)
	setDefault(&c.Silence, 5*time.Second)
	s := newStream()
	return &Bridge{Config: c, stream: s, sub: newSubscription(c, s)}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Run works until ctx ends, then returns nil; failures are logged and retried. At the end it tells the user manager of the
// sockets that have ended.
func (b *Bridge) Run(ctx context.Context) error {
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var group errgroup.Group
	group.Go(func() error { b.sub.run(listening); return nil })
	group.Go(func() error {
		defer stop() // the last reign needs what it hears
		b.elect(ctx)
		return nil
	})
	return group.Wait()
}

// Err returns why nothing arrives from Redis, or nil. Sockets and the log do not depend on it.
func (b *Bridge) Err() error { return b.sub.err() }

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
