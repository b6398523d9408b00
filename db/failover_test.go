//go:build unix

package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// pair is a primary and a standby that streams from it.
type pair struct {
	t       *testing.T
	primary *embedded.Server
	bin     string
	port    string // of the standby
	process *exec.Cmd
}

// as runs a program of PostgreSQL's as the user that runs the primary: PostgreSQL refuses to run as root.
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
	if p.primary, err = embedded.Start(t.Context(), embedded.Config{Settings: map[string]string{"wal_level": "replica", "max_wal_senders": "4"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.primary.Stop() })
	if err := dbtest.OpenTera("failover", migrations.Up).Fill(t.Context(), p.primary.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	if err := dbtest.Conn(t, p.primary.URL("postgres")).QueryRow(t.Context(), "SELECT setting FROM pg_config WHERE name = 'BINDIR'").Scan(&p.bin); err != nil {
		t.Fatal(err)
	}
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

// url leads to whichever of the two takes writes.
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

// The primary dies with rows that clients have heard and the standby has never received. Their seqs and transaction ids
// are given out again: nobody must take the new rows for those.
func TestFailoverToAStandbyThatHasNotReceivedEverything(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	pool, err := db.Open(t.Context(), p.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	b := follow(t, p.url(), pool, retryOften)
	h := &db.History{Pool: pool}
	b.record(pool, "both have it")
	b.mustHear("both have it")
	early := b.seqOf("both have it")

	eventually(t, "the standby answers", func() bool {
		conn, err := pgx.Connect(t.Context(), p.standbyURL())
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err == nil
	})
	standby := dbtest.Conn(t, p.standbyURL())
	query := func(conn *pgx.Conn, sql string) (answer string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return answer
	}
	eventually(t, "the standby has it", func() bool {
		return query(standby, "SELECT count(*)::text FROM terasocket.events WHERE body = '\"both have it\"'") == "1"
	})
	for _, sql := range []string{"ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"} {
		if _, err := standby.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it receives no more", func() bool { return query(standby, "SELECT count(*)::text FROM pg_stat_wal_receiver") == "0" })
	var lost []string
	for i := range 100 { // more than the 32 seqs that PostgreSQL skips after a crash
		lost = append(lost, fmt.Sprint("lost ", i))
		b.record(pool, lost[i])
	}
	b.mustHear(lost...)
	cursor := b.seqOf("lost 99")

	if _, err := dbtest.Crash(p.primary); err != nil {
		t.Fatal(err)
	}
	if query(standby, "SELECT pg_promote(true, 30)::text") != "true" {
		t.Fatal("not promoted")
	}
	var bodies []string
	for i := range 100 { // written before any gateway knows
		bodies = append(bodies, fmt.Sprint("new ", i))
	}
	if _, err := standby.Exec(t.Context(), record, bodies); err != nil {
		t.Fatal(err)
	}
	var named string
	if err := standby.QueryRow(t.Context(), "SELECT body #>> '{}' FROM terasocket.events WHERE seq = $1", cursor).Scan(&named); err != nil {
		t.Fatalf("the cursor names nothing there, so this test shows nothing: %v", err)
	}
	t.Logf("the client's cursor names %q now", named)
	held := func() map[int64]db.Place {
		t.Helper()
		var places map[int64]db.Place
		eventually(t, "the new primary is reached", func() bool {
			var err error
			places, _, err = h.Places(t.Context(), []int64{early, cursor})
			return err == nil
		})
		return places
	}
	if n := len(held()); n != 0 {
		t.Errorf("%d cursors of the lost timeline are held, before a gateway has entered it", n)
	}
	limit, cancelLimit := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancelLimit()
	for {
		rows, err := b.feed.Next(limit)
		if errors.Is(err, db.ErrBroken) {
			break
		}
		if limit.Err() != nil {
			t.Fatal("nobody said that rows are missing")
		}
		if err == nil {
			t.Errorf("%d rows came before anybody said that some are missing", len(rows))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := len(held()); n != 0 {
		t.Errorf("%d cursors of the lost timeline are held", n)
	}
	b.record(pool, "live again")
	b.mustHear("live again")
	if seq := b.seqOf("live again"); seq < cursor+1_000_000 {
		t.Errorf("the seq is %d, the last one that was lost %d", seq, cursor)
	}
}
