package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/proto/opentera"
)

// direct publishes numbered events to user 1.
func (s *stage) direct(numbers ...int) {
	s.Helper()
	for _, n := range numbers {
		s.send(topicOne, numbered(topicOne, n, n))
	}
}

// numbers waits until the log has the numbered events 1 to n, each once and in order.
func (s *stage) numbers(n int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d are in the log", n), func() bool {
		s.said()
		return s.number("SELECT count(*) FROM terasocket.events WHERE type LIKE '%StopSessionEvent'") >= n
	})
	if s.number("SELECT count(*) FROM terasocket.events WHERE type LIKE '%StopSessionEvent'") != n ||
		s.number(`SELECT count(*) FROM (SELECT right(body->>'sessionUuid', 12)::integer AS n, row_number() OVER (ORDER BY seq) AS place
			FROM terasocket.events WHERE type LIKE '%StopSessionEvent') e WHERE e.n <> e.place`) != 0 {
		s.Errorf("the log does not hold the events 1 to %d, each once and in order", n)
	}
}

// bridge.md 0, 8, 11 (two bridges): one gateway holds the bridge, and nothing is written twice; when it stops, another continues
// after the last written message, so that nothing is lost, and reconciles.
func TestTwoBridges(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	seldom := func(c *Config) { c.Reconcile = time.Hour }
	first := s.leader(seldom)
	second := s.bridge(seldom)
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.direct(1, 2, 3)
	s.numbers(3)
	if got := testutil.ToFloat64(first.metrics.sent.WithLabelValues("UserEvent")) + testutil.ToFloat64(second.metrics.sent.WithLabelValues("UserEvent")); got != 1 {
		t.Errorf("the user manager was told %v times", got)
	}
	// from somebody else: only a reconciliation notices it
	s.send(messagesTopic, standin.ModuleMessage("serviceX", messagesTopic, &opentera.UserEvent{UserUuid: s.user(3), Type: opentera.UserEvent_USER_DISCONNECTED}))
	s.isOnline()
	first.stop()
	s.direct(4, 5) // while nobody holds it
	s.leads(second)
	s.direct(6)
	s.numbers(6)
	if n := s.number("SELECT count(*) FROM terasocket.events WHERE body->>'type' = 'USER_CONNECTED'"); n != 1 {
		t.Errorf("%d announced", n)
	}
	s.isOnline(3)
}

// bridge.md 0: a gateway that freezes loses the bridge, and what it still sends is rejected.
func TestFrozenBridge(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	frozen := &reign{Bridge: s.bridge(func(c *Config) { c.Redis = s.open() }).Bridge}
	s.eventually("it has the bridge", func() bool { return s.number("SELECT term FROM terasocket.bridge") == 2 })
	frozen.term = 2
	s.exec("UPDATE terasocket.bridge SET lease_until = now() - interval '1 second', term = 3") // another gateway has taken it
	if err := frozen.writeItems(t.Context(), []item{{what: isPublished, place: "x", content: "{}"}}); err != errLost {
		t.Errorf("written: %v", err)
	}
	if err := frozen.tell(t.Context(), true); err != errLost {
		t.Errorf("told: %v", err)
	}
	if found := frozen.compare(t.Context(), nil, nil); found.err == nil {
		t.Error("compared")
	}
	if err := frozen.record(t.Context(), []untold{{Kind: "user", Principal: 3}}); err != errLost {
		t.Errorf("recorded: %v", err)
	}
}

// idle returns a bridge that does not run.
func (s *stage) idle(gateway string) *Bridge {
	s.Helper()
	config := Config{Redis: s.open(), Pool: dbtest.Pool(s, s.url), Gateway: gateway, Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler)}
	quick(&config)
	return New(config)
}

// reign takes the bridge for b.
func (s *stage) reign(b *Bridge) *reign {
	s.Helper()
	r, _, err := b.takeOver(s.Context())
	s.must(err)
	return r
}

// A gateway that was frozen notices that another has had the bridge since, even if that one is gone.
func TestRenewTakesNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	lapse := func() { s.exec("UPDATE terasocket.bridge SET lease_until = clock_timestamp() - interval '1 second'") }
	frozen, other := s.idle("frozen"), s.idle("other")
	first, _, err := frozen.lead(t.Context(), 0)
	s.must(err)
	lapse()
	if term, _, err := frozen.lead(t.Context(), first); err != nil || term != first {
		t.Errorf("nobody took it: term %d, not %d: %v", term, first, err)
	}
	lapse()
	second, _, err := other.lead(t.Context(), 0)
	s.must(err)
	for _, stand := range []string{"there", "gone"} {
		if term, _, err := frozen.lead(t.Context(), first); !errors.Is(err, errLost) {
			t.Errorf("the other is %s: term %d, %v", stand, term, err)
		}
		if term, _, err := frozen.lead(t.Context(), second); !errors.Is(err, errLost) {
			t.Errorf("the other is %s, and its term is taken for ours: term %d, %v", stand, term, err)
		}
		lapse()
	}
}

// Changes of sockets are recorded from when the bridge is taken until a minute after it was last held, so that nothing is lost
// between two gateways.
func TestMovesAreNoted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.reign(s.idle("here"))
	for i, step := range []struct {
		name, sql string
		isNoted   bool
	}{
		{"held", "SELECT 1", true},
		{"lapsed", "UPDATE terasocket.bridge SET lease_until = clock_timestamp() - interval '50 seconds'", true},
		{"given back", fmt.Sprintf("SELECT terasocket.bridge_leave(%d)", r.term), true},
		{"nobody's for long", "UPDATE terasocket.bridge SET lease_until = clock_timestamp() - interval '2 minutes'", false},
	} {
		s.exec(step.sql)
		s.exec("DELETE FROM terasocket.bridge_moves")
		s.connect("user", 3+i, i)
		if got := s.number("SELECT count(*) FROM terasocket.bridge_moves") == 1; got != step.isNoted {
			t.Errorf("%s: noted %v, want %v", step.name, got, step.isNoted)
		}
	}
	if _, _, err := s.idle("next").takeOver(t.Context()); err != nil {
		t.Errorf("it was given back: %v", err)
	}
}

// A gateway that could not renew its lease in time checks everybody once it can.
func TestLeaseNotRenewedForLong(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	s.leader(func(c *Config) { c.Reconcile = time.Hour })
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.exec(`CREATE FUNCTION terasocket.fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
		UPDATE terasocket.bridge SET lease_until = clock_timestamp() - interval '2 minutes';
		CREATE TRIGGER fails BEFORE UPDATE OF lease_until ON terasocket.bridge FOR EACH ROW EXECUTE FUNCTION terasocket.fails()`)
	s.connect("user", 4, 2)
	time.Sleep(time.Second) // longer than the lease
	s.exec("DROP FUNCTION terasocket.fails CASCADE")
	s.isOnline(3, 4)
}

// bridge.md 0: the bridge of a gateway that died is taken over within its lease and a third, after its last message.
func TestBridgeOfADeadGateway(t *testing.T) {
	t.Parallel()
	s := setup(t)
	heir := s.leader(func(c *Config) { c.Lease = 900 * time.Millisecond })
	s.direct(1, 2)
	s.numbers(2)
	// it loses the bridge to one that writes the third, and dies
	s.exec("UPDATE terasocket.bridge SET term = term + 1, lease_until = now() + interval '2 seconds', taken = 0")
	s.eventually("it has lost it", func() bool { return testutil.ToFloat64(heir.metrics.leader) == 0 })
	dead := &reign{Bridge: heir.Bridge, term: 3}
	s.direct(3, 4)
	var third heard
	s.eventually("it has heard both", func() bool {
		list, err := heir.stream.take(t.Context(), 2)
		if err == nil && len(list) == 2 {
			third = list[0]
		}
		return len(list) == 2
	})
	items := decode(third).items
	s.must(dead.writeItems(t.Context(), items))
	// the answer was lost: it is sent once more
	dead.nth--
	s.must(dead.writeItems(t.Context(), items))
	s.leads(heir)
	s.direct(5)
	s.numbers(5)
}

// A full stream blocks put on the gateway that holds the bridge; on the others it keeps the newest messages.
func TestStreamIsBounded(t *testing.T) {
	t.Parallel()
	s := newStream()
	for i := range streamMessages + 10 {
		s.must(t, s.put(t.Context(), heard{payload: fmt.Sprint(i)}))
	}
	if s.waiting[0].payload != "10" || len(s.waiting) != streamMessages {
		t.Errorf("the first of %d is %s", len(s.waiting), s.waiting[0].payload)
	}
	m := s.waiting[4].mark()
	s.lead(place{mark: m[:]})
	if s.waiting[0].payload != "15" {
		t.Errorf("the first is %s", s.waiting[0].payload)
	}
	for i := range 5 {
		s.must(t, s.put(t.Context(), heard{payload: fmt.Sprint(i)}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.put(ctx, heard{payload: "last"}) }()
	for !s.isFull() {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("there was room")
	}
	go func() { done <- s.put(t.Context(), heard{payload: "last"}) }()
	s.done(1)
	s.must(t, <-done)
	s.follow()
	s.broken()
	s.must(t, s.put(t.Context(), heard{at: time.Now()}))
	s.must(t, s.put(t.Context(), heard{at: time.Now().Add(2 * streamKeeps)}))
	if len(s.waiting) != 1 || s.bytes != 0 {
		t.Errorf("%d wait", len(s.waiting))
	}
}

func (s *stream) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const userOne = "606db7bf-089a-5dd8-b6e9-2e4082d37e28"

// numbered returns a message with the events of numbers first to last.
func numbered(topic string, first, last int) *opentera.TeraEvent {
	var events []proto.Message
	for n := first; n <= last; n++ {
		events = append(events, &opentera.StopSessionEvent{SessionUuid: fmt.Sprintf("00000000-0000-4000-8000-%012d", n)})
	}
	return standin.TeraEvent(topic, events...)
}
