package eventlog_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// polls starts a gateway with this setting of terasocket.poll in its own sessions only.
func polls(t *testing.T, url, setting string) *gateway {
	t.Helper()
	return begin(t, url, dbtest.Pool(t, url+"&terasocket.poll="+setting), options{})
}

func isPolling(g *gateway) bool { return g.value("terasocket_polling") == 1 }

// silent publishes marks one by one, in transactions without a notification since a gateway polls; a transaction that notified, because
// polling was late on a busy machine, does not count.
func silent(g *gateway, publish func()) {
	g.t.Helper()
	for range 100 {
		dbtest.Eventually(g.t, "a gateway polls", func() bool { return isAhead(g) })
		publish()
		if isAhead(g) {
			return
		}
	}
	g.t.Fatal("the machine is too busy")
}

func isAhead(g *gateway) bool {
	g.t.Helper()
	return scan[bool](g, "SELECT last_value > date_part('epoch', clock_timestamp()) * 1000000 FROM terasocket.polled_until")
}

// While changes come fast a gateway polls and nobody notifies; afterwards everybody notifies again. Nothing is lost in between.
func TestAGatewayPollsWhileItIsBusy(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	g := polls(t, url, "on")
	other := polls(t, url, "on")
	var want []string
	var group errgroup.Group
	isOver := make(chan struct{})
	group.Go(func() error {
		for {
			select {
			case <-isOver:
				return nil
			default:
			}
			want = append(want, fmt.Sprint(len(want)))
			if _, err := g.pool.Exec(t.Context(), publish, want[len(want)-1:]); err != nil {
				return err
			}
		}
	})
	dbtest.Eventually(t, "one polls", func() bool { return isPolling(g) || isPolling(other) })
	dbtest.Eventually(t, "changes without a notification", func() bool {
		return g.value("terasocket_notifications_skipped_total")+other.value("terasocket_notifications_skipped_total") > 100
	})
	close(isOver)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	g.mustHear(want...)
	other.mustHear(want...)
	dbtest.Eventually(t, "nobody polls any more", func() bool { return !isPolling(g) && !isPolling(other) && !isAhead(g) })
	g.publish(g.pool, "quiet")
	g.mustHear("quiet")
	dbtest.Eventually(t, "nobody looks any more", func() bool {
		before := g.value("terasocket_polls_total") + other.value("terasocket_polls_total")
		time.Sleep(500 * time.Millisecond)
		return g.value("terasocket_polls_total")+other.value("terasocket_polls_total") == before
	})
	if g.value("terasocket_polls_total")+other.value("terasocket_polls_total") == 0 {
		t.Error("nobody has polled")
	}
}

// At ten changes a second nobody polls.
func TestNobodyPollsWhileItIsQuiet(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	g := polls(t, url, "on")
	for i := range 10 {
		g.publish(g.pool, fmt.Sprint(i))
		g.hear(fmt.Sprint(i))
		time.Sleep(100 * time.Millisecond)
		if isPolling(g) {
			t.Fatal("it polls")
		}
	}
}

// The polling gateway dies without a word. The other one, which otherwise polls once a minute here, finds what was committed without a
// notification once the time of the first has passed.
func TestAGatewayThatDiesWhilePolling(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	other := polls(t, url, "off")
	g := polls(t, url, "always")
	dbtest.Eventually(t, "it polls", func() bool { return isPolling(g) })
	silent(g, func() { g.publish(g.pool, "before") })
	other.hear("before")
	g.stop()
	other.publish(other.pool, "after")
	other.hear("after")
	dbtest.Eventually(t, "nobody polls", func() bool { return scan[int64](other, "SELECT last_value FROM terasocket.polled_until") == 0 })
}

// Transactions that found a gateway polling, and commit when nobody polls any more, are announced: one that slept, and a prepared one,
// also across a restart of the gateway.
func TestLateCommits(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	g := polls(t, url, "always")
	dbtest.Eventually(t, "it polls", func() bool { return isPolling(g) })
	name := "'late " + scan[string](g, "SELECT current_database()") + "'"
	asleep, prepared, third := dbtest.Conn(t, url), dbtest.Conn(t, url), dbtest.Conn(t, url)
	silent(g, func() {
		dbtest.Exec(t, asleep, "ROLLBACK; BEGIN")
		g.publish(asleep, "asleep")
	})
	silent(g, func() {
		dbtest.Exec(t, prepared, "ROLLBACK; BEGIN")
		g.publish(prepared, "prepared")
	})
	silent(g, func() {
		dbtest.Exec(t, third, "ROLLBACK; BEGIN")
		g.publish(third, "third")
	})
	dbtest.Exec(t, prepared, "PREPARE TRANSACTION "+name)
	g.stop()
	other := polls(t, url, "off")
	dbtest.Eventually(t, "nobody polls", func() bool { return scan[int64](other, "SELECT last_value FROM terasocket.polled_until") == 0 })
	time.Sleep(2 * time.Second) // the pauses grow
	dbtest.Exec(t, asleep, "COMMIT")
	other.mustHear("asleep")
	other.publish(other.pool, "of which it is notified meanwhile")
	other.mustHear("of which it is notified meanwhile")
	dbtest.Exec(t, other.pool, "COMMIT PREPARED "+name)
	other.mustHear("prepared")
	other.stop()
	last := polls(t, url, "off")
	dbtest.Exec(t, third, "COMMIT")
	last.mustHear("third")
	dbtest.Eventually(t, "nobody looks any more", func() bool {
		before := last.value("terasocket_polls_total")
		time.Sleep(500 * time.Millisecond)
		return last.value("terasocket_polls_total") == before
	})
}

// A gateway older than polling announces beside one that polls, and nobody misses anything.
func TestAnOlderGatewayBesideOneThatPolls(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	g := polls(t, url, "always")
	dbtest.Eventually(t, "it polls", func() bool { return isPolling(g) })
	older := dbtest.Conn(t, url)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		g.publish(g.pool, want[i])
		dbtest.Announce(t, older, 2000)
	}
	g.mustHear(want...)
	if !isPolling(g) {
		t.Error("it does not poll any more")
	}
}

// While a gateway polls, a failed attempt is not logged: the change may wait.
func TestTheLagOfAGatewayThatPolls(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	g := polls(t, url, "always")
	dbtest.Eventually(t, "it polls", func() bool { return isPolling(g) })
	release := g.holdAnnouncements("announcements")
	defer release()
	dbtest.Eventually(t, "the lag grows", func() bool { return g.progress.Lag() > 300*time.Millisecond })
	release()
	dbtest.Eventually(t, "and is over", func() bool { return g.progress.Lag() < 300*time.Millisecond })
}

// Without LISTEN a gateway does not poll: another one takes over.
func TestAGatewayThatDoesNotListenDoesNotPoll(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	g := polls(t, url, "always")
	dbtest.Eventually(t, "it polls", func() bool { return isPolling(g) })
	for range 5 {
		g.killListeners()
	}
	g.publish(g.pool, "x")
	g.mustHear("x")
	dbtest.Eventually(t, "it polls again", func() bool { return isPolling(g) })
}

// PostgreSQL crashes, and is restarted, while a gateway polls: the gateway goes on, and nothing is lost.
func TestPostgreSQLStartsAgainWhileAGatewayPolls(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t, map[string]string{"synchronous_commit": "on", "fsync": "on"})
	url := server.URL("postgres")
	if err := dbtest.OpenTera("polls", migrations.Up).Fill(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	g := polls(t, url, "always")
	for i, stop := range []func() error{func() error { return nil }, func() error { // the first: Restart stops it
		pid, err := dbtest.Crash(server)
		dbtest.Eventually(t, "the server is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
		return err
	}} {
		dbtest.Eventually(t, "it polls", func() bool { return isPolling(g) })
		writer := dbtest.Conn(t, url)
		name := fmt.Sprintf("'restart %d'", i)
		silent(g, func() {
			dbtest.Exec(t, writer, "ROLLBACK; BEGIN")
			g.publish(writer, fmt.Sprint("prepared ", i))
		})
		dbtest.Exec(t, writer, "PREPARE TRANSACTION "+name)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.mustBreak()
		dbtest.Exec(t, g.pool, "COMMIT PREPARED "+name)
		if heard := marks(g.hear(fmt.Sprint("prepared ", i))); strings.Join(heard, "") != fmt.Sprint("prepared ", i) {
			t.Errorf("heard %q", heard)
		}
	}
}

// At its COMMIT an announcement waits for earlier notifiers, longer than for any other lock: otherwise it would fail again and again
// beside many writers.
func TestAnAnnouncementWaitsForItsTurnToNotify(t *testing.T) {
	t.Parallel()
	url := dbtest.Server(t, map[string]string{"fsync": "on", "commit_delay": "90000", "commit_siblings": "0"}).URL("postgres")
	if err := dbtest.OpenTera("turns", migrations.Up).Fill(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	g := begin(t, url, dbtest.Pool(t, url), options{})
	var group errgroup.Group
	isOver := make(chan struct{})
	for i := range 4 { // each holds the queue for 90 ms
		conn := dbtest.Conn(t, url)
		group.Go(func() error {
			for {
				select {
				case <-isOver:
					return nil
				default:
				}
				if _, err := conn.Exec(t.Context(), fmt.Sprintf(`SET synchronous_commit = on; CREATE TABLE IF NOT EXISTS turn_%[1]d (n integer);
					INSERT INTO turn_%[1]d VALUES (1); NOTIFY elsewhere, 'x'`, i)); err != nil {
					return err
				}
			}
		})
	}
	before := g.value("terasocket_announce_busy_total")
	for i := range 5 {
		g.publish(g.pool, fmt.Sprint(i))
		g.mustHear(fmt.Sprint(i))
	}
	if n := g.value("terasocket_announce_busy_total") - before; n > 0 {
		t.Errorf("%v announcements failed, since it was not their turn", n)
	}
	close(isOver)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// A gateway waits for the lock while another begins to poll, and then has nothing left to announce: it still learns of the polling, and
// finds what was committed after the other one died.
func TestGatewayLearnsOfPollingWhileItWaits(t *testing.T) {
	url := dbtest.New(t, migrated())
	t.Parallel()
	g := polls(t, url, "off")
	begin := func() *pgx.Conn { // the other gateway's announcement, once the one before it has ended
		conn := dbtest.Conn(t, url+"&terasocket.poll=always")
		dbtest.Exec(t, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ")
		return conn
	}
	const lock = "LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE"
	end := func(conn *pgx.Conn, next *pgx.Conn) {
		t.Helper()
		dbtest.Exec(t, conn, "SELECT * FROM terasocket.announce(2000, false, 0) a, LATERAL terasocket.poll(7, true, coalesce(pg_sequence_last_value('terasocket.polled_until'), 0) > 0, false)")
		var group errgroup.Group
		group.Go(func() error { _, err := next.Exec(t.Context(), lock); return err })
		dbtest.Eventually(t, "the next one waits", func() bool {
			return scan[bool](g, "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)", int(next.PgConn().PID()))
		})
		dbtest.Exec(t, conn, "COMMIT")
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	first, second, third := begin(), begin(), begin()
	dbtest.Exec(t, first, lock)
	g.publish(g.pool, "before")
	dbtest.Eventually(t, "it waits", func() bool { return g.value("terasocket_announce_busy_total") > 3 })
	end(first, second)
	g.mustHear("before")
	time.Sleep(300 * time.Millisecond) // it has taken the hints
	g.publish(g.pool, "between")
	end(second, third)
	g.mustHear("between")
	time.Sleep(300 * time.Millisecond) // longer than its longest pause
	writer := dbtest.Conn(t, url)
	dbtest.Exec(t, third, "ROLLBACK; SELECT setval('terasocket.polled_until', (date_part('epoch', clock_timestamp()) * 1000)::bigint * 1000 + 990007)")
	g.publish(writer, "after")
	g.mustHear("after")
}
