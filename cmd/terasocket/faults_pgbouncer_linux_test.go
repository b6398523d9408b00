package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// pgbouncer starts a PgBouncer before a database, and gives the URL through it.
func pgbouncer(t *testing.T, databaseURL, mode string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
		if _, err := os.Stat(program); err != nil {
			t.Fatal("no PgBouncer to test with: make pgbouncer")
		}
	}
	target := must(url.Parse(databaseURL))
	free := must(net.Listen("tcp4", "127.0.0.1:0"))
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	dir, err := os.MkdirTemp("/tmp", "terasocket-pgbouncer-") // t.TempDir is closed to the user that it runs as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, text := range map[string]string{
		"ini": fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"+
			"auth_type = trust\nauth_file = %s/users\npool_mode = %s\ndefault_pool_size = 20\n", target.Hostname(), target.Port(), port, dir, mode),
		"users": fmt.Sprintf("%q \"\"\n", target.User.Username()),
	} {
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
		account := must(user.Lookup("postgres"))
		process.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(must(strconv.Atoi(account.Uid))), Gid: uint32(must(strconv.Atoi(account.Gid)))}
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

// with adds a parameter to a database URL.
func with(t *testing.T, databaseURL, key, value string) string {
	t.Helper()
	u := must(url.Parse(databaseURL))
	query := u.Query()
	query.Set(key, value)
	u.RawQuery = query.Encode()
	return u.String()
}

// Everything that the gateway asks of the database goes through PgBouncer in transaction pooling, but for LISTEN.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "exec", "simple_protocol"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.New(t, migrated())
			pool := dbtest.Pool(t, direct)
			pooled := pgbouncer(t, direct, "transaction")
			if mode != "" {
				pooled = with(t, pooled, "default_query_exec_mode", mode)
			}
			gateway := serve(t, pooled, "--listen-database-url", direct)
			gateway.dbURL = direct
			gateway.waitReady(200, "ready")

			paul := gateway.login(opentera.DemoProjectAdmin, "&snapshot=1")
			json := gateway.login(opentera.DemoSuperadmin, "&encoding=json")
			names := writes(t, pool, "live", 50)
			cursor := paul.mustHearNames(names...).Seq
			json.frame()
			_ = paul.conn.Close()
			names = writes(t, pool, "missed", 50)
			if _, err := pool.Exec(t.Context(), "UPDATE t_participants SET participant_name = 'É \"''\\ é' WHERE id_participant = 1"); err != nil {
				t.Fatal(err)
			}
			paul = gateway.resume(cursor)
			paul.mustHearNames(names...)
			paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", `É \"'\\ é`)
			if _, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terasocket listener' AND datname = current_database()"); err != nil {
				t.Fatal(err)
			}
			paul.mustHearNames(writes(t, pool, "after a catch-up", 20)...)
			gateway.waitFor(is("1"), "terasocket_database_up")
			for _, name := range []string{"terasocket_audience_errors_total", "terasocket_source_errors_total", "terasocket_events_refused_total"} {
				if n := gateway.value(name); n != "0" {
					t.Errorf("%s is %s", name, n)
				}
			}
			if err := gateway.process.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := <-gateway.exited; err != nil {
				t.Errorf("exit: %v", err)
			}
			for line := range strings.Lines(gateway.log.String()) {
				if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") && !strings.Contains(line, "listener lost its connection") {
					t.Errorf("the log says %s", line)
				}
			}
		})
	}
}

// LISTEN through PgBouncer hears nothing when that pools transactions: the gateway does not start. Where it pools sessions
// all works.
func TestListenThroughPgBouncer(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	for name, env := range map[string]map[string]string{
		"all":    {"DATABASE_URL": pgbouncer(t, direct, "transaction")},
		"listen": {"DATABASE_URL": direct, "TERASOCKET_LISTEN_DATABASE_URL": pgbouncer(t, direct, "transaction")},
	} {
		got := command(t.Context(), env, "serve", "--plain-http", "--listen", "127.0.0.1:0", "--admin-listen", "")
		if got.code != 1 || !strings.Contains(got.stderr, "pooler of transactions") || !strings.Contains(got.stderr, "--listen-database-url") {
			t.Errorf("%s through the pooler: %+v", name, got)
		}
	}
	gateway := serve(t, pgbouncer(t, direct, "session"))
	gateway.dbURL = direct
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	paul.mustHearNames(writes(t, dbtest.Pool(t, direct), "by sessions", 20)...)
}
