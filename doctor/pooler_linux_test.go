package doctor

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgbouncer starts a PgBouncer before the server of databaseURL and gives the URL through it.
func pgbouncer(t *testing.T, databaseURL, mode string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !isFile(program) {
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
	settings := fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"+
		"auth_type = trust\nauth_file = %s/users\npool_mode = %s\ndefault_pool_size = 10\n", target.Hostname(), target.Port(), port, dir, mode)
	for name, text := range map[string]string{"ini": settings, "users": fmt.Sprintf("%q \"\"\n", target.User.Username())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	process := exec.Command(program, filepath.Join(dir, "ini"))
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 { // which PgBouncer refuses to be
		process.SysProcAttr.Credential = account(t, "postgres")
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	target.Host = fmt.Sprintf("127.0.0.1:%d", port)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), target.String())
		if err == nil {
			_ = conn.Close(t.Context())
			return target.String()
		}
		if time.Now().After(end) {
			t.Fatalf("PgBouncer does not answer: %v", err)
		}
	}
}

func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func account(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func TestTransactionPooler(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	direct := i.DatabaseURL
	pooled := pgbouncer(t, direct, "transaction")

	i.DatabaseURL = pooled
	findings, err := Examine(t.Context(), i.Config)
	if err != nil {
		t.Fatal(err)
	}
	named(t, findings, "pool").must(t, Fail, "forgets prepared statements", "default_query_exec_mode=exec")
	named(t, findings, "listen").must(t, Fail, "pooler", "name the server itself")
	for _, name := range []string{"database", "migrations", "triggers", "rights", "clock", "log"} {
		named(t, findings, name).must(t, OK)
	}

	// as it is said
	i.DatabaseURL += "&default_query_exec_mode=exec"
	i.ListenDatabaseURL = direct
	findings, err = Examine(t.Context(), i.Config)
	if err != nil {
		t.Fatal(err)
	}
	named(t, findings, "pool").must(t, OK, "a pooler, and default_query_exec_mode=exec")
	named(t, findings, "listen").must(t, OK)

	// the other way round does not help
	i.DatabaseURL, i.ListenDatabaseURL = direct, pooled
	findings, err = Examine(t.Context(), i.Config)
	if err != nil {
		t.Fatal(err)
	}
	named(t, findings, "pool").must(t, OK, "direct")
	named(t, findings, "listen").must(t, Fail, "pooler")
}

func TestSessionPooler(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.DatabaseURL = pgbouncer(t, i.DatabaseURL, "session")
	findings, err := Examine(t.Context(), i.Config)
	if err != nil {
		t.Fatal(err)
	}
	named(t, findings, "pool").must(t, OK, "found again")
	named(t, findings, "listen").must(t, OK)
}
