package bridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// Config says what the bridge connects. Zero durations stand for the defaults given.
type Config struct {
	Redis   *redis.Client // OpenTera's (Open)
	Pool    *pgxpool.Pool
	Gateway string // its name, as in terasocket.gateways
	Log     *slog.Logger
	Metrics *Metrics

	Lease     time.Duration // another gateway takes the bridge that long, and a third, after this one was last alive (3 s)
	Look      time.Duration // how often to look whose sockets came or went (50 ms)
	Probe     time.Duration // how often to ask whether OpenTera's user manager listens (1 s)
	Reconcile time.Duration // how often to compare with it what it knows (30 s)
	Answer    time.Duration // how long it may take to answer (2 s)
	Write     time.Duration // how long one transaction may take that writes what was heard (30 s)
	Blocked   time.Duration // who joins or leaves a session is left to the next comparison when a lock is waited for so long (5 s)
	Silence   time.Duration // Redis is taken for dead when it does not answer for that long (5 s)
}

// Bridge is what each gateway beside a running OpenTera runs. All of them listen to Redis; one at a time, the one that holds
// terasocket.bridge, writes what it hears to the log and tells OpenTera's user manager who is connected. When that one ends,
// freezes or loses the database, another goes on behind the last message that was written.
//
// # Invariants
//
//  1. Nothing of ours is kept in Redis: the bridge can be continued from PostgreSQL by any gateway.
//  2. Messages become rows in the order in which Redis gave them. Each is written once, as long as one gateway was subscribed
//     all the time.
//  3. The answers of the user manager come in the same stream as the messages, and are compared with the database at their
//     place in it. What was heard while the answer was under way is left to the next comparison.
//  4. Nobody is told of to the user manager who is deleted: it would be deaf for a while.
//
// # Concurrency
//
// Run has one goroutine that receives, one that sees to who holds the bridge, and while it does hold it three more: one owns
// what is written, one what is told, one the lease. It waits for all of them.
type Bridge struct {
	Config

	stream *stream
	sub    *subscription
	last   int64 // term in which it held the bridge
}

// New makes a bridge; Run it.
func New(c Config) *Bridge {
	setDefault(&c.Lease, 3*time.Second)
	setDefault(&c.Look, 50*time.Millisecond)
	setDefault(&c.Probe, time.Second)
	setDefault(&c.Reconcile, 30*time.Second)
	setDefault(&c.Answer, 2*time.Second)
	setDefault(&c.Write, 30*time.Second)
	setDefault(&c.Blocked, 5*time.Second)
	setDefault(&c.Silence, 5*time.Second)
	s := newStream()
	return &Bridge{Config: c, stream: s, sub: newSubscription(c, s)}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Run works until ctx ends, and then returns nil: what fails is logged and tried again. At the end the user manager is told
// of the sockets that have ended by then.
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

// Err says why nothing comes from Redis, nil when it does. Sockets and what is in the log do not depend on it.
func (b *Bridge) Err() error { return b.sub.err() }

// sleep reports whether ctx lasts longer.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
