package dbtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"terasocket/db/embedded"
)

// Pooler is a running PgBouncer.
type Pooler struct {
	URL string // of the database, through PgBouncer

	program, dir, address string
	kill                  func()          // nil if it could not be started
	ended                 <-chan struct{} // nil as long as kill
}

// PgBouncer starts a PgBouncer in front of the server of databaseURL, in this pool_mode ("session", "transaction"). It ends with the
// test. `make pgbouncer` installs the program.
func PgBouncer(t testing.TB, databaseURL, mode string) *Pooler {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
		if _, err := os.Stat(program); err != nil {
			t.Fatal("no PgBouncer to test with: make pgbouncer")
		}
	}
	target, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := embedded.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "terasocket-pgbouncer-") // the user it runs as cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, text := range map[string]string{
		"ini": fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"+
			"logfile = %[4]s/log\nlog_connections = 0\nlog_disconnections = 0\n"+
			"auth_type = trust\nauth_file = %[4]s/users\npool_mode = %[5]s\ndefault_pool_size = 20\nserver_login_retry = 1\n",
			target.Hostname(), target.Port(), port, dir, mode),
		"log":   "",
		"users": fmt.Sprintf("%q \"\"\n", target.User.Username()),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "log"), 0o666)); err != nil {
		t.Fatal(err)
	}
	target.Host = fmt.Sprintf("127.0.0.1:%d", port)
	p := &Pooler{URL: target.String(), program: program, dir: dir, address: target.Host}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the log of PgBouncer ends with:\n%s", p.log())
		}
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Kill kills it, with all its connections.
func (p *Pooler) Kill() {
	if p.kill != nil {
		p.kill()
	}
}

// Start restarts it after Kill, and returns once it accepts connections.
func (p *Pooler) Start() error {
	kill, ended, err := embedded.Program(p.program, filepath.Join(p.dir, "ini"))
	if err != nil {
		return err
	}
	p.kill, p.ended = kill, ended
	for {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("PgBouncer has ended:\n%s", p.log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// HasEnded reports whether it has ended since Start. PgBouncer 1.18 to 1.20 sometimes do when a statement is cancelled: "server in bad state"
// (https://github.com/pgbouncer/pgbouncer/issues/822).
func (p *Pooler) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// log returns the last lines of its log.
func (p *Pooler) log() []byte {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return text[max(0, len(text)-2000):]
}
