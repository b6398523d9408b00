package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/api"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// logsInto starts a gateway that logs every detail into a pipe, whose other end is given. It is one as operators start it:
// with no more flags than it needs.
func logsInto(t *testing.T, databaseURL string, env []string, args ...string) (gateway *served, reader *os.File) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	s := &served{t: t, dbURL: databaseURL, exited: make(chan error, 1)}
	s.process = exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--plain-http",
		"--log-level", "debug", "--presence-grace", "0"}, args...)...)
	s.process.Env = append(append(os.Environ(), "DATABASE_URL="+databaseURL), env...)
	s.process.Stderr = writer
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	t.Cleanup(func() { _ = s.process.Process.Kill(); <-s.exited })
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		s.exited <- s.process.Wait()
		text, _ := io.ReadAll(reader)
		t.Fatalf("the gateway did not get ready: %s", text)
	}
	match := readyLine.FindStringSubmatch(lines.Text())
	if match == nil {
		t.Fatalf("unexpected ready line %q", lines.Text())
	}
	s.url, s.admin = match[1], match[2]
	go func() { s.exited <- s.process.Wait(); close(s.exited) }()
	return s, reader
}

// follow reads a log to its end.
func follow(reader io.Reader) (text func() string) {
	var log bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&log, reader)
	}()
	return func() string { <-done; return log.String() }
}

// hammer makes the gateway log.
func (s *served) hammer(requests int) {
	s.t.Helper()
	for range requests {
		response, err := http.Get(s.https() + "/api/device/login?token=wrong")
		if err != nil {
			s.t.Fatal(err)
		}
		_ = response.Body.Close()
	}
}

func (s *served) mustEndAtTERM() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.exited:
		if err != nil {
			s.t.Errorf("exited with %v", err)
		}
	case <-time.After(20 * time.Second):
		s.t.Error("still running 20 s after SIGTERM")
	}
}

// Whoever reads the log goes away, or stops reading: clients stay, and SIGTERM ends the gateway.
func TestTheReaderOfTheLog(t *testing.T) {
	t.Parallel()
	t.Run("goes away", func(t *testing.T) {
		t.Parallel()
		url := dbtest.New(t, migrated())
		gateway, reader := logsInto(t, url, nil, "--drain-time", "200ms")
		paul := gateway.login(opentera.DemoProjectAdmin, "")
		_ = reader.Close()
		gateway.hammer(3)
		rename(t, dbtest.Pool(t, url), 1, "nobody reads")
		paul.mustHearNames("nobody reads")
		gateway.waitFor(after("0"), "terasocket_log_lines_lost_total")
		gateway.mustEndAtTERM()
	})
	t.Run("stops reading", func(t *testing.T) {
		t.Parallel()
		url := dbtest.New(t, migrated())
		gateway, _ := logsInto(t, url, nil, "--drain-time", "200ms")
		paul := gateway.login(opentera.DemoProjectAdmin, "")
		gateway.hammer(1000) // far over the 64 KiB that a pipe holds
		rename(t, dbtest.Pool(t, url), 1, "nobody reads")
		paul.mustHearNames("nobody reads")
		gateway.mustEndAtTERM()
	})
}

// Docker kills 10 s after SIGTERM. The drain is the default one, no client answers its close frame, and the database says
// nothing.
func TestTheEndComesBeforeDockerKills(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, dbtest.New(t, migrated()))
	gateway, reader := logsInto(t, url, nil)
	log := follow(reader)
	defer func() {
		if t.Failed() {
			t.Log(log())
		}
	}()
	for range 5 {
		gateway.login(opentera.DemoProjectAdmin, "")
	}
	proxy.HalfOpen()
	began := time.Now()
	gateway.mustEndAtTERM()
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("it took %v; its log: %s", took, log())
	}
}

func TestHangUpReadsCertificatesAgain(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	hangUp := func() {
		t.Helper()
		if err := gateway.process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	first := gateway.serial()
	if err := os.WriteFile(gateway.cert, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp()
	time.Sleep(50 * time.Millisecond) // else two signals may be one
	if gateway.serial() != first {
		t.Error("a file that holds no certificate counts")
	}
	if err := selfSigned(gateway.cert, gateway.key); err != nil {
		t.Fatal(err)
	}
	hangUp()
	for end := time.Now().Add(10 * time.Second); gateway.serial() == first; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the old certificate is still shown")
		}
	}
	gateway.mustEndAtTERM()
	log := gateway.log.String()
	for _, want := range []string{"SIGHUP: certificate and --client-ca read again", "SIGHUP: not read again"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
}

func TestHangUpWithoutTLS(t *testing.T) {
	t.Parallel()
	gateway, reader := logsInto(t, dbtest.New(t, migrated()), nil, "--drain-time", "0")
	log := follow(reader)
	if err := gateway.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	gateway.waitReady(http.StatusOK, "ready")
	gateway.mustEndAtTERM()
	if !strings.Contains(log(), "nothing to read again") {
		t.Error(log())
	}
}

// The role and its password are changed in the database first, then in the file.
func TestTheFileOfTheDatabaseURL(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	admin := dbtest.Conn(t, direct)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	role := fmt.Sprintf("rotated_%d", time.Now().UnixNano())
	exec("CREATE ROLE " + role + "_1 LOGIN SUPERUSER")
	exec("CREATE ROLE " + role + "_2 LOGIN SUPERUSER")
	t.Cleanup(func() {
		for n := range 2 {
			_, _ = admin.Exec(context.Background(), fmt.Sprintf("DROP ROLE %s_%d", role, n+1))
		}
	})
	file := filepath.Join(t.TempDir(), "url")
	put := func(n int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(as(t, direct, fmt.Sprintf("%s_%d", role, n))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	gateway, reader := logsInto(t, direct, []string{"TERASOCKET_DATABASE_URL_FILE=" + file}, "--listen-database-url", direct, "--drain-time", "0")
	log := follow(reader)
	gateway.waitReady(http.StatusOK, "ready")
	exec("ALTER ROLE " + role + "_1 NOLOGIN")
	exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role+"_1")
	gateway.waitReady(http.StatusServiceUnavailable, "is not permitted to log in")
	gateway.hammer(50)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	gateway.waitReady(http.StatusServiceUnavailable, "")
	put(2)
	gateway.waitReady(http.StatusOK, "ready")
	gateway.mustEndAtTERM()
	told := 0
	for line := range strings.Lines(log()) {
		if strings.Contains(line, "request failed") && strings.Contains(line, "not permitted to log in") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the log says %d times in one minute that requests fail: %s", told, log())
	}
}

// as gives a database URL of another role.
func as(t *testing.T, databaseURL, role string) string {
	t.Helper()
	u := must(url.Parse(databaseURL))
	u.User = url.User(role)
	return u.String()
}

// A database that is read-only for a while, as after a switch-over or at a full disk.
func TestADatabaseThatIsReadOnly(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	admin := dbtest.Conn(t, direct)
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	gateway, reader := logsInto(t, direct, nil, "--drain-time", "0", "--max-sockets", "0")
	log := follow(reader)
	gateway.waitReady(http.StatusOK, "ready")
	name := strings.TrimPrefix(must(url.Parse(direct)).Path, "/")
	exec("ALTER DATABASE " + name + " SET default_transaction_read_only = on")
	exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terasocket' AND datname = current_database()")
	gateway.waitReady(http.StatusServiceUnavailable, "read-only")
	gateway.hammer(5)
	exec("ALTER DATABASE " + name + " RESET default_transaction_read_only")
	gateway.waitReady(http.StatusOK, "ready")
	for range 20 {
		dial(t, api.WebsocketURL(gateway.url, access.User, gateway.token(direct)))
	}
	gateway.mustEndAtTERM()
	_ = log()
}

func TestWaitingForTheDatabase(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, dbtest.New(t, migrated()))
	proxy.Cut()
	go func() {
		select {
		case <-proxy.refused:
			proxy.Restore()
		case <-t.Context().Done():
		}
	}()
	gateway, reader := logsInto(t, url, nil, "--wait-for-database", "1m", "--drain-time", "0")
	log := follow(reader)
	gateway.mustEndAtTERM()
	if !strings.Contains(log(), "waiting for the database") {
		t.Error(log())
	}
	got := command(t.Context(), nil, "serve", "--plain-http", "--admin-listen", "", "--wait-for-database", "10ms", "--database-url", "postgres://127.0.0.1:1/x")
	if got.code != 1 || !strings.Contains(got.stderr, "cannot be reached") {
		t.Errorf("%d %s", got.code, got.stderr)
	}
}
