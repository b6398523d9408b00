//go:build unix

package eventlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
	"terasocket/migrations"
)

// A server with synchronous_commit off crashes and loses OpenTera's last commits, but nothing that was announced. No seq is given out
// twice.
func TestACrashForgetsNothingThatWasAnnounced(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t, map[string]string{"synchronous_commit": "off", "wal_writer_delay": "10s", "fsync": "on"})
	if err := dbtest.OpenTera("crash", migrations.Up).Fill(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	pool, err := db.Open(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	g := begin(t, server.URL("postgres"), pool, options{})
	g.publish(g.pool, "1", "2")
	g.mustHear("1", "2")
	last := g.feed.LastSeen()

	pid, err := dbtest.Crash(server)
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "the server is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.mustBreak()
	if g.beginning.Seq <= last {
		t.Errorf("it goes on at %d, after %d", g.beginning.Seq, last)
	}
	g.mustReach("the last cursor", last, true)
	if got := g.missed(g.seqOf("1"), math.MaxInt64); len(got) == 0 || got[0] != "2" {
		t.Errorf("missed %q", got)
	}
	g.publish(g.pool, "live again")
	g.mustHear("live again")
}

// pair is a primary with a streaming standby.
type pair struct {
	t       *testing.T
	primary *embedded.Server
	bin     string
	port    string // of the standby
	process *exec.Cmd
}

// as prepares one of PostgreSQL's programs to run as the user that runs the primary: PostgreSQL refuses to run as root.
func (p *pair) as(name string, args ...string) *exec.Cmd {
	p.t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(p.bin, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = p.primary.Dir()
	if os.Geteuid() == 0 {
		info, err := os.Stat(p.primary.Dir())
		if err != nil {
			p.t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	return cmd
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t}
	var err error
	p.primary = dbtest.Server(t, map[string]string{"wal_level": "replica", "max_wal_senders": "4"})
	if err := dbtest.OpenTera("failover", migrations.Up).Fill(t.Context(), p.primary.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	p.bin = dbtest.One[string](t, dbtest.Conn(t, p.primary.URL("postgres")), "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
	data := filepath.Join(p.primary.Dir(), "standby")
	if out, err := p.as(dbtest.Program(t, p.primary.URL("postgres"), "pg_basebackup"), "-D", data, "-R", "-X", "stream", "-c", "fast", "-d", p.primary.URL("postgres")).CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, p.port, _ = net.SplitHostPort(free.Addr().String())
	_ = free.Close()
	var log bytes.Buffer
	p.process = p.as("postgres", "-D", data, "-c", "port="+p.port, "-c", "unix_socket_directories="+data)
	p.process.Stderr = &log
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.process.Process.Signal(syscall.SIGQUIT)
		_ = p.process.Wait()
		if t.Failed() {
			t.Logf("log of the standby:\n%s", &log)
		}
	})
	return p
}

// url leads to whichever of the two accepts writes.
func (p *pair) url() string {
	u, err := url.Parse(p.primary.URL("postgres"))
	if err != nil {
		p.t.Fatal(err)
	}
	u.Host = p.primary.Addr() + ",127.0.0.1:" + p.port
	q := u.Query()
	q.Del("host")
	q.Set("target_session_attrs", "read-write")
	q.Set("connect_timeout", "5")
	u.RawQuery = q.Encode()
	return u.String()
}

func (p *pair) standbyURL() string {
	u, _ := url.Parse(p.url())
	u.Host = "127.0.0.1:" + p.port
	q := u.Query()
	q.Del("target_session_attrs")
	u.RawQuery = q.Encode()
	return u.String()
}

// standby connects to the standby once it answers.
func (p *pair) standby() *pgx.Conn {
	p.t.Helper()
	dbtest.Eventually(p.t, "the standby answers", func() bool {
		conn, err := pgx.Connect(p.t.Context(), p.standbyURL())
		if err == nil {
			_ = conn.Close(p.t.Context())
		}
		return err == nil
	})
	return dbtest.Conn(p.t, p.standbyURL())
}

// cut stops replication from the primary to the standby.
func (p *pair) cut(standby *pgx.Conn) {
	p.t.Helper()
	dbtest.Exec(p.t, standby, "ALTER SYSTEM SET primary_conninfo = ''")
	dbtest.Exec(p.t, standby, "SELECT pg_reload_conf()")
	dbtest.Eventually(p.t, "it receives no more", func() bool { return dbtest.One[int](p.t, standby, "SELECT count(*) FROM pg_stat_wal_receiver") == 0 })
}

// The primary dies with events that clients have received and the standby has not. Their seqs are not given out again, and a cursor among
// them is not taken for one of the new epoch.
func TestFailoverToAStandbyThatHasNotReceivedEverything(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	pool, err := db.Open(t.Context(), p.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	g := begin(t, p.url(), pool, options{poll: 200 * time.Millisecond})
	g.publish(pool, "both have it")
	g.mustHear("both have it")

	standby := p.standby()
	dbtest.Eventually(t, "the standby has it", func() bool {
		return dbtest.One[int](t, standby, "SELECT count(*) FROM terasocket.events WHERE body ->> 'userFullname' = 'both have it'") == 1
	})
	p.cut(standby)
	var lost []string
	for i := range 100 {
		lost = append(lost, fmt.Sprint("lost ", i))
	}
	g.publish(pool, lost...)
	g.mustHear(lost...)
	cursor := g.feed.LastSeen()

	if _, err := dbtest.Crash(p.primary); err != nil {
		t.Fatal(err)
	}
	if !dbtest.One[bool](t, standby, "SELECT pg_promote(true, 30)") {
		t.Fatal("not promoted")
	}
	// written before any gateway knows: it would reuse the lost seqs
	dbtest.Exec(t, standby, publish, lost)
	g.mustBreak()
	if g.beginning.Seq <= cursor {
		t.Errorf("it goes on at %d, after %d", g.beginning.Seq, cursor)
	}
	g.mustReach("a cursor of the lost past", cursor, false)
	g.publish(pool, "live again")
	if heard := g.hear("live again"); heard[0].Seq <= cursor {
		t.Errorf("the seq is %d, the last one that was lost %d", heard[0].Seq, cursor)
	}
}
