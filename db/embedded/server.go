//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopLimit      = 5 * time.Second // for each signal, from the gentlest to the harshest
	maxSocketPath  = 100             // bytes; sun_path holds 104 (macOS) to 108 (Linux)
	portAttempts   = 5
	readyPollDelay = 5 * time.Millisecond
)

// Server is a running throw-away PostgreSQL cluster. Its methods are safe for concurrent use.
type Server struct {
	bin     string // directory of initdb and postgres
	dir     string // removed by Stop: data/, the socket, log
	port    int
	account *account
	dog     *watchdog

	mu      sync.Mutex // guards process and stopped
	process *process   // nil: not running
	stopped bool
}

// Start creates a cluster and returns once it accepts connections, usually within a second. ctx bounds only the start. On error nothing
// is left behind.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	bin, err := findBinaries(cfg.BinDir, os.Getenv("PATH"))
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	acc, err := serverAccount()
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	dir, err := makeDir(cfg.ParentDir, acc)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s := &Server{bin: bin, dir: dir, account: acc}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start PostgreSQL: %w", err)
			if stopErr := s.Stop(); stopErr != nil {
				err = errors.Join(err, stopErr)
			}
		}
	}()
	if s.dog, err = startWatchdog(dir); err != nil {
		return nil, err
	}
	if err = s.initdb(ctx); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		if s.port = cfg.Port; s.port == 0 {
			if s.port, err = FreePort(); err != nil {
				return nil, err
			}
		}
		if err = s.configure(s.port, cfg.Settings); err != nil {
			return nil, err
		}
		// Between FreePort and now another program may have taken it.
		err = s.run(ctx)
		if err == nil || cfg.Port != 0 || attempt == portAttempts || !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// makeDir creates the server's directory where its account can reach it and the path of the unix socket fits: below root, below the
// system's temporary directory, otherwise below /tmp.
func makeDir(root string, acc *account) (string, error) {
	candidates := []string{os.TempDir(), "/tmp"}
	if root != "" {
		candidates = []string{root}
	}
	for _, base := range candidates {
		base, err := filepath.Abs(base)
		if err != nil {
			return "", err
		}
		if !acc.canReach(base) || len(base)+len("/terasocket-pg-0123456789/.s.PGSQL.65535") > maxSocketPath {
			continue
		}
		dir, err := os.MkdirTemp(base, "terasocket-pg-")
		if err != nil {
			return "", err
		}
		if err := acc.own(dir); err != nil {
			os.RemoveAll(dir)
			return "", err
		}
		return dir, nil
	}
	return "", fmt.Errorf("%s: the path is too long for a unix socket, or the user that runs PostgreSQL cannot reach it", candidates[0])
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// URL returns the connection URL of a database for the cluster's superuser. "postgres" exists from the start.
func (s *Server) URL(dbname string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Host: s.Addr(), Path: "/" + dbname, RawQuery: "sslmode=disable"}
	return u.String()
}

// Addr is the server's address, "127.0.0.1:port". Restart keeps it.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Dir is the server's directory: data directory "data", file "log" and the unix socket. Stop removes it.
func (s *Server) Dir() string { return s.dir }

// Restart stops the server as an administrator would, so that clients get SQLSTATE 57P01 and lose their connections, and starts it again
// on the same port and data. On error the server is down; Restart may be retried, and Stop still cleans up.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("restart PostgreSQL: it was stopped")
	}
	if err := s.halt(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	return nil
}

// Stop stops the server at once, cutting off its clients, and removes its directory. Calls after the first do nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	err := s.halt(syscall.SIGQUIT, syscall.SIGKILL)
	err = errors.Join(err, s.removeDir())
	if s.dog != nil {
		err = errors.Join(err, s.dog.stop())
	}
	if err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

// halt stops the server, if it runs, with the first signal that works: SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
func (s *Server) halt(signals ...os.Signal) error {
	if s.process == nil {
		return nil
	}
	for _, sig := range signals {
		if s.process.end(sig, stopLimit) {
			s.process = nil
			return s.dog.guard(0)
		}
	}
	return fmt.Errorf("process %d does not end", s.process.cmd.Process.Pid)
}

// removeDir retries: after SIGKILL the server's children need a moment to notice.
func (s *Server) removeDir() error {
	var err error
	for range 50 {
		if err = os.RemoveAll(s.dir); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
