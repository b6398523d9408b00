package ws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

func TestResumeReplaysThenGoesLive(t *testing.T) {
	t.Parallel()
	mine, others := keysOf(user(7)), keysOf(user(8))
	log := &tape{perPage: 2}
	g := log.gateway(t, nil)
	g.tell(message("1", mine), message("2", mine), message("3", others), message("4", mine), message("5", ""), message("6", mine), message("7", mine))
	log.before = func(question string) error {
		if question == "page" && log.last() < 9 { // live while the replay reads: held
			g.tell(message("live, held", mine), message("", others))
		}
		return nil
	}
	c := g.connect(t, "user?id=user_7_a&since=1")
	c.hears("2", "4", "6", "7", "cursor 7", "live, held")
	g.tell(message("live", mine))
	c.hears("live")
}

// The dispatcher may be behind the log: events that it brings late were replayed, and are not sent again.
func TestResumeAheadOfTheDispatcher(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, nil)
	log.announce(changes(5, user(7))...)
	c := g.connect(t, "user?id=user_7_a&since=2")
	g.play(3)
	g.tell(message("6", keysOf(user(7))))
	c.hears("3", "4", "5", "cursor 5", "6")
	again := g.connect(t, "user?id=user_7_b&since=6")
	again.wantCursor(6)
}

// What a replay may contain: bodies of objects seen then and now, deletes of objects seen before.
func TestResumeAcrossRights(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first  []string
		events []event.Event
		since  uint64
		want   []string
		told   string // the keys of objects that moved silently
	}{
		"lost": {[]string{"p:1"}, []event.Event{
			message("1", `[["p:1"]]`), object("U", "2", `[["p:1"]]`, `[["p:1"]]`), rights(user(7), "", "p:1"),
			object("U", "4", `[["p:2"]]`, `[["p:1"]]`), settled, object("D", "6", "", `[["p:1"]]`)},
			1, []string{"delete 2", "delete 4"}, ""},
		"gained": {nil, []event.Event{
			message("1", `[["p:1"]]`), object("U", "2", `[["p:1"]]`, `[["p:1"]]`), rights(user(7), "p:1", ""),
			object("U", "4", `[["p:1"]]`, `[["p:2"]]`), settled, object("U", "6", `[["p:1"]]`, `[["p:1"]]`), message("7", `[["p:1"]]`)},
			1, []string{"create 4", "update 6", "7"}, ""},
		"gained and lost": {nil, []event.Event{
			settled, rights(user(7), "p:1", ""), settled, object("U", "4", `[["p:1"]]`, `[["p:1"]]`), message("5", `[["p:1"]]`),
			rights(user(7), "", "p:1"), object("U", "7", `[["p:2"]]`, `[["p:1"]]`), settled, object("D", "9", "", `[["p:1"]]`)},
			1, []string{"delete 4", "delete 7"}, ""},
		"lost and gained": {[]string{"p:1"}, []event.Event{
			settled, rights(user(7), "", "p:1"), settled, object("C", "4", `[["p:1"]]`, ``), rights(user(7), "p:1", ""), settled,
			object("U", "7", `[["p:1"]]`, `[["p:1"]]`)},
			1, []string{"update 7"}, ""},
		"the cursor is between a loss and its deletes": {[]string{"p:1"}, []event.Event{
			rights(user(7), "", "p:1"), object("D", "2", "", `[["p:1"]]`), object("D", "3", "", `[["p:1"]]`), settled, object("D", "5", "", `[["p:1"]]`)},
			2, []string{"delete 3"}, ""},
		"the cursor is between a gain and its creates": {nil, []event.Event{
			rights(user(7), "p:1", ""), object("U", "2", `[["p:1"]]`, `[["p:2"]]`), object("U", "3", `[["p:1"]]`, `[["p:1"]]`), settled,
			object("U", "5", `[["p:1"]]`, `[["p:1"]]`)},
			2, []string{"create 3", "update 5"}, ""},
		"a soft delete": {[]string{"p:1"}, []event.Event{settled, object("G", "2", "", `[["p:1"]]`)},
			1, []string{"update 2"}, ""},
		"a soft delete of what is out of sight now": {[]string{"p:1"}, []event.Event{
			settled, object("G", "2", "", `[["p:1"]]`), rights(user(7), "", "p:1"), settled},
			1, []string{"delete 2"}, ""},
		"what is out of sight by its keys of then, and in sight by those of now": {[]string{"p:1", "p:3"}, []event.Event{
			settled, object("U", "2", `[["p:1"]]`, `[["p:1"]]`), rights(user(7), "", "p:1"), settled},
			1, []string{"update 2"}, `[["p:3"]]`},
		"an alias was set": {[]string{"p:1"}, []event.Event{
			message("1", `[["service:5"]]`), message("2", `[["service:5"]]`), alias("service:5", `[["p:1"]]`, ""), message("4", `[["service:5"]]`), settled},
			1, []string{"4"}, ""},
		"an alias was taken": {[]string{"p:1"}, []event.Event{
			alias("service:5", `[["p:1"]]`, ""), settled, object("U", "3", `[["service:5"]]`, `[["service:5"]]`),
			alias("service:5", "", `[["p:1"]]`), object("U", "5", "", `[["service:5"]]`), settled, object("D", "7", "", `[["service:5"]]`)},
			2, []string{"delete 3", "delete 5"}, ""},
		"moved to where it is seen now": {[]string{"p:1"}, []event.Event{settled, object("U", "2", `[["p:1"]]`, `[["p:1"]]`), rights(user(7), "p:2", "p:1"),
			object("U", "4", `[["p:2"]]`, `[["p:1"]]`), settled, object("U", "6", `[["p:2"]]`, `[["p:2"]]`)},
			1, []string{"update 2", "update 4", "update 6"}, ""},
		"it is no superadmin any more": {[]string{"x", "p:1"}, []event.Event{settled, service("2", `[["p:1"]]`, ""), service("3", `[["p:1"]]`, `[["p:1"]]`),
			decoded(event.Record{Seq: 1, Type: "opentera.protobuf.DatabaseEvent", Op: "G", ObjectType: "service", Former: `[["p:1"]]`,
				Body: `{"name": "4", "service_projects": [{"id_project": 7}]}`, Gone: `{}`}), rights(user(7), "", "x"), settled},
			1, []string{"create 2 restricted", "update 3 restricted", "update 4 restricted"}, ""},
		"it is superadmin now": {[]string{"p:1"}, []event.Event{settled, service("2", `[["p:1"]]`, ""), rights(user(7), "x", ""), settled,
			service("5", `[["p:1"]]`, `[["p:1"]]`)},
			1, []string{"create 2 restricted", "update 5"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, perPage := range []int{1, 100} {
				for played := range uint64(len(tc.events) + 1) { // the dispatcher's position when the client returns
					log := &tape{first: with(user(7), tc.first...), perPage: perPage, told: tc.told}
					g := log.gateway(t, nil)
					log.announce(tc.events...)
					g.play(played)
					c := g.connect(t, fmt.Sprintf("user?id=user_7_a&since=%d", tc.since))
					g.tell(message("end", keysOf(user(7))))
					c.hears(append(tc.want, fmt.Sprintf("cursor %d", len(tc.events)), "end")...)
				}
			}
		})
	}
}

// If an object is announced again before rights are settled, its former viewers are those who held its keys the first time.
func TestObjectAnnouncedTwiceBeforeSettled(t *testing.T) {
	t.Parallel()
	const p1, p1or2, s5 = `[["p:1"]]`, `[["p:1", "p:2"]]`, `[["service:5"]]`
	again := func(asOf uint64, e event.Event) event.Event {
		e.FormerAsOf = asOf
		return e
	}
	for name, tc := range map[string]struct {
		first              []string
		events             []event.Event // after seq 1
		live, from1, from3 []string      // connected throughout, or resumed from 1, or from 3
	}{
		"gained": {nil, []event.Event{rights(user(7), "p:1", ""), object("C", "3", p1, ""), again(2, object("D", "4", "", p1)), settled},
			[]string{"create 3", "delete 4"}, []string{"create 3", "delete 4"}, []string{"delete 4"}},
		"lost": {[]string{"p:1"}, []event.Event{rights(user(7), "", "p:1"), object("C", "3", p1, ""), again(2, object("D", "4", "", p1)), settled},
			nil, nil, nil},
		"lost after it was created": {[]string{"p:1"}, []event.Event{rights(user(7), "p:2", ""), object("C", "3", p1, ""), rights(user(7), "", "p:1"), again(2, object("D", "5", "", p1)), settled},
			[]string{"create 3", "delete 5"}, []string{"delete 5"}, []string{"delete 5"}},
		"lost, and moved to where it is seen": {[]string{"p:1"}, []event.Event{rights(user(7), "p:2", "p:1"), object("C", "3", p1, ""), again(2, object("U", "4", p1or2, p1)), settled},
			[]string{"create 4"}, []string{"create 4"}, []string{"create 4"}},
		"gained, lost, and gained again": {nil, []event.Event{rights(user(7), "p:1", ""), rights(user(7), "", "p:1"), object("C", "4", p1, ""), rights(user(7), "p:1", ""), again(3, object("U", "6", p1, p1)), settled},
			[]string{"create 6"}, []string{"create 6"}, []string{"create 6"}},
		"not announced before": {[]string{"p:1"}, []event.Event{rights(user(7), "", "p:1"), message("3", ""), object("D", "4", "", p1), settled},
			[]string{"delete 4"}, []string{"delete 4"}, []string{"delete 4"}},
		"announced before what was settled": {[]string{"p:1"}, []event.Event{object("C", "2", p1, ""), settled, rights(user(7), "", "p:1"), again(1, object("D", "5", "", p1)), settled},
			[]string{"create 2", "delete 5"}, []string{"delete 5"}, []string{"delete 5"}},
		"by an alias that was set": {[]string{"p:1"}, []event.Event{alias("service:5", p1, ""), object("C", "3", s5, ""), alias("service:5", "", p1), again(2, object("D", "5", "", s5)), settled},
			[]string{"create 3", "delete 5"}, []string{"delete 5"}, []string{"delete 5"}},
		"a soft delete that tells of others": {[]string{"p:1"}, []event.Event{rights(user(7), "", "p:1"), message("3", ""), object("G", "4", p1, p1), settled},
			[]string{"delete 4"}, []string{"delete 4"}, []string{"delete 4"}},
		"a soft delete that tells nothing": {[]string{"p:1"}, []event.Event{rights(user(7), "", "p:1"), message("3", ""), object("G", "4", "", p1), settled},
			[]string{"update 4"}, []string{"delete 4"}, []string{"delete 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			last, end := fmt.Sprintf("cursor %d", len(tc.events)+1), message("end", keysOf(user(7)))
			for joins := range uint64(len(tc.events) + 2) { // position of the dispatcher when clients connect; 0: before all
				for perPage := range 2 {
					log := &tape{first: with(user(7), tc.first...), perPage: 1 + 99*perPage}
					g := log.gateway(t, nil)
					if joins == 0 {
						c := g.connect(t, "user?id=user_7_a")
						g.tell(message("1", ""))
						g.tell(tc.events...)
						g.tell(end)
						c.hears(append(tc.live, "end")...)
						continue
					}
					log.announce(message("1", ""))
					log.announce(tc.events...)
					g.play(joins)
					one, three := g.connect(t, "user?id=user_7_a&since=1"), g.connect(t, "user?id=user_7_b&since=3")
					g.tell(end)
					one.hears(append(tc.from1, last, "end")...)
					three.hears(append(tc.from3, last, "end")...)
				}
			}
		})
	}
}

// Who connects before rights are settled is judged by the same past as others.
func TestConnectBeforeSettled(t *testing.T) {
	t.Parallel()
	log := &tape{first: with(user(7), "p:1")}
	g := log.gateway(t, nil)
	g.tell(rights(user(7), "p:2", ""), object("C", "2", `[["p:1"]]`, ""), rights(user(7), "", "p:1"))
	c := g.connect(t, "user?id=user_7_a&since=3")
	d := object("D", "4", "", `[["p:1"]]`)
	d.FormerAsOf = 1
	gone := object("D", "5", "", `[["p:1"]]`)
	gone.FormerAsOf = 3
	g.tell(d, gone, settled, message("end", keysOf(user(7))))
	c.hears("cursor 3", "delete 4", "end")
}

// service returns an event of a service whose body names a project.
func service(name, present, former string) event.Event {
	return decoded(event.Record{Seq: 1, Type: "opentera.protobuf.DatabaseEvent", Op: "U", ObjectType: "service", Present: present, Former: former,
		Body: fmt.Sprintf(`{"name": %q, "service_projects": [{"id_project": 7}]}`, name), Gone: `{}`})
}

// Rights lost during a replay apply to what is replayed afterwards.
func TestResumeWhileRightsAreLost(t *testing.T) {
	t.Parallel()
	log := &tape{first: with(user(7), "p:1"), perPage: 1}
	g := log.gateway(t, nil)
	g.tell(message("1", ""), message("2", `[["p:1"]]`), object("U", "3", `[["p:1"]]`, `[["p:1"]]`), object("U", "4", `[["p:3"]]`, `[["p:1"]]`))
	pages := 0
	log.before = beforePages(func() {
		if pages++; pages == 2 {
			g.tell(rights(user(7), "", "p:1"), object("U", "6", `[["p:2"]]`, `[["p:1"]]`), settled)
		}
	})
	c := g.connect(t, "user?id=user_7_a&since=1")
	c.hears("2", "delete 3", "delete 4", "cursor 4", "delete 6")
}

// Nobody knows what somebody sees who was disabled and enabled again until the sockets are closed: a replay says no more, not even deletes.
func TestResumeOfARoomThatEnds(t *testing.T) {
	t.Parallel()
	log := &tape{first: with(user(7), "p:1"), perPage: 1}
	g := log.gateway(t, nil)
	const p1 = `[["p:1"]]`
	g.tell(message("1", ""), object("U", "2", p1, p1), object("U", "3", p1, p1), object("U", "4", p1, p1))
	pages := 0
	log.before = func(question string) error {
		switch {
		case question == "page":
			if pages++; pages == 2 {
				g.tell(rights(user(7), "", "u:7"), rights(user(7), "u:7", ""), settled)
			}
		case pages >= 2: // the sockets are closed when it has answered
			g.Hub.mu.Lock()
			conns := g.all()
			g.Hub.mu.Unlock()
			<-conns[0].replayed
		}
		return nil
	}
	c := g.connect(t, "user?id=user_7_a&since=1")
	c.hears("update 2")
	if r, err := c.receive(); !websocket.IsCloseError(err, int(CloseRestart)) {
		t.Errorf("%v, want close code %d; heard %q", err, CloseRestart, r.heard())
	}
}

func TestResumeIsToldWhenTheLogIsTrimmed(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, nil)
	g.tell(changes(900, user(7))...)
	log.trim(500)
	for _, since := range []uint64{499, 901, 1<<64 - 1} {
		c := g.connect(t, fmt.Sprintf("user?id=user_7_%d&since=%d", since, since))
		r := c.next()
		if r.heard() != "incomplete 501" || r.event.GetHeader().GetSeq() != since {
			t.Errorf("since %d: %s at %d", since, r.heard(), r.event.GetHeader().GetSeq())
		}
		c.wantCursor(900)
	}
	c := g.connect(t, "user?id=user_7_a&since=500")
	c.hears("501")

	// trimmed while a client that got half of it is away
	log = &tape{perPage: 100}
	g = log.gateway(t, nil)
	g.tell(changes(900, user(7))...)
	log.before = func(question string) error {
		if pages, _ := log.counts(); question == "page" && pages == 1 {
			log.trim(150)
		}
		return nil
	}
	c = g.connect(t, "user?id=user_7_a&since=1")
	for seq := range 100 {
		c.hears(fmt.Sprint(seq + 2))
	}
	c.hears("incomplete 151", "cursor 900")
	g.tell(message("live", keysOf(user(7))))
	c.hears("live")
}

func TestResumeThatFailsClosesWith1011(t *testing.T) {
	t.Parallel()
	broken := event.Event{Seq: 2, Present: keysOf(user(7))}
	for name, tc := range map[string]struct {
		events   []event.Event
		question string
		err      error
		wait     time.Duration
	}{
		"rights":            {changes(3, user(7)), "rights", errors.New("down"), time.Millisecond},
		"page":              {changes(3, user(7)), "page", errors.New("down"), time.Millisecond},
		"page, for ever":    {changes(3, user(7)), "page", fmt.Errorf("read: %w", ErrUnusable), time.Hour},
		"another past":      {changes(3, user(7)), "page", ErrBroken, time.Hour},
		"rights, for ever":  {changes(3, user(7)), "rights", fmt.Errorf("read: %w", ErrUnusable), time.Hour},
		"cannot be encoded": {[]event.Event{*change(1, "1"), broken}, "", nil, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &tape{events: tc.events, before: func(question string) error {
				if question == tc.question {
					return tc.err
				}
				return nil
			}}
			g := log.gateway(t, func(h *Handler) { h.Limits.OutageWait = tc.wait })
			g.play(100)
			g.connect(t, "user?id=user_7_a&since=1").wantClose(CloseInternal)
		})
	}
}

// If the dispatcher stays behind, the client does not wait for ever.
func TestResumeThatTheDispatcherDoesNotReach(t *testing.T) {
	t.Parallel()
	log := &tape{events: changes(3, user(7))}
	g := log.gateway(t, func(h *Handler) { h.Limits.OutageWait = time.Millisecond })
	g.connect(t, "user?id=user_7_a&since=1").wantClose(CloseInternal)
}

// An outage of the database closes no resuming socket: the query is repeated.
func TestResumeOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	var failures atomic.Int32
	failures.Store(3)
	log := &tape{events: changes(6, user(7)), before: func(question string) error {
		if question != "standing" && failures.Add(-1) >= 0 {
			return errors.New("down")
		}
		return nil
	}}
	g := log.gateway(t, nil)
	g.play(6)
	g.connect(t, "user?id=user_7_a&since=5").hears("6", "cursor 6")
	if n := failures.Load(); n >= 0 {
		t.Errorf("%d failures left", n+1)
	}
}

func TestResumeWithoutALogIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Replays = nil }, nil)
	if r, text := g.answer(t, "user?id=user_7_a&since=5"); r.StatusCode != 400 {
		t.Errorf("%d %q, want 400", r.StatusCode, text)
	}
	g.connect(t, "user?id=user_7_a&since=0&snapshot=0") // the token is still good
}

// A client that leaves during its replay, never reads, or waits for the dispatcher ends its replay without a leak (goleak), and
// others go on.
func TestResumeOfAClientThatLeaves(t *testing.T) {
	t.Parallel()
	log := &tape{}
	for i := range 90 {
		log.announce(message(fmt.Sprintf(`{"v": "%0100000d"}`, i), keysOf(user(7))))
	}
	g := log.gateway(t, nil)
	for i := range 5 {
		if i == 4 {
			g.play(90)
			log.announce(message("not dispatched", ""))
		}
		c := g.connect(t, fmt.Sprintf("user?id=user_7_%d&since=5", i)) // reads nothing
		time.AfterFunc(100*time.Millisecond, func() { _ = c.Close() })
	}
	dbtest.Eventually(t, "all are gone", func() bool { return g.Hub.Len() == 0 })
}

// rosterFunc is a PresenceReader as a function.
type rosterFunc func(viewer access.Principal) ([]event.Event, error)

func (f rosterFunc) Presence(_ context.Context, viewer access.Identity) ([]event.Event, error) {
	return f(viewer.Principal)
}

func arrivalOf(name string) event.Event {
	e := event.New(1, time.Now(), "", &opentera.UserEvent{UserUuid: name, Type: opentera.UserEvent_USER_CONNECTED})
	e.Present = keysOf(user(7), device(3))
	return e
}

// holds reports whether a principal holds a tag, as the gateway knows it.
func (g *taped) holds(p access.Principal, tag string) bool {
	g.Hub.mu.Lock()
	defer g.Hub.mu.Unlock()
	return slices.Contains(g.Hub.index.Tags(p), tag)
}

// The snapshot comes before all live events, at the seq where those begin.
func TestSnapshotComesFirst(t *testing.T) {
	t.Parallel()
	log := &tape{}
	var g *taped
	g = log.gateway(t, func(h *Handler) {
		h.Roster = rosterFunc(func(viewer access.Principal) ([]event.Event, error) {
			if viewer != user(7) {
				t.Errorf("asked for %v", viewer)
			}
			g.tell(arrivalOf("c"))
			return []event.Event{arrivalOf("a"), arrivalOf("b")}, nil
		})
	})
	g.tell(changes(3, user(7))...)
	plain := g.connect(t, "device?id=device_3_a")
	c := g.connect(t, "user?id=user_7_a&snapshot=1")
	c.hears("presence of a at 3", "presence of b at 3", "presence of c at 4")
	c = g.connect(t, "user?id=user_7_b&snapshot=1&since=2")
	c.hears("3", "presence of c at 4", "cursor 4", "presence of a at 4", "presence of b at 4", "presence of c at 5")
	c = g.connect(t, "user?id=user_7_c&snapshot=1&since=0")
	c.hears("cursor 5", "presence of a at 5", "presence of b at 5", "presence of c at 6")
	g.tell(arrivalOf("live"))
	c.hears("presence of live at 7")
	plain.hears("presence of c at 4", "presence of c at 5", "presence of c at 6", "presence of live at 7")
}

// Clients that do not read their snapshots delay nobody else's.
func TestSnapshotBesideSlowOnes(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	g := newGateway(t, func(h *Handler) {
		h.Roster = rosterFunc(func(viewer access.Principal) ([]event.Event, error) {
			if viewer == user(8) {
				return []event.Event{arrivalOf("a")}, nil
			}
			asked.Add(1)
			return slices.Repeat([]event.Event{arrivalOf(strings.Repeat("x", 1<<20))}, 32), nil
		})
	}, nil)
	for i := range snapshotsAtOnce {
		g.connect(t, fmt.Sprintf("user?id=user_7_%d&snapshot=1", i)) // reads nothing
	}
	dbtest.Eventually(t, "they have asked", func() bool { return asked.Load() == snapshotsAtOnce })
	g.connect(t, "user?id=user_8_a&snapshot=1").hears("presence of a at 0")
}

// A client that loses a project while it does not read hears no more of it than was already queued.
func TestSnapshotAfterRightsAreLost(t *testing.T) {
	t.Parallel()
	const rows = 64
	large := strings.Repeat("x", 1<<20) // together more than may wait
	log := &tape{first: with(user(7), "p:1", "p:2")}
	var g *taped
	var asked atomic.Int32
	g = log.gateway(t, func(h *Handler) {
		h.Limits.Backlog = 8 << 20
		h.Roster = rosterFunc(func(viewer access.Principal) ([]event.Event, error) {
			kept := arrivalOf("kept " + large)
			if asked.Add(1); !g.holds(viewer, "p:1") {
				return slices.Repeat([]event.Event{kept}, 3), nil
			}
			return append(slices.Repeat([]event.Event{arrivalOf("lost " + large)}, rows), kept), nil
		})
	})
	c := g.connect(t, "user?id=user_7_a&snapshot=1") // reads nothing
	dbtest.Eventually(t, "frames wait for it", func() bool { return g.backlog() > 0 })
	g.tell(rights(user(8), "", "p:1"), rights(user(7), "p:3", ""), rights(user(7), "", "p:1"), message("after", keysOf(user(7))))
	lost, kept := 0, 0
	for {
		heard := c.next().heard()
		if heard == "after" {
			break
		}
		switch name, _, _ := strings.Cut(strings.TrimPrefix(heard, "presence of "), " "); {
		case name == "kept":
			kept++
		case name == "lost" && kept == 0:
			lost++
		default:
			t.Fatalf("heard %.30q after what is left", heard)
		}
	}
	if lost == rows || kept != 3 || asked.Load() != 2 {
		t.Errorf("%d frames of what is lost, %d of what is left, asked %d times", lost, kept, asked.Load())
	}
}

func TestSnapshotThatFailsClosesWith1011(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.Roster = rosterFunc(func(access.Principal) ([]event.Event, error) { return nil, errors.New("down") })
	}, nil)
	g.connect(t, "user?id=user_7_a&snapshot=1").wantClose(CloseInternal)
}
