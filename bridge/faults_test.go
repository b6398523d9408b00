package bridge

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
)

// bridge.md 8, 9, 11: Redis is stopped, or hangs, and returns empty: sockets stay, the outage is counted, and everybody is online
// there afterwards, because reconnecting starts a reconciliation.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ begin, end func(*stage) }{
		"stopped": {func(s *stage) { s.server.Kill() }, func(s *stage) { s.must(s.server.Start(s.Context())) }},
		"frozen":  {func(s *stage) { s.must(s.server.Freeze()) }, func(s *stage) { s.must(s.server.Thaw()) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			s.opentera()
			b := s.leader(func(c *Config) { c.Silence, c.Reconcile = 200*time.Millisecond, time.Hour })
			s.connect("user", 3, 1)
			s.connect("user", 4, 2)
			s.isOnline(3, 4)
			fault.begin(s)
			s.eventually("it is noticed", func() bool { return b.Err() != nil })
			s.leave(2)
			s.connect("user", 5, 3)
			time.Sleep(outage(time.Second, 20*time.Second))
			fault.end(s)
			s.eventually("it is subscribed again", func() bool { return b.Err() == nil })
			if name == "stopped" { // it has lost its keys: OpenTera must be restarted
				s.must(s.manager.Stop(t.Context()))
				s.opentera()
			}
			s.isOnline(3, 5)
			s.hears("USER_CONNECTED 3", "USER_CONNECTED 4", "USER_CONNECTED 5")
			s.hearsNothing()
			if testutil.ToFloat64(b.metrics.outages) < 1 || testutil.ToFloat64(b.metrics.outageSeconds) < 1 || testutil.ToFloat64(b.metrics.up) != 1 {
				t.Errorf("outages: %v of %v s", testutil.ToFloat64(b.metrics.outages), testutil.ToFloat64(b.metrics.outageSeconds))
			}
		})
	}
}

// bridge.md 9: Redis cuts a slow subscriber off: a counted outage, not a silent loss. The bridge stops reading when its stream is full
// because the database takes nothing.
func TestCutOff(t *testing.T) {
	t.Parallel()
	s := setup(t, "--client-output-buffer-limit", "pubsub 256kb 256kb 60")
	b := s.leader(nil)
	other := dbtest.Conn(t, s.url)
	dbtest.Exec(t, other, "BEGIN")
	dbtest.Exec(t, other, "LOCK TABLE terasocket.changes IN SHARE MODE")
	s.direct(1)
	payload := strings.Repeat("\xff", 60<<10) // no protobuf, and less than the limit
	outages := func() float64 { return testutil.ToFloat64(b.metrics.outages) }
	for s.subscribers() > 0 && outages() == 0 { // the stream is full by then, or the machine is busy
		s.must(s.client.Publish(t.Context(), topicOne, payload).Err())
	}
	dbtest.Exec(t, other, "ROLLBACK")
	s.eventually("it is counted", func() bool { return outages() == 1 })
	s.eventually("it is subscribed again", func() bool { return b.Err() == nil })
	s.direct(2)
	s.numbers(2)
}

// subscribers returns how many bridges are subscribed to Redis.
func (s *stage) subscribers() int {
	s.Helper()
	list, err := s.client.Do(s.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
	s.must(err)
	return strings.Count(list, fmt.Sprintf("psub=%d ", len(patterns)))
}

// bridge.md 11: PostgreSQL is down: what is published meanwhile waits and is written, each once; nothing uncommitted is told;
// nobody is reported gone.
func TestPostgreSQLAway(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"stopped", "hangs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			s.opentera()
			said := s.overhear()
			proxy := gatewaytest.NewProxy(t, s.url)
			direct := s.url
			s.url = proxy.URL
			b := s.bridge(nil)
			s.url = direct
			s.leads(b)
			s.connect("user", 3, 1)
			s.isOnline(3)
			s.direct(1)
			s.numbers(1)
			if name == "stopped" {
				proxy.Cut()
			} else {
				proxy.Stall()
			}
			for n := 2; n <= 300; n++ {
				s.direct(n)
			}
			s.connect("user", 4, 2)
			s.must(s.service.Kick(t.Context(), strings.Repeat("x", 36)))
			time.Sleep(outage(time.Second, 20*time.Second)) // longer than the lease
			if got := said.ours(); len(got) != 1 {
				t.Errorf("told: %v", got)
			}
			proxy.Restore()
			s.numbers(300)
			s.isOnline(3, 4)
			if got := said.count("USER_DISCONNECTED"); got != 0 {
				t.Errorf("%d were reported gone", got)
			}
			if testutil.ToFloat64(b.metrics.outages) != 0 {
				t.Error("Redis was lost too")
			}
		})
	}
}

// bridge.md 11: the same when PostgreSQL crashes and is restarted.
func TestPostgreSQLCrashes(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t, map[string]string{"synchronous_commit": "on"})
	url := server.URL("postgres")
	if err := Migrated().Fill(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	s := setupOn(t, url, dbtest.Conn(t, url))
	s.opentera()
	said := s.overhear()
	s.leader(nil)
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.direct(1)
	s.numbers(1)
	pid, err := dbtest.Crash(server)
	s.must(err)
	s.eventually("the server is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	for n := 2; n <= 300; n++ {
		s.direct(n)
	}
	time.Sleep(outage(time.Second, 20*time.Second)) // longer than the lease
	s.must(server.Restart(t.Context()))
	s.conn = dbtest.Conn(t, url)
	s.exec("SELECT terasocket.enter_epoch($1)", s.seen) // as a gateway does that was running before the crash
	s.numbers(300)
	if got := said.ours(); len(got) != 1 {
		t.Errorf("told: %v", got)
	}
	s.connect("user", 4, 2)
	s.isOnline(3, 4)
}

// If a connection breaks in the middle of a write, the write takes effect once, committed or not.
func TestAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.leader(nil)
	const total = 2000
	sent := make(chan error, 1)
	go func() {
		pipe := s.client.Pipeline()
		for n := 1; n <= total; n++ {
			_ = queue(t.Context(), pipe, topicOne, numbered(topicOne, n, n))
			if n%100 == 0 {
				if _, err := pipe.Exec(t.Context()); err != nil {
					sent <- err
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		sent <- nil
	}()
	for range 20 {
		s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%bridge_take%' AND pid <> pg_backend_pid()`)
		time.Sleep(20 * time.Millisecond)
	}
	s.must(<-sent)
	s.numbers(total)
	if user := s.user(1); user != userOne {
		t.Fatalf("user 1 is %s", user)
	}
}

// bridge.md 9: If the gateway that holds the bridge loses Redis, nothing is lost that another one has received: that one takes
// the bridge at once and continues after the last written message.
func TestAnotherHearsMeanwhile(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	var isCut atomic.Bool
	first := s.bridge(func(c *Config) {
		client, err := Open(func() (string, error) {
			if isCut.Load() {
				return "", errors.New("cut off")
			}
			return s.server.URL(), nil
		})
		s.must(err)
		s.Cleanup(func() { _ = client.Close() })
		c.Redis = client
	})
	s.leads(first)
	subscribers, err := s.client.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
	s.must(err)
	second := s.bridge(nil)
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.direct(1)
	s.numbers(1)
	isCut.Store(true)
	for line := range strings.Lines(subscribers) {
		if strings.Contains(line, "psub=4") { // ours; the user manager has fewer topics
			s.must(s.client.Do(t.Context(), "CLIENT", "KILL", "ID", strings.TrimPrefix(strings.Fields(line)[0], "id=")).Err())
		}
	}
	s.eventually("the first has lost Redis", func() bool { return first.Err() != nil })
	s.direct(2, 3)
	isCut.Store(false)
	s.eventually("it is back", func() bool { return first.Err() == nil })
	s.direct(4)
	s.numbers(4)
	s.leads(second)
	second.stop() // and back, without writing anything twice
	s.leads(first)
	s.direct(5)
	s.numbers(5)
	s.isOnline(3)
}
