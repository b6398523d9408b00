//go:build unix

package eventlog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
	"terasocket/migrations"
)

// owned starts a server of its own with a gateway, and creates what a copy will hold.
func owned(t *testing.T, settings map[string]string, isCaptured bool) (*embedded.Server, *past) {
	t.Helper()
	s := dbtest.Server(t, settings)
	if err := dbtest.OpenTera("owned", migrations.Up).Fill(t.Context(), s.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	return s, remember(t, another(t, s.URL("postgres")), isCaptured)
}

// shutDown stops a server as an administrator does, and waits until it is gone. Restart starts it again.
func shutDown(t *testing.T, s *embedded.Server) {
	t.Helper()
	var pid int
	text, err := os.ReadFile(filepath.Join(s.Dir(), "data", "postmaster.pid"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGINT)
	}
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "the server is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

// A copy of the data directory is put back, from a snapshot of the volume or machine.
func TestPastOfADiskPutBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name               string
		isCaptured, isSeen bool // something was captured and not announced; a gateway survives the change
		isReached          bool
	}{
		{"seen by a gateway", false, true, true},
		{"with a message that may have been heard", true, true, false},
		{"seen by nobody", true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, p := owned(t, map[string]string{"synchronous_commit": "on"}, tt.isCaptured)
			data, saved := filepath.Join(s.Dir(), "data"), filepath.Join(s.Dir(), "saved")
			shutDown(t, s)
			runProgram(t, "/bin/cp", "-a", data, saved)
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.mustBreak()
			if _, err := users(p.g).ByToken(t.Context(), p.token); err != nil {
				t.Errorf("a token after a mere restart: %v", err)
			}
			p.goOn()
			if !tt.isSeen {
				p.g.stop()
			}

			shutDown(t, s)
			if err := errors.Join(os.RemoveAll(data), os.Rename(saved, data), s.Restart(t.Context())); err != nil {
				t.Fatal(err)
			}
			g := p.g
			if tt.isSeen {
				g.mustBreak()
			} else {
				g = another(t, s.URL("postgres"))
			}
			p.mustBeAnother(g, tt.isReached)
		})
	}
}

// A gateway started together with the server, beside older ones, remembers nothing: for a while it leaves the epoch to those that
// remember, and nobody's token is voided.
func TestPastThatOthersRemember(t *testing.T) {
	t.Parallel()
	s, p := owned(t, map[string]string{"synchronous_commit": "on"}, false)
	p.g.stop()
	announce := func(lastSeen uint64) error {
		return errors.Join(pgxpoolExec(t, p.g, fmt.Sprintf("BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE NOWAIT; "+
			"SELECT terasocket.announce(100, false, %d); COMMIT", lastSeen)), pgxpoolExec(t, p.g, "ROLLBACK"))
	}
	restart := func(lease string) {
		t.Helper()
		p.g.exec("DELETE FROM terasocket.gateways")
		p.g.exec("INSERT INTO terasocket.gateways (name, lease_until) VALUES ('other', clock_timestamp() + $1::interval)", lease)
		shutDown(t, s)
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		dbtest.Eventually(t, "the server is back", func() bool { return p.g.pool.Ping(t.Context()) == nil })
	}
	restart("1 hour")
	if err := announce(0); err == nil || !strings.Contains(err.Error(), "a gateway that has lived through it") {
		t.Errorf("a newcomer: %v", err)
	}
	if scan[bool](p.g, "SELECT terasocket.is_current()") {
		t.Error("the newcomer has begun an epoch")
	}
	if err := announce(p.g.feed.LastSeen()); err != nil {
		t.Errorf("a gateway that remembers: %v", err)
	}
	if _, err := users(p.g).ByToken(t.Context(), p.token); err != nil {
		t.Errorf("a token, when others remember: %v", err)
	}
	restart("-1 second")
	if err := announce(0); err != nil {
		t.Errorf("a newcomer that is alone: %v", err)
	}
	if _, err := users(p.g).ByToken(t.Context(), p.token); err == nil {
		t.Error("the token is accepted though nobody remembers")
	}
}

// pgxpoolExec runs several statements on one connection.
func pgxpoolExec(t *testing.T, g *gateway, sql string) error {
	t.Helper()
	return g.pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		_, err := c.Conn().PgConn().Exec(t.Context(), sql).ReadAll()
		return err
	})
}

// A standby that has not received everything takes over.
func TestPastOfAStandby(t *testing.T) {
	t.Parallel()
	pair := newPair(t)
	pool, err := db.Open(t.Context(), pair.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	p := remember(t, begin(t, pair.url(), pool, options{poll: 200e6}), false)
	standby := pair.standby()
	isThere := "SELECT pg_last_wal_replay_lsn() >= '" + scan[string](p.g, "SELECT pg_current_wal_insert_lsn()::text") + "'"
	dbtest.Eventually(t, "the standby has it", func() bool { return dbtest.One[bool](t, standby, isThere) })
	pair.cut(standby)
	p.goOn()
	if _, err := dbtest.Crash(pair.primary); err != nil {
		t.Fatal(err)
	}
	if !dbtest.One[bool](t, standby, "SELECT pg_promote(true, 30)") {
		t.Fatal("not promoted")
	}
	p.mustBreak()
	p.mustBeAnother(p.g, true) // its files are complete
}

// pg_upgrade makes another server of the same files. It loses nothing, but cannot be told from a restored dump.
func TestPastUpgraded(t *testing.T) {
	t.Parallel()
	s, p := owned(t, nil, false)
	upgrade := dbtest.Program(t, s.URL("postgres"), "pg_upgrade")
	old := &pair{t: t, primary: s, bin: scan[string](p.g, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")}
	if _, err := os.Stat(filepath.Join(old.bin, "pg_controldata")); err != nil {
		t.Skip("no pg_controldata beside the server: pg_upgrade needs it")
	}
	data, upgraded := filepath.Join(s.Dir(), "data"), filepath.Join(s.Dir(), "upgraded")
	must := func(name string, args ...string) {
		t.Helper()
		if out, err := old.as(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	locale := scan[string](p.g, "SELECT datcollate FROM pg_database WHERE datname = 'template0'")
	must(filepath.Join(filepath.Dir(upgrade), "initdb"), "-D", upgraded, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale="+locale, "--no-sync", "--wal-segsize=4")
	shutDown(t, s)
	must(upgrade, "-b", old.bin, "-B", filepath.Dir(upgrade), "-d", data, "-D", upgraded, "-U", "postgres")
	for _, name := range []string{"postgresql.conf", "pg_hba.conf"} {
		must("/bin/cp", filepath.Join(data, name), filepath.Join(upgraded, name))
	}
	if err := errors.Join(os.Rename(data, data+".old"), os.Rename(upgraded, data), s.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	p.mustBreak()
	p.mustBeAnother(p.g, false)
}
