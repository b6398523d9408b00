package dbtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pooler is a running PgBouncer.
type Pooler struct {
	URL string // of the database, through it

	program, ini string
	attributes   *syscall.SysProcAttr
	end          func()
}

// PgBouncer starts one before the server of databaseURL, in this pool_mode ("session", "transaction"). It ends with the
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
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	dir, err := os.MkdirTemp("/tmp", "terasocket-pgbouncer-") // t.TempDir is closed to the user that it runs as
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
	p := &Pooler{URL: target.String(), program: program, ini: filepath.Join(dir, "ini"), attributes: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	if os.Geteuid() == 0 { // which PgBouncer refuses to be
		p.attributes.Credential = account(t, "postgres")
	}
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

// Kill ends it at once, with all its connections.
func (p *Pooler) Kill() { p.end() }

// Start starts it again after Kill.
func (p *Pooler) Start() error {
	process := exec.Command(p.program, p.ini)
	process.SysProcAttr = p.attributes
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // Pdeathsig is sent when the thread that started the process dies: it stays until then
		err := process.Start()
		started <- err
		if err == nil {
			_ = process.Wait()
		}
	}()
	err := <-started
	p.end = func() {
		if err == nil {
			_ = process.Process.Kill()
		}
		<-ended
	}
	return err
}

func account(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
