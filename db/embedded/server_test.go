//go:build unix

package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"terasocket/db/dbtest"
	"terasocket/db/embedded"
)

func TestMain(m *testing.M) {
	if os.Getenv("TERASOCKET_TEST_DIE") != "" {
		startAndPrint()
	}
	if err := dbtest.Choose(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// startAndPrint is the program that TestParentKilled kills: it starts a server, prints its directory and waits to be killed.
func startAndPrint() {
	s, err := embedded.Start(context.Background(), embedded.Config{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.Dir())
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func startServer(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func show(t *testing.T, conn *pgx.Conn, expr string) string {
	t.Helper()
	var v string
	if err := conn.QueryRow(t.Context(), "SELECT ("+expr+")::text").Scan(&v); err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return v
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestStart(t *testing.T) {
	t.Parallel()
	s := startServer(t, embedded.Config{Settings: map[string]string{"max_connections": "33", "log_line_prefix": `it's \ `}})
	conn := connect(t, s.URL("postgres"))
	for expr, want := range map[string]string{
		"current_setting('server_encoding')":                         "UTF8",
		"current_setting('fsync')":                                   "off",
		"current_setting('synchronous_commit')":                      "off",
		"current_setting('full_page_writes')":                        "off",
		"current_setting('max_prepared_transactions')":               "20",
		"current_setting('max_connections')":                         "33",
		"current_setting('log_line_prefix')":                         `it's \ `,
		"current_setting('listen_addresses')":                        "127.0.0.1",
		"SELECT rolsuper FROM pg_roles WHERE rolname = current_user": "true",
		"lower('ÉTÉ')":                                               "été",
	} {
		if got := show(t, conn, expr); got != want {
			t.Errorf("%s = %q, want %q", expr, got, want)
		}
	}
	socket := connect(t, "host="+s.Dir()+" port="+strings.TrimPrefix(s.Addr(), "127.0.0.1:")+" user=postgres dbname=postgres")
	if got := show(t, socket, "inet_server_addr() IS NULL"); got != "true" {
		t.Error("the unix socket does not work")
	}
}

func TestTwoServers(t *testing.T) {
	t.Parallel()
	a, b := startServer(t, embedded.Config{}), startServer(t, embedded.Config{})
	if a.Addr() == b.Addr() || a.Dir() == b.Dir() {
		t.Fatalf("%s %s and %s %s", a.Addr(), a.Dir(), b.Addr(), b.Dir())
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	show(t, connect(t, b.URL("postgres")), "1")
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	parent := emptyAfter(t)
	s := startServer(t, embedded.Config{ParentDir: parent})
	connect(t, s.URL("postgres")) // a client does not delay it
	pid := postmaster(t, s.Dir())
	if !alive(pid) {
		t.Fatal("postmaster.pid names no process")
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if alive(pid) {
		t.Errorf("process %d is still there", pid)
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := s.Restart(t.Context()); err == nil {
		t.Error("Restart after Stop succeeded")
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	s := startServer(t, embedded.Config{})
	conn := connect(t, s.URL("postgres"))
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 7 AS n"); err != nil {
		t.Fatal(err)
	}
	addr := s.Addr()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Exec(t.Context(), "SELECT 1")
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || pgErr.Code != "57P01" {
		t.Errorf("the old connection got %v, want SQLSTATE 57P01 admin_shutdown", err)
	}
	if s.Addr() != addr {
		t.Errorf("moved from %s to %s", addr, s.Addr())
	}
	if got := show(t, connect(t, s.URL("postgres")), "SELECT n FROM kept"); got != "7" {
		t.Errorf("n = %s", got)
	}
}

func TestParentKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "TERASOCKET_TEST_DIE=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "/") {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("no server: %q, %v", line, err)
	}
	dir := strings.TrimSpace(line)
	pid := postmaster(t, dir)
	cmd.Process.Kill()
	cmd.Wait()
	gone := func() bool {
		_, err := os.Stat(dir)
		return !alive(pid) && errors.Is(err, os.ErrNotExist)
	}
	dbtest.Eventually(t, "server and directory are gone", gone)
}

func TestStartCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond) // in the middle of initdb
	defer cancel()
	if _, err := embedded.Start(ctx, embedded.Config{ParentDir: emptyAfter(t)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("err = %v", err)
	}
}

// Of a setting that postgres refuses, the error shows the end of its log.
func TestStartFails(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{ParentDir: emptyAfter(t), Settings: map[string]string{"max_connections": "many"}}
	_, err := embedded.Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "max_connections"`) {
		t.Fatalf("err = %v", err)
	}
}

func TestNotInstalled(t *testing.T) {
	t.Parallel()
	_, err := embedded.Start(t.Context(), embedded.Config{BinDir: t.TempDir()})
	if !errors.Is(err, embedded.ErrNotInstalled) {
		t.Fatalf("err = %v, want ErrNotInstalled", err)
	}
	for _, want := range []string{
		"apt-get install postgresql ", "dnf install postgresql-server", "apk add postgresql ",
		"pacman -S postgresql ", "brew install postgresql ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// emptyAfter returns a directory for Config.ParentDir and checks at the end of the test that it is empty. (t.TempDir's path can be too
// long for a socket.)
func emptyAfter(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ts")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		os.RemoveAll(dir)
	})
	return dir
}
