package dbtest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/embedded"
)

// Pooler is a running PgBouncer.
type Pooler struct {
	URL string // of the database, through PgBouncer

	program, ini string
	kill         func() // nil if it could not be started
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
			"auth_type = trust\nauth_file = %s/users\npool_mode = %s\ndefault_pool_size = 20\nserver_login_retry = 1\n",
			target.Hostname(), target.Port(), port, dir, mode),
		"users": fmt.Sprintf("%q \"\"\n", target.User.Username()),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	target.Host = fmt.Sprintf("127.0.0.1:%d", port)
	p := &Pooler{URL: target.String(), program: program, ini: filepath.Join(dir, "ini")}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), p.URL)
		if err == nil {
			_ = conn.Close(t.Context())
			return p
		}
		if time.Now().After(end) {
			t.Fatalf("PgBouncer does not answer: %v", err)
		}
	}
}

// Kill kills it, with all its connections.
func (p *Pooler) Kill() {
	if p.kill != nil {
		p.kill()
	}
}

// Start restarts it after Kill.
func (p *Pooler) Start() (err error) {
	p.kill, err = embedded.Program(p.program, p.ini)
	return err
}
