package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/cmd/terasocket/gatewaytest"
)

// cluster is three gateways, each with its own database proxy. They stop and start.
type cluster struct {
	t         *testing.T
	databases []database // one per gateway
	args      []string

	refused atomic.Int64 // failed handshakes
	started atomic.Int64 // processes, including those that did not get ready
	crashes atomic.Int64 // of PostgreSQL, perhaps: incremented when a restart begins and when it is over

	mu        sync.Mutex
	processes []*process // nil: down
	all       []*process // all that ever ran
	oddities  map[string]int
}

// database holds a gateway's URLs: for its pool, and for LISTEN.
type database struct{ pool, listen string }

// process is a gateway's process.
type process struct {
	*gatewaytest.Gateway
	slot, number int
	stopping     atomic.Bool
}

func (p *process) String() string { return fmt.Sprintf("gateway %d.%d", p.slot, p.number) }

func newCluster(t *testing.T, databases []database, args ...string) *cluster {
	cert, key, err := gatewaytest.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, databases: databases, processes: make([]*process, len(databases)), oddities: map[string]int{},
		args: append([]string{"--tls-cert", cert, "--tls-key", key, "--drain-time", "500ms", "--log-format", "json"}, args...)}
	t.Cleanup(func() {
		for _, p := range c.all {
			p.Kill()
			if !t.Failed() {
				continue
			}
			t.Logf("the log of %s ends with:\n%s", p, p.LastWords())
			if dir := os.Getenv("CHAOS_LOGS"); dir != "" {
				_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("gateway-%d.log", p.number)), []byte(p.Log.String()), 0o600)
			}
		}
	})
	return c
}

// odd counts what should not happen.
func (c *cluster) odd(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oddities[what]++
}

// startLimit is how long an undisturbed gateway may take to become ready on a busy machine.
const startLimit = 3 * time.Minute

// start starts a gateway in this slot and waits until it is ready, until ctx ends or for startLimit. If the database is down,
// the gateway says so and ends.
func (c *cluster) start(ctx context.Context, slot int) error {
	path, err := gatewaytest.Program()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it took longer than %v", startLimit)) // without building it
	defer cancel()
	number := int(c.started.Add(1)) - 1
	g, err := gatewaytest.Start(ctx, gatewaytest.Config{Program: path, Database: c.databases[slot].pool, Args: c.args,
		Env: []string{"TERASOCKET_LISTEN_DATABASE_URL=" + c.databases[slot].listen}})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes[slot] = &process{Gateway: g, slot: slot, number: number}
	c.all = append(c.all, c.processes[slot])
	return nil
}

// restart retries until the gateway is ready. Other faults may keep its database down for longer than startLimit, so that
// counts from when the database was last unreachable.
func (c *cluster) restart(ctx context.Context, slot int) error {
	for reachable := time.Now(); ; sleepFor(ctx, 300*time.Millisecond) {
		err := c.start(ctx, slot)
		if err == nil {
			return nil
		}
		if c.databases[slot].reach(ctx) != nil {
			reachable = time.Now()
		}
		if time.Since(reachable) > startLimit || ctx.Err() != nil {
			return err
		}
	}
}

// reach connects as the gateway does.
func (d database) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, url := range []string{d.pool, d.listen} {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		err = conn.Ping(ctx)
		_ = conn.Close(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}

// isGone reports whether it has ended or is about to: its port may then be another's.
func (p *process) isGone() bool {
	select {
	case <-p.Exited:
		return true
	default:
		return p.stopping.Load()
	}
}

// take removes the gateway of a slot from the clients' choice; nil: there is none.
func (c *cluster) take(slot int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.processes[slot]
	c.processes[slot] = nil
	return p
}

func (c *cluster) pick(rng *rand.Rand) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := rng.IntN(len(c.processes))
	for i := range c.processes {
		if p := c.processes[(first+i)%len(c.processes)]; p != nil {
			return p
		}
	}
	return nil
}

// stopLimit is the drain time, what clients that do not answer add to it, and slack for a busy machine.
const stopLimit = 2 * time.Minute

// cutShort is what a gateway says that ends with 1: on a busy machine beside a database that does not answer, some end takes too long.
const cutShort = "terasocket: not everything ended in time\n"

// terminate stops a gateway with SIGTERM: it must exit with 0 in time, or say that it was cut short.
func (c *cluster) terminate(p *process) error {
	p.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := p.Terminate(ctx); err != nil && !strings.HasSuffix(p.Log.String(), cutShort) {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

func (c *cluster) kill(p *process) {
	p.stopping.Store(true)
	p.Kill()
}

// waitReady waits until every gateway is ready.
func (c *cluster) waitReady(ctx context.Context) error {
	for {
		ready := 0
		c.mu.Lock()
		processes := append([]*process(nil), c.processes...)
		c.mu.Unlock()
		for _, p := range processes {
			if p == nil {
				continue
			}
			if code, _ := p.Ask(ctx, "/readyz"); code == http.StatusOK {
				ready++
			}
		}
		if ready == len(processes) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d gateways are ready: %w", ready, len(processes), ctx.Err())
		}
		sleepFor(ctx, 100*time.Millisecond)
	}
}

// problems finds in a gateway's log what must not be there: data races, panics.
func (p *process) problems() (problems []string) {
	text := p.Log.String()
	if strings.Contains(text, "DATA RACE") {
		problems = append(problems, text)
	}
	for line := range strings.Lines(text) {
		if line != cutShort && !json.Valid([]byte(line)) {
			problems = append(problems, line)
		}
	}
	return problems
}
