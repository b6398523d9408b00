package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// hammer makes the gateway log.
func (s *served) hammer(requests int) {
	s.t.Helper()
	for range requests {
		response, err := http.Get(s.HTTP() + "/api/device/login?token=wrong")
		if err != nil {
			s.t.Fatal(err)
		}
		_ = response.Body.Close()
	}
}

// The log's reader goes away, or stops reading: clients stay, and SIGTERM ends the gateway.
func TestTheReaderOfTheLog(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		requests int
	}{{"goes away", 3}, {"stops reading", 1000}} { // far over the 64 KiB that a pipe holds
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = reader.Close() }()
			url := dbtest.New(t, migrated())
			gateway := servePlain(t, gatewaytest.Config{Database: url, Args: []string{"--drain-time", "200ms"}, Stderr: writer})
			_ = writer.Close()
			paul := gateway.login(opentera.DemoProjectAdmin, "")
			if test.name == "goes away" {
				_ = reader.Close()
			}
			gateway.hammer(test.requests)
			rename(t, dbtest.Pool(t, url), 1, "nobody reads")
			paul.mustHearNames("nobody reads")
			if test.name == "goes away" {
				gateway.waitFor(after("0"), "terasocket_log_lines_lost_total")
			}
			gateway.mustStop()
		})
	}
}

// Docker kills 10 s after SIGTERM. The drain time is the default, no client answers its close frame, and the database does not
// answer.
func TestTheEndComesBeforeDockerKills(t *testing.T) {
	t.Parallel()
	proxy := gatewaytest.NewProxy(t, dbtest.New(t, migrated()))
	gateway := servePlain(t, gatewaytest.Config{Database: proxy.URL})
	for range 5 {
		gateway.login(opentera.DemoProjectAdmin, "")
	}
	proxy.HalfOpen()
	began := time.Now()
	gateway.mustStop()
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// The role and its password change in the database first, then in the file. Then the database is read-only for a while, as after a
// switch-over or with a full disk.
func TestTheFileOfTheDatabaseURL(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	admin := dbtest.Conn(t, direct)
	exec := func(sql string, args ...any) {
		t.Helper()
		dbtest.Exec(t, admin, sql, args...)
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
	gateway := servePlain(t, gatewaytest.Config{Database: direct, Env: []string{"TERASOCKET_DATABASE_URL_FILE=" + file},
		Args: []string{"--listen-database-url", direct, "--drain-time", "0", "--max-sockets", "0"}})
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

	name := strings.TrimPrefix(must(url.Parse(direct)).Path, "/")
	exec("ALTER DATABASE " + name + " SET default_transaction_read_only = on")
	exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terasocket' AND datname = current_database()")
	gateway.waitReady(http.StatusServiceUnavailable, "read-only")
	gateway.hammer(5)
	exec("ALTER DATABASE " + name + " RESET default_transaction_read_only")
	gateway.waitReady(http.StatusOK, "ready")
	for range 20 {
		dial(t, gateway.address("user", opentera.DemoProjectAdminUUID))
	}
	gateway.mustStop()
	told := 0
	for line := range strings.Lines(gateway.Log.String()) {
		if strings.Contains(line, "request failed") && strings.Contains(line, "not permitted to log in") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the log says %d times in one minute that requests fail: %s", told, &gateway.Log)
	}
}

// as returns a database URL for another role.
func as(t *testing.T, databaseURL, role string) string {
	t.Helper()
	u := must(url.Parse(databaseURL))
	u.User = url.User(role)
	return u.String()
}

// What is missing around the gateway is logged, and it serves: the database at first, systemd, a certificate to read again.
func TestWhatIsMissingIsLogged(t *testing.T) {
	t.Parallel()
	proxy := gatewaytest.NewProxy(t, dbtest.New(t, migrated()))
	proxy.Cut()
	go func() {
		select {
		case <-proxy.Refused:
			proxy.Restore()
		case <-t.Context().Done():
		}
	}()
	gateway := servePlain(t, gatewaytest.Config{Database: proxy.URL, Args: []string{"--wait-for-database", "1m", "--drain-time", "0"},
		Env: []string{"NOTIFY_SOCKET=/nonexistent/notify", "WATCHDOG_USEC=soon"}})
	gateway.signal(syscall.SIGHUP)
	gateway.waitReady(http.StatusOK, "ready")
	gateway.mustStop()
	for _, want := range []string{"waiting for the database", "systemd does not hear", "no watchdog", "nothing to read again"} {
		if gateway.Log.Count(want) == 0 {
			t.Errorf("the log does not say %q: %s", want, &gateway.Log)
		}
	}
	got := command(t.Context(), nil, "serve", "--plain-http", "--admin-listen", "", "--wait-for-database", "10ms", "--database-url", "postgres://127.0.0.1:1/x")
	if got.code != 1 || !strings.Contains(got.stderr, "cannot be reached") {
		t.Errorf("%d %s", got.code, got.stderr)
	}
}
