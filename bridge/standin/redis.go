// Package standin surrounds the bridge in tests and in the demo: a real redis-server, and a stand-in for OpenTera that behaves
// like the real one on it, faults included.
package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"terasocket/db/embedded"
)

// Redis is a throw-away redis-server on a loopback port. Its methods are safe for concurrent use.
type Redis struct {
	port int
	args []string
	dir  string

	mu      sync.Mutex
	process *exec.Cmd     // nil: not running
	ended   chan struct{} // closed when it has ended
}

// StartRedis starts a redis-server without persistence and returns once it answers. Settings are those of redis.conf, as
// arguments: "--requirepass", "secret". ctx bounds the start. The caller calls Stop.
func StartRedis(ctx context.Context, settings ...string) (*Redis, error) {
	dir, err := os.MkdirTemp("", "terasocket-redis-")
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	for tries := 5; ; tries-- {
		port, err := embedded.FreePort()
		if err != nil {
			_ = os.RemoveAll(dir)
			return nil, fmt.Errorf("start Redis: %w", err)
		}
		r := &Redis{port: port, dir: dir, args: append([]string{
			"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir, "--daemonize", "no", "--loglevel", "warning",
			"--unixsocket", filepath.Join(dir, socket),
		}, settings...)}
		if err = r.Start(ctx); err == nil {
			return r, nil
		}
		if !errors.Is(err, errEnded) || tries == 1 { // otherwise another process has taken the port
			r.Stop()
			return nil, err
		}
	}
}

// socket exists once all ports are bound.
const socket = "redis.sock"

var errEnded = errors.New("it has ended at once")

func (r *Redis) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// URL is the address for --redis-url, with database 0.
func (r *Redis) URL() string { return "redis://" + r.Address() + "/0" }

// Start restarts it after Kill, empty, and returns once it accepts connections.
func (r *Redis) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		return nil
	}
	cmd := exec.Command("redis-server", r.args...)
	cmd.Stderr = os.Stderr
	endWithParent(cmd)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: on Linux the server ends with the thread that started it
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its error says that it was killed
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(r.dir, socket)); err == nil {
			r.process, r.ended = cmd, ended
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("start Redis: %w", errEnded)
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-ended
			return fmt.Errorf("start Redis: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Kill ends it at once; its data is lost.
func (r *Redis) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return
	}
	_ = r.process.Process.Kill()
	<-r.ended
	_ = os.Remove(filepath.Join(r.dir, socket))
	r.process = nil
}

// Stop ends it and removes its directory.
func (r *Redis) Stop() {
	r.Kill()
	_ = os.RemoveAll(r.dir)
}
