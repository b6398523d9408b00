package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// chaosCluster is three gateways, each with a database connection of its own that can be disturbed. They come and go.
type chaosCluster struct {
	t         *testing.T
	databases []chaosDatabase // one a gateway
	cert, key string
	dir       string // of their logs
	args      []string

	refused atomic.Int64 // handshakes that failed
	started atomic.Int64 // processes, those that did not get ready too
	crashes atomic.Int64 // of PostgreSQL: one more when it begins, and when it is over

	mu        sync.Mutex
	processes []*process // nil: down
	all       []*process // that ever ran
	oddities  map[string]int
}

// chaosDatabase is where a gateway finds the database: for its pool, and for LISTEN.
type chaosDatabase struct{ pool, listen string }

// process is a gateway.
type process struct {
	slot, number int
	url, admin   string
	cmd          *exec.Cmd
	logFile      string
	exited       chan struct{} // closed when it has ended
	err          error         // then
	stopping     atomic.Bool
}

func (p *process) String() string { return fmt.Sprintf("gateway %d.%d", p.slot, p.number) }

func newChaosCluster(t *testing.T, databases []chaosDatabase, args ...string) *chaosCluster {
	dir := t.TempDir()
	c := &chaosCluster{t: t, databases: databases, dir: dir, args: args, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
		processes: make([]*process, len(databases)), oddities: map[string]int{}}
	if err := selfSigned(c.cert, c.key); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range c.all {
			_ = p.cmd.Process.Kill()
			<-p.exited
			if t.Failed() {
				t.Logf("%s ended its log with:\n%s", p, p.lastWords())
			}
		}
	})
	return c
}

// odd counts what should not happen.
func (c *chaosCluster) odd(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oddities[what]++
}

// startLimit is how long a gateway may take to get ready, while nothing disturbs it, on a busy machine.
const startLimit = 3 * time.Minute

// start starts a gateway in this slot and waits until it is ready, until ctx ends or for startLimit. The database may be
// away: then it says so and ends.
func (c *chaosCluster) start(ctx context.Context, slot int) error {
	path, err := binary()
	if err != nil {
		return err
	}
	number := int(c.started.Add(1)) - 1
	p := &process{slot: slot, number: number, exited: make(chan struct{}), logFile: filepath.Join(c.dir, fmt.Sprintf("gateway-%d.log", number))}
	log, err := os.Create(p.logFile)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--tls-cert", c.cert, "--tls-key", c.key,
		"--drain-time", "500ms", "--log-format", "json"}, c.args...)...)
	p.cmd.Env = append(os.Environ(), "DATABASE_URL="+c.databases[slot].pool, "TERASOCKET_LISTEN_DATABASE_URL="+c.databases[slot].listen)
	p.cmd.Stderr = log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it took longer than %v", startLimit)) // not the building of it
	defer cancel()
	firstLine := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n')
		firstLine <- line
		_, _ = io.Copy(io.Discard, lines)
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	var match []string
	select {
	case line := <-firstLine:
		match = readyLine.FindStringSubmatch(strings.TrimSpace(line))
	case <-ctx.Done():
	}
	if match == nil {
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("the gateway did not get ready: %w: %s", errors.Join(context.Cause(ctx), p.err), p.lastWords())
	}
	p.url, p.admin = match[1], match[2]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes[slot] = p
	c.all = append(c.all, p)
	return nil
}

// lastWords is the end of its log.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	if dir := os.Getenv("CHAOS_LOGS"); dir != "" {
		_ = os.WriteFile(filepath.Join(dir, filepath.Base(p.logFile)), text, 0o600)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// restart tries until the gateway is ready. Other faults may hold its database away for longer than startLimit, so that
// counts from when it was last seen away.
func (c *chaosCluster) restart(ctx context.Context, slot int) error {
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
func (d chaosDatabase) reach(ctx context.Context) error {
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

// isGone reports whether it runs no more, or will soon not: its port may be another's then.
func (p *process) isGone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return p.stopping.Load()
	}
}

// take takes the gateway of a slot away from the clients that look for one; nil: there is none.
func (c *chaosCluster) take(slot int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.processes[slot]
	c.processes[slot] = nil
	return p
}

func (c *chaosCluster) pick(rng *rand.Rand) *process {
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

// stopLimit: the drain time, what clients that do not answer may take beyond it, and a busy machine.
const stopLimit = 2 * time.Minute

// terminate stops a gateway as an operator does: it must say that it is not ready, and exit with 0 in time.
func (c *chaosCluster) terminate(p *process) error {
	p.stopping.Store(true)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // tells in its log where it hangs
		<-p.exited
		return fmt.Errorf("%s did not stop within %v", p, stopLimit)
	}
	if p.err != nil {
		return fmt.Errorf("%s stopped with: %w", p, p.err)
	}
	return nil
}

func (c *chaosCluster) kill(p *process) {
	p.stopping.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// waitReady waits until every gateway says that it is.
func (c *chaosCluster) waitReady(ctx context.Context) error {
	for {
		ready := 0
		c.mu.Lock()
		processes := append([]*process(nil), c.processes...)
		c.mu.Unlock()
		for _, p := range processes {
			if p != nil && p.status(ctx) == http.StatusOK {
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

// status is what /readyz answers; 0: nothing, within a while.
func (p *process) status(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/readyz", nil)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// problems reads in the log of a gateway what must not be there: data races, panics.
func (p *process) problems() (problems []string, err error) {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(text), "DATA RACE") {
		problems = append(problems, string(text))
	}
	for line := range strings.Lines(string(text)) {
		if !json.Valid([]byte(line)) {
			problems = append(problems, line)
		}
	}
	return problems, nil
}
