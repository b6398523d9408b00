// Package gatewaytest runs gateways for tests: each in its own process (gateway.go), with faults on the way to its database
// (proxy.go), and with clients on its sockets (client.go).
package gatewaytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"terasocket/db/dbtest"
)

// Limit bounds every wait; it is generous for busy machines.
const Limit = time.Minute

// Config says how to start a gateway.
type Config struct {
	Program  string   // its path
	Database string   // URL
	Args     []string // of serve, besides --listen and --admin-listen
	Env      []string // NAME=value, added to the test's own
	Stderr   *os.File // for its log; nil: Gateway.Log
}

// Gateway is `terasocket serve` in its own process.
type Gateway struct {
	URL, Admin string // wss://127.0.0.1:port, or ws://; http://127.0.0.1:port
	Log        dbtest.Log
	Exited     chan struct{} // closed when it has ended
	Err        error         // its result; read it after Exited

	process *exec.Cmd
}

var readyLine = regexp.MustCompile(`^terasocket \S+ ready: (\S+), health and metrics on (\S+)\n$`)

// Start returns once the gateway is ready. If it or ctx ends first, the error contains the end of its log.
func Start(ctx context.Context, c Config) (*Gateway, error) {
	g := &Gateway{Exited: make(chan struct{})}
	g.process = exec.Command(c.Program, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, c.Args...)...)
	g.process.Env = append(append(os.Environ(), "DATABASE_URL="+c.Database), c.Env...)
	g.process.Stderr = &g.Log
	if c.Stderr != nil {
		g.process.Stderr = c.Stderr
	}
	stdout, err := g.process.StdoutPipe()
	if err == nil {
		err = g.process.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n')
		ready <- readyLine.FindStringSubmatch(line)
		_, _ = io.Copy(io.Discard, lines)
		g.Err = g.process.Wait()
		close(g.Exited)
	}()
	var match []string
	select {
	case match = <-ready:
	case <-ctx.Done():
	}
	if match == nil {
		g.Kill()
		return nil, fmt.Errorf("the gateway did not get ready: %w: %s", errors.Join(context.Cause(ctx), g.Err), g.LastWords())
	}
	g.URL, g.Admin = match[1], match[2]
	return g, nil
}

// HTTP returns the base URL of the REST endpoints.
func (g *Gateway) HTTP() string { return strings.Replace(g.URL, "ws", "http", 1) }

// LastWords returns the end of its log.
func (g *Gateway) LastWords() string {
	lines := strings.Split(strings.TrimSpace(g.Log.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

func (g *Gateway) Signal(s os.Signal) error { return g.process.Process.Signal(s) }

func (g *Gateway) Kill() {
	_ = g.process.Process.Kill()
	<-g.Exited
}

// Terminate stops it with SIGTERM. If it still runs when ctx ends, its log gets a goroutine dump.
func (g *Gateway) Terminate(ctx context.Context) error {
	if err := g.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return g.Wait(ctx)
}

// Wait waits until it has ended, and returns an error unless its exit code is 0.
func (g *Gateway) Wait(ctx context.Context) error {
	select {
	case <-g.Exited:
		return g.Err
	case <-ctx.Done():
		_ = g.Signal(syscall.SIGQUIT)
		<-g.Exited
		return fmt.Errorf("the gateway did not stop: %w", context.Cause(ctx))
	}
}

// Ask requests a path of its admin address. Code 0: no answer in time.
func (g *Gateway) Ask(ctx context.Context, path string) (code int, body string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.Admin+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}
