package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/proto"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/proto/opentera"
)

// writer is a reign whose writes the test makes: no other gateway takes the bridge from it.
func (s *stage) writer() (*reign, *running) {
	s.Helper()
	b := s.leader(func(c *Config) { c.Lease, c.Write = time.Minute, 3*time.Second })
	return &reign{Bridge: b.Bridge, term: 2}, b
}

// items returns the items of a message.
func (s *stage) items(topic string, message proto.Message) []item {
	s.Helper()
	bytes, err := proto.Marshal(message)
	s.must(err)
	return decode(heard{topic: topic, payload: string(bytes)}).items
}

// topicOne is the direct topic of user 1.
const topicOne = "websocket.user." + userOne + ".events"

// stops returns the items of the numbered events first to last, each a message of its own.
func (s *stage) stops(first, last int) (items []item) {
	s.Helper()
	for n := first; n <= last; n++ {
		items = append(items, s.items(topicOne, numbered(topicOne, n, n))...)
	}
	return items
}

// An item that PostgreSQL rejects even as a parameter is refused alone; the rest is written, in order.
func TestItemThatIsNotTaken(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r, b := s.writer()
	items := append(s.stops(1, 5), item{what: isStatus, place: "\x00", content: "{}", topic: "user_manager_events"})
	s.must(r.writeItems(t.Context(), append(items, s.stops(6, 9)...)))
	s.numbers(9)
	if b.refused(malformed) != 1 || r.nth != 10 {
		t.Errorf("%d refused, %d taken", b.refused(malformed), r.nth)
	}
}

// An event that takes the database too long is refused alone; the others are written, each once and in order.
func TestItemThatIsTooSlow(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.exec(`CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$`)
	s.exec(`CREATE TRIGGER slow BEFORE INSERT ON terasocket.changes FOR EACH ROW WHEN (NEW.body::text LIKE '%slow%') EXECUTE FUNCTION public.slow()`)
	r, b := s.writer()
	slow := s.items(topicOne, standin.TeraEvent("", &opentera.JoinSessionEvent{SessionUuid: newUUID(), SessionParameters: "slow"}))
	items := append(append(s.stops(1, 2), slow...), s.stops(3, 4)...)
	s.must(r.writeItems(t.Context(), items))
	s.numbers(4)
	if b.refused(tooBig) != 1 || r.nth != 5 {
		t.Errorf("%d refused, %d taken", b.refused(tooBig), r.nth)
	}
}

// A call whose answer was lost, repeated with fewer items, returns how many are written.
func TestFewerItemsAfterALostAnswer(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r, _ := s.writer()
	items := s.stops(1, 8)
	s.must(r.writeItems(t.Context(), items))
	mark := string(r.mark)
	r.nth, r.mark = 0, nil
	for n := 8; n > 0; n /= 2 {
		if written, err := r.tryItems(t.Context(), items, n); written != 8 || err != nil || string(r.mark) != mark {
			t.Errorf("%d items tried: %d, %v", n, written, err)
		}
		r.nth, r.mark = 0, nil
	}
	// and the reverse: the full call arrives late
	r.nth = 8
	more := s.stops(9, 12)
	s.must(r.writeItems(t.Context(), more[:2]))
	r.nth = 8
	if written, err := r.tryItems(t.Context(), more, 4); written != 2 || err != nil {
		t.Errorf("%d, %v", written, err)
	}
	s.must(r.writeItems(t.Context(), more[2:]))
	s.numbers(12)
}

// An event that waits for another session's transaction does not delay the events before it.
func TestItemThatIsBlocked(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r, b := s.writer()
	other := dbtest.Conn(t, s.url)
	session := newUUID()
	dbtest.Exec(t, other, "BEGIN")
	dbtest.Exec(t, other, "INSERT INTO terasocket.busy (kind, principal, session_uuid) VALUES ('user', 3, $1)", session)
	join := s.items(messagesTopic, standin.ModuleMessage("serviceX", messagesTopic, &opentera.JoinSessionEvent{SessionUuid: session, SessionUsers: []string{s.user(3)}}))
	if len(join) != 1 {
		t.Fatalf("%d items", len(join))
	}
	items := append(append(s.stops(1, 3), join...), s.stops(4, 5)...)
	done := make(chan error, 1)
	go func() { done <- r.writeItems(t.Context(), items) }()
	s.numbers(3)
	select {
	case err := <-done:
		t.Errorf("the item does not wait: %v", err)
	default:
	}
	dbtest.Exec(t, other, "ROLLBACK")
	s.must(<-done)
	s.numbers(5)
	if b.refused(malformed)+b.refused(tooBig)+b.refused(broken) != 0 {
		t.Error("items were refused")
	}
}

// An error that is not the fault of an item stops nothing for good, and drops nothing.
func TestBlame(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return fmt.Errorf("write: %w", &pgconn.PgError{Code: code}) }
	for _, c := range []struct {
		err       error
		reason    string
		isTooMuch bool
	}{
		{state("22021"), malformed, true}, {state("54000"), tooBig, true}, {context.DeadlineExceeded, tooBig, true},
		{state("55P03"), "", true}, {state("53200"), "", true},
		{state("40P01"), "", false}, {state("53300"), "", false}, {state("57P01"), "", false}, {state("25006"), "", false},
		{state("42501"), "", false}, {errors.New("connection reset"), "", false},
	} {
		if reason, isTooMuch := blame(c.err); reason != c.reason || isTooMuch != c.isTooMuch {
			t.Errorf("%v: %q, %t", c.err, reason, isTooMuch)
		}
	}
}

// A message or topic that is too big is not kept; it is counted in its place, and stops nothing.
func TestTooBigMessages(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var log dbtest.Log
	b := s.leader(func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	big := strings.Repeat("secret", payloadBytes/6+1)
	for _, topic := range []string{messagesTopic, eventsTopic, archiveTopic, commandTopics + s.user(3), "websocket.user." + s.user(3) + ".events"} {
		s.must(s.client.Publish(t.Context(), topic, big).Err())
	}
	s.must(s.client.Publish(t.Context(), "websocket.user."+strings.Repeat("secret", 50)+".events", "x").Err())
	s.hearsNothing()
	if b.refused(tooBig) != 6 || log.Count("secret") > 0 {
		t.Errorf("%d refused\n%s", b.refused(tooBig), log.String())
	}
	st := newStream()
	s.must(st.put(t.Context(), heard{topic: "abc", payload: "de"}))
	s.must(st.put(t.Context(), heard{topic: messagesTopic, payload: big}))
	if want := 5 + len(messagesTopic); st.bytes != want {
		t.Errorf("%d bytes are kept, want %d", st.bytes, want)
	}
	s.must(st.put(t.Context(), heard{topic: repliesTopic + "x", payload: big})) // answers to us may be long
	if st.waiting[2].payload != big {
		t.Error("an answer was cut")
	}
	st.done(3)
	if st.bytes != 0 {
		t.Errorf("%d bytes are left", st.bytes)
	}
}

// bridge.md 1.4: the events of one message are rows of one transaction, in order; of a message with very many, in parts.
func TestVeryManyItems(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.leader(nil)
	const n = 2*itemsSize + 10
	s.send(topicOne, numbered(topicOne, 1, n))
	s.eventually("all are recorded", func() bool { return s.number("SELECT count(*) FROM terasocket.changes WHERE what = 'message'") == n })
	if n := s.number("SELECT count(DISTINCT xid) FROM terasocket.changes WHERE what = 'message'"); n != 3 {
		t.Errorf("%d transactions", n)
	}
	s.numbers(n)
}

// bridge.md 1.3: of items written together, each bad one is refused alone, for its own reason; items that are not events (a
// kick, a join) keep their place. The same holds if PostgreSQL cannot take all in one statement.
func TestManyWithBadOnes(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]string{"at once": "", "one by one": "\x00"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			r, b := s.writer()
			session := newUUID()
			join := s.items(messagesTopic, standin.ModuleMessage("serviceX", messagesTopic, &opentera.JoinSessionEvent{SessionUuid: session, SessionUsers: []string{s.user(3)}}))
			leave := s.items(messagesTopic, standin.ModuleMessage("serviceX", messagesTopic, &opentera.StopSessionEvent{SessionUuid: session}))
			kick := s.items(commandTopics+s.user(4), standin.ModuleMessage("x", "", &opentera.ServerCommand{Type: opentera.ServerCommand_CMD_CLIENT_DISCONNECT}))
			nobody := s.items("websocket.user."+newUUID()+".events", standin.TeraEvent("", stopEvent()))
			huge := s.items(topicOne, standin.TeraEvent(topicOne, &opentera.JoinSessionEvent{SessionUuid: newUUID(), SessionParameters: strings.Repeat("x", 300000)}))
			noUUID := s.items(topicOne, standin.TeraEvent(topicOne, &opentera.StopSessionEvent{SessionUuid: "x"}))
			last := s.items(topicOne, standin.TeraEvent(topicOne, &opentera.UserEvent{UserUuid: s.user(5), Type: opentera.UserEvent_USER_UPDATED, UserFullname: "x" + odd}))
			s.must(r.writeItems(t.Context(), slices.Concat(s.stops(1, 1), join, nobody, s.stops(2, 2), huge, kick, noUUID, s.stops(3, 3), leave, s.stops(4, 4), last)))
			want := []string{"StopSessionEvent", "USER_JOINED_SESSION 3", "StopSessionEvent", "Kick user 4", "StopSessionEvent", "USER_LEFT_SESSION 3", "StopSessionEvent"}
			if odd == "" {
				want = append(want, "USER_UPDATED 5")
			}
			s.hears(want...)
			if b.refused(notAllowed) != 2 || b.refused(tooBig) != 1 || b.refused(malformed) != len(odd) || b.refused(broken) != 0 || r.nth != 11 {
				t.Errorf("refused: %d not allowed, %d too big, %d malformed, %d unexpected; %d taken", b.refused(notAllowed), b.refused(tooBig), b.refused(malformed), b.refused(broken), r.nth)
			}
		})
	}
}

// If a service lets somebody join a session in a transaction that it leaves open, it delays other messages for Config.Blocked,
// and no reconciliation; once that transaction has ended, the busy are those that the user manager reports.
func TestItemThatIsBlockedForLong(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	b := s.leader(func(c *Config) { c.Blocked = time.Second })
	other := dbtest.Conn(t, s.url)
	dbtest.Exec(t, other, "BEGIN")
	dbtest.Exec(t, other, "INSERT INTO terasocket.busy (kind, principal, session_uuid) VALUES ('user', 3, $1)", newUUID())
	session := standin.Session{UUID: newUUID(), Users: []string{s.user(3), s.user(4)}}
	s.must(s.service.Join(t.Context(), session))
	s.direct(1, 2)
	s.numbers(2)
	if b.refused(notTaken) != 1 {
		t.Errorf("%d refused", b.refused(notTaken))
	}
	busy := "SELECT count(*) FROM terasocket.busy WHERE kind = 'user' AND session_uuid = '" + session.UUID + "' AND principal = "
	s.eventually("a comparison waits for nobody", func() bool { return s.number(busy+"4") == 1 })
	dbtest.Exec(t, other, "ROLLBACK")
	s.eventually("the next one finds the other", func() bool { return s.number(busy+"3") == 1 })
}
