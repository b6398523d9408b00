package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/embedded"
)

// injector disturbs everything at random. It goes through a shuffled deck of all faults, so that each comes, and some
// come at the same time.
type injector struct {
	t        *testing.T
	rng      *rand.Rand
	server   *embedded.Server
	direct   string // URL of the database without a proxy
	proxies  []*tcpProxy
	gateways *chaosCluster
	clients  []*chaosClient
	stats    *tally

	deck     []int        // what is still to come of it
	postgres sync.Mutex   // one restart at a time
	slots    []sync.Mutex // one fault of a gateway's process at a time
}

// fault draws what it needs from rng at once, and returns what is to be done: that takes a while, and heals.
type fault struct {
	name string
	draw func(rng *rand.Rand) func(ctx context.Context) error
}

func (x *injector) faults() []fault {
	slot := func(rng *rand.Rand) int { return rng.IntN(len(x.proxies)) }
	upTo := func(rng *rand.Rand, d time.Duration) time.Duration { return d/10 + time.Duration(rng.Int64N(int64(d))) }
	return []fault{
		{"listener backend terminated", func(rng *rand.Rand) func(context.Context) error {
			return x.terminator("application_name = 'terasocket listener'", rng)
		}},
		{"pool backends terminated", func(rng *rand.Rand) func(context.Context) error {
			return x.terminator("application_name = 'terasocket'", rng)
		}},
		{"PostgreSQL restarted, fast", func(*rand.Rand) func(context.Context) error {
			return func(ctx context.Context) error { return x.restart(ctx, false) }
		}},
		{"PostgreSQL restarted, immediate", func(*rand.Rand) func(context.Context) error {
			return func(ctx context.Context) error {
				x.gateways.crashes.Add(1)
				defer x.gateways.crashes.Add(1)
				return x.restart(ctx, true)
			}
		}},
		{"network cut", func(rng *rand.Rand) func(context.Context) error {
			proxy, d := x.proxies[slot(rng)], upTo(rng, 3*time.Second)
			return func(ctx context.Context) error {
				proxy.Cut()
				sleepFor(ctx, d)
				proxy.Restore()
				return nil
			}
		}},
		{"half-open", func(rng *rand.Rand) func(context.Context) error {
			proxy, d := x.proxies[slot(rng)], upTo(rng, 5*time.Second)
			return func(ctx context.Context) error {
				proxy.HalfOpen()
				sleepFor(ctx, d)
				proxy.Restore()
				return nil
			}
		}},
		{"stall of 2 s", func(rng *rand.Rand) func(context.Context) error {
			proxy := x.proxies[slot(rng)]
			return func(ctx context.Context) error {
				proxy.Stall(2 * time.Second)
				sleepFor(ctx, 2*time.Second)
				return nil
			}
		}},
		{"gateway SIGTERM and restart", func(rng *rand.Rand) func(context.Context) error {
			slot := slot(rng)
			return func(ctx context.Context) error { return x.replace(ctx, slot, x.gateways.terminate) }
		}},
		{"gateway SIGKILL and restart", func(rng *rand.Rand) func(context.Context) error {
			slot := slot(rng)
			return func(ctx context.Context) error {
				return x.replace(ctx, slot, func(p *process) error { x.gateways.kill(p); return nil })
			}
		}},
		{"clients' sockets cut", func(rng *rand.Rand) func(context.Context) error {
			clients, rude := x.some(rng, 3), rng.IntN(2) == 0
			return func(context.Context) error {
				for _, c := range clients {
					c.cut(rude)
				}
				return nil
			}
		}},
		{"clients that stop reading", func(rng *rand.Rand) func(context.Context) error {
			clients, d := x.some(rng, 6), upTo(rng, 6*time.Second)
			return func(context.Context) error {
				for _, c := range clients {
					c.pausing.Store(time.Now().Add(d).UnixNano())
				}
				return nil
			}
		}},
		{"too many connections", func(rng *rand.Rand) func(context.Context) error {
			d := upTo(rng, 2*time.Second)
			return func(ctx context.Context) error { x.crowd(ctx, d); return nil }
		}},
	}
}

// some draws one of so many clients.
func (x *injector) some(rng *rand.Rand, of int) (drawn []*chaosClient) {
	for _, c := range x.clients {
		if rng.IntN(of) == 0 {
			drawn = append(drawn, c)
		}
	}
	return drawn
}

// run injects until ctx ends, and returns when everything is healed.
func (x *injector) run(ctx context.Context, mean time.Duration) {
	var running sync.WaitGroup
	defer running.Wait()
	faults := x.faults()
	for ctx.Err() == nil {
		if len(x.deck) == 0 {
			x.deck = x.rng.Perm(len(faults))
		}
		next := faults[x.deck[0]]
		x.deck = x.deck[1:]
		act := next.draw(x.rng)
		pause := mean/2 + time.Duration(x.rng.Int64N(int64(mean)))
		x.stats.add(next.name, 1)
		running.Go(func() {
			// what was begun is brought to its end
			if err := act(context.WithoutCancel(ctx)); err != nil {
				x.t.Errorf("%s: %v", next.name, err)
			}
		})
		sleepFor(ctx, pause)
	}
}

func (x *injector) terminator(where string, rng *rand.Rand) func(context.Context) error {
	all := rng.IntN(2) == 0
	return func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, x.direct)
		if err != nil {
			return nil // the server is away or full: another fault is at work
		}
		defer func() { _ = conn.Close(ctx) }()
		_, _ = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "+where+
			" ORDER BY random() LIMIT CASE WHEN $1 THEN 1000 ELSE 2 END", all)
		return nil
	}
}

func (x *injector) restart(ctx context.Context, isImmediate bool) error {
	x.postgres.Lock()
	defer x.postgres.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if isImmediate {
		text, err := os.ReadFile(filepath.Join(x.server.Dir(), "data", "postmaster.pid"))
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(first)
		if err != nil {
			return fmt.Errorf("postmaster.pid: %w", err)
		}
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
			return err
		}
	}
	return x.server.Restart(ctx)
}

// replace stops a gateway in one way or another and starts it again.
func (x *injector) replace(ctx context.Context, slot int, stop func(*process) error) error {
	x.slots[slot].Lock()
	defer x.slots[slot].Unlock()
	p := x.gateways.take(slot)
	if p == nil {
		return nil
	}
	err := stop(p)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if startErr := x.gateways.startUntil(ctx, slot); startErr != nil {
		return startErr
	}
	return err
}

// crowd takes every connection that the server has left.
func (x *injector) crowd(ctx context.Context, d time.Duration) {
	var held []*pgx.Conn
	for {
		conn, err := pgx.Connect(ctx, x.direct)
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	sleepFor(ctx, d)
	for _, conn := range held {
		_ = conn.Close(ctx)
	}
}
