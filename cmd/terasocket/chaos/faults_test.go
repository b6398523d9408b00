package chaos

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
)

// injector injects random faults. It goes through a shuffled deck of all faults, so that each occurs, some of them at the same
// time.
type injector struct {
	t        *testing.T
	rng      *rand.Rand
	server   *embedded.Server
	direct   string // URL of the database without a proxy
	pool     *pgxpool.Pool
	proxies  []*gatewaytest.Proxy
	gateways *cluster
	clients  []*client
	stats    *tally

	postgres *sync.Mutex // of suite
	more     []fault
	deck     []int        // faults still to come
	slots    []sync.Mutex // one fault of a gateway's process at a time
}

// fault draws what it needs from rng at once, and returns a function that injects it, which takes a while and heals it.
type fault struct {
	name string
	draw func(rng *rand.Rand) func(ctx context.Context) error
}

func (x *injector) faults() []fault {
	slot := func(rng *rand.Rand) int { return rng.IntN(len(x.proxies)) }
	upTo := func(rng *rand.Rand, d time.Duration) time.Duration { return d/10 + time.Duration(rng.Int64N(int64(d))) }
	return append([]fault{
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
			return func(ctx context.Context) error { return x.restart(ctx, true) }
		}},
		{"polling begins or ends", func(rng *rand.Rand) func(context.Context) error { // in sessions opened from now on
			setting := []string{"always", "on", "off"}[rng.IntN(3)]
			return func(ctx context.Context) error {
				_, _ = x.pool.Exec(ctx, "ALTER DATABASE chaos SET terasocket.poll = "+setting)
				return nil
			}
		}},
		{"network cut", func(rng *rand.Rand) func(context.Context) error {
			proxy, d := x.proxies[slot(rng)], upTo(rng, 3*time.Second)
			return func(ctx context.Context) error {
				proxy.Disturb(ctx, proxy.Cut, d)
				return nil
			}
		}},
		{"half-open", func(rng *rand.Rand) func(context.Context) error {
			proxy, d := x.proxies[slot(rng)], upTo(rng, 5*time.Second)
			return func(ctx context.Context) error {
				proxy.Disturb(ctx, proxy.HalfOpen, d)
				return nil
			}
		}},
		{"stall of 2 s", func(rng *rand.Rand) func(context.Context) error {
			proxy := x.proxies[slot(rng)]
			return func(ctx context.Context) error {
				proxy.Disturb(ctx, proxy.Stall, 2*time.Second)
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
		{"tables locked", func(rng *rand.Rand) func(context.Context) error {
			table, d := []string{"events", "changes", "announcements", "online", "connect_tokens"}[rng.IntN(5)], upTo(rng, time.Second)
			return func(ctx context.Context) error {
				return x.asOwner(ctx, func(tx pgx.Tx) error {
					// while queued for the lock, it blocks everybody behind it, too
					_, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '2s'; LOCK TABLE terasocket."+table)
					if err == nil {
						sleepFor(ctx, d)
					}
					return nil
				})
			}
		}},
		{"statements cancelled", func(rng *rand.Rand) func(context.Context) error { // as statement_timeout does, SQLSTATE 57014
			d := upTo(rng, 2*time.Second)
			return func(ctx context.Context) error {
				return x.asOwner(ctx, func(tx pgx.Tx) error {
					for end := time.Now().Add(d); time.Now().Before(end); sleepFor(ctx, 10*time.Millisecond) {
						if _, err := tx.Exec(ctx, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
							WHERE datname = current_database() AND application_name = 'terasocket' AND state = 'active' AND random() < 0.5`); err != nil {
							return nil
						}
					}
					return nil
				})
			}
		}},
		{"a listener that does not listen", func(rng *rand.Rand) func(context.Context) error {
			d := upTo(rng, 5*time.Second)
			return func(ctx context.Context) error {
				conn, err := pgx.Connect(ctx, x.direct)
				if err != nil {
					return nil
				}
				defer func() { _ = conn.Close(ctx) }()
				_, _ = conn.Exec(ctx, "LISTEN terasocket; BEGIN")
				sleepFor(ctx, d)
				return nil
			}
		}},
		{"strangers with rubbish and half-open handshakes", func(rng *rand.Rand) func(context.Context) error {
			target, seed, d := x.gateways.pick(rng), rng.Uint64(), upTo(rng, 3*time.Second)
			return func(ctx context.Context) error { x.strangers(ctx, target, seed, d); return nil }
		}},
		{"clients that send rubbish", func(rng *rand.Rand) func(context.Context) error {
			clients, seed := x.some(rng, 10), rng.Uint64()
			return func(ctx context.Context) error { x.rubbish(ctx, clients, seed); return nil }
		}},
	}, x.more...)
}

// asOwner runs do in a transaction beside the gateways. If the server is down or full, another fault is active.
func (x *injector) asOwner(ctx context.Context, do func(pgx.Tx) error) error {
	conn, err := pgx.Connect(ctx, x.direct)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil
	}
	defer func() { _ = tx.Rollback(ctx) }()
	return do(tx)
}

// strangers holds connections to a gateway that are not websockets, for a while.
func (x *injector) strangers(ctx context.Context, target *process, seed uint64, d time.Duration) {
	if target == nil {
		return
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	addr := strings.TrimPrefix(target.URL, "wss://")
	var held []net.Conn
	for i := range 200 {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			break // it has just been stopped
		}
		held = append(held, conn)
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		switch i % 4 {
		case 0: // silent
		case 1:
			_, _ = conn.Write(noise)
		case 2:
			_, _ = tls.Client(conn, gatewaytest.Insecure).Write(noise)
		case 3:
			_, _ = io.WriteString(tls.Client(conn, gatewaytest.Insecure), "GET /wss/user?token=")
		}
	}
	sleepFor(ctx, d)
	for _, conn := range held {
		_ = conn.Close()
	}
}

// rubbish opens a second socket for each of these clients and sends garbage on it: the first socket must not be affected.
func (x *injector) rubbish(ctx context.Context, clients []*client, seed uint64) {
	var running sync.WaitGroup
	defer running.Wait()
	for i, c := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		running.Go(func() {
			bad := &client{kind: c.kind, id: c.id, uuid: c.uuid, rng: rng}
			_, conn, err := bad.connect(ctx, x.pool, x.gateways, 0)
			if err != nil {
				return // the gateway or the database is down
			}
			defer func() { _ = conn.Close() }()
			end := time.Now().Add(3 * time.Second)
			_ = conn.SetWriteDeadline(end)
			what, noise := rng.IntN(4), make([]byte, 1<<20)
			for err == nil && time.Now().Before(end) {
				switch what {
				case 0:
					err = conn.WriteMessage(websocket.BinaryMessage, noise)
				case 1:
					err = conn.WriteMessage(websocket.TextMessage, []byte("what?"))
				case 2:
					err = conn.WriteControl(websocket.PingMessage, noise[:125], end)
				case 3:
					_, err = conn.NetConn().Write(noise[:100])
				}
			}
		})
	}
}

// some draws each client with a probability of 1/of.
func (x *injector) some(rng *rand.Rand, of int) (drawn []*client) {
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
			// complete what was begun
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
			return nil // the server is down or full: another fault is active
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
	x.gateways.crashes.Add(1) // a fast shutdown that takes long becomes an immediate one
	defer x.gateways.crashes.Add(1)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if isImmediate {
		if _, err := dbtest.Crash(x.server); err != nil {
			return err
		}
	}
	return x.server.Restart(ctx)
}

// replace stops a gateway in some way and restarts it.
func (x *injector) replace(ctx context.Context, slot int, stop func(*process) error) error {
	x.slots[slot].Lock()
	defer x.slots[slot].Unlock()
	p := x.gateways.take(slot)
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return errors.Join(stop(p), x.gateways.restart(ctx, slot))
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
