package ws

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

// pages is a log of pages; asking for one may do something first.
type pages struct {
	all  [][]event.Event
	err  error
	then func(page int)
}

// past is the transaction of everything that was replayed.
const past = 1

// start is the place of a client that may have missed everything.
type start struct{ last uint64 }

func (start) Behind() uint64          { return 0 }
func (s start) Last() uint64          { return s.last }
func (start) Missed(_, _ uint64) bool { return true }
func (start) IsNew(xid uint64) bool   { return xid != past }

func (p pages) Places(_ context.Context, cursors []uint64) ([]Place, uint64, error) {
	places := make([]Place, len(cursors))
	if trimmed := (*TrimmedError)(nil); errors.As(p.err, &trimmed) {
		return places, trimmed.Oldest, nil
	}
	for i := range places {
		places[i] = start{uint64(100 * len(p.all))}
	}
	return places, 1, p.err
}

func (p pages) After(_ context.Context, _ []Place, behind uint64) (Page, error) {
	if len(p.all) == 0 {
		return Page{IsLast: true, Oldest: 1}, nil
	}
	i := int(behind) / 100 // seqs of page i are 100*i+1 to 100*i+99, its last one 100*(i+1)
	if p.then != nil {
		p.then(i)
	}
	return Page{Events: p.all[i], Last: uint64(i+1) * 100, IsLast: i == len(p.all)-1, Oldest: 1}, nil
}

// everyone answers that user 7 holds every key but "others" and "nobody".
type everyone struct{ err error }

func (e everyone) Audiences(_ context.Context, keys []string) ([][]access.Principal, error) {
	answer := make([][]access.Principal, len(keys))
	for i, key := range keys {
		answer[i] = []access.Principal{user(7), device(3)}
		if key == "others" {
			answer[i] = []access.Principal{user(8)}
		}
	}
	return answer, e.err
}

func logged(seq uint64, to, notTo string) event.Event {
	e := *change(seq, fmt.Sprint(seq))
	e.To, e.NotTo = to, notTo
	return e
}

func TestResumeReplaysThenGoesLive(t *testing.T) {
	t.Parallel()
	var g *gateway
	log := pages{all: [][]event.Event{
		{logged(1, "others", ""), logged(2, "mine", ""), logged(3, "mine", "mine"), logged(4, "", "")},
		{logged(101, "mine", "others"), logged(102, "others", "mine")},
		{logged(201, "mine", ""), logged(202, "mine", "")},
	}}
	log.then = func(page int) {
		switch page {
		case 0: // live while the replay reads: held
			e := change(202, "202")
			e.XID = past
			g.Deliver(NewFrames(e), []access.Principal{user(7)}, nil)
		case 2:
			g.Deliver(NewFrames(change(303, "live, held")), []access.Principal{user(7)}, nil)
		}
	}
	g = newGateway(t, func(h *Handler) { h.History = log }, nil)
	c := g.connect(t, "user?id=user_7_a&since=50")
	c.want("2", "101", "201", "202", "live, held")
	g.Deliver(NewFrames(change(304, "live")), []access.Principal{user(7)}, nil)
	c.want("live")
}

func TestResumeSkipsWhatTheDispatcherBringsLate(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.History = pages{all: [][]event.Event{{logged(1, "mine", ""), logged(2, "mine", ""), logged(3, "mine", "")}}}
	}, nil)
	c := g.connect(t, "user?id=user_7_a&since=50")
	c.want("1", "2", "3")
	for _, late := range []uint64{2, 3, 104, 105} {
		e := change(late, fmt.Sprint(late))
		if late < 100 {
			e.XID = past
		}
		g.Deliver(NewFrames(e), []access.Principal{user(7)}, nil)
	}
	c.want("104", "105")
}

func TestResumeIsToldWhenTheLogIsTrimmed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.History = pages{err: &TrimmedError{Oldest: 42}} }, nil)
	c := g.connect(t, "user?id=user_7_a&since=5")
	f := c.next()
	var incomplete terasocket.ReplayIncomplete
	if err := f.event.GetEvents()[0].UnmarshalTo(&incomplete); err != nil || incomplete.GetOldestSeq() != 42 || f.event.GetHeader().GetSeq() != 5 {
		t.Errorf("first comes %v (%v), header %v", f.event.GetEvents(), err, f.event.GetHeader())
	}
	g.Deliver(NewFrames(change(43, "live")), []access.Principal{user(7)}, nil)
	c.want("live")
}

func TestResumeThatFailsClosesWith1011(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Handler){
		"log": func(h *Handler) { h.History = pages{err: errors.New("down")} },
		"audience": func(h *Handler) {
			h.History, h.Audience = pages{all: [][]event.Event{{logged(1, "mine", "")}}}, everyone{errors.New("down")}
		},
		"encoding": func(h *Handler) {
			broken := logged(1, "mine", "")
			broken.Message = (*opentera.DatabaseEvent)(nil)
			h.History = pages{all: [][]event.Event{{broken}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, func(h *Handler) { change(h); h.Limits.OutageWait = time.Millisecond }, nil)
			g.connect(t, "user?id=user_7_a&since=5").wantClose(CloseInternal)
		})
	}
}

// An outage of the database closes no socket that resumes: it is asked again.
func TestResumeOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	log := &outage{pages: pages{all: [][]event.Event{{logged(6, "mine", "")}}}}
	log.failures.Store(3)
	g := newGateway(t, func(h *Handler) { h.History = log }, nil)
	g.connect(t, "user?id=user_7_a&since=5").want("6")
	if n := log.failures.Load(); n >= 0 {
		t.Errorf("%d failures left", n+1)
	}
}

// outage is a log that fails for a while.
type outage struct {
	pages
	failures atomic.Int32
}

func (o *outage) After(ctx context.Context, places []Place, behind uint64) (Page, error) {
	if o.failures.Add(-1) >= 0 {
		return Page{}, errors.New("down")
	}
	return o.pages.After(ctx, places, behind)
}

func TestResumeWithoutALogIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.History = nil }, nil)
	_, answer, err := websocket.DefaultDialer.Dial(g.base+"/wss/user?id=user_7_a&since=5", nil)
	if err == nil || answer == nil || answer.StatusCode != 400 {
		t.Errorf("%v %v, want 400", err, answer)
	}
	g.connect(t, "user?id=user_7_a&since=0") // the token is still good
}

// A client that leaves in the middle, or never reads, ends its replay: nothing is left of it (goleak), and others go on.
func TestResumeOfAClientThatLeaves(t *testing.T) {
	t.Parallel()
	var big []event.Event
	for i := range 90 {
		e := logged(uint64(i+1), "mine", "")
		e.Message.(*opentera.DatabaseEvent).ObjectValue = fmt.Sprintf(`{"v": "%0100000d"}`, i)
		big = append(big, e)
	}
	g := newGateway(t, func(h *Handler) { h.History = pages{all: [][]event.Event{big}} }, nil)
	for i := range 5 {
		c := g.connect(t, fmt.Sprintf("user?id=user_7_%d&since=5", i)) // reads nothing
		time.AfterFunc(100*time.Millisecond, func() { _ = c.Close() })
	}
	deadline := time.Now().Add(10 * time.Second)
	for g.Len() > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if g.Len() > 0 {
		t.Errorf("%d sockets are left", g.Len())
	}
}

// rosterFunc gives the presence of others.
type rosterFunc func(viewer access.Principal) ([]event.Event, func(uint64) bool, error)

func (f rosterFunc) Presence(_ context.Context, viewer access.Identity) ([]event.Event, func(uint64) bool, error) {
	return f(viewer.Principal)
}

func arrival(seq, xid uint64, name string) event.Event {
	return event.Event{Seq: seq, XID: xid, At: time.Now(), To: "mine", Message: &opentera.UserEvent{UserUuid: name, Type: opentera.UserEvent_USER_CONNECTED}}
}

// wantPresence reads events about these users, and nothing else between them.
func (c *client) wantPresence(names ...string) {
	c.t.Helper()
	for _, name := range names {
		var e opentera.UserEvent
		if err := c.next().event.GetEvents()[0].UnmarshalTo(&e); err != nil || e.GetUserUuid() != name {
			c.t.Fatalf("got %q (%v), want %q", e.GetUserUuid(), err, name)
		}
	}
}

func TestSnapshotComesFirstAndOnce(t *testing.T) {
	t.Parallel()
	var g *gateway
	live := func(e event.Event) { g.Deliver(NewFrames(&e), []access.Principal{user(7), device(3)}, nil) }
	g = newGateway(t, func(h *Handler) {
		h.Roster = rosterFunc(func(viewer access.Principal) ([]event.Event, func(uint64) bool, error) {
			if viewer != user(7) {
				t.Errorf("asked for %v", viewer)
			}
			live(arrival(8, 80, "held, in the snapshot"))
			live(arrival(11, 110, "held, after the snapshot"))
			return []event.Event{arrival(9, 0, "a"), arrival(9, 0, "b")}, func(xid uint64) bool { return xid < 100 }, nil
		})
	}, nil)
	plain := g.connect(t, "device?id=device_3_a")
	c := g.connect(t, "user?id=user_7_a&snapshot=1")
	c.wantPresence("a", "b", "held, after the snapshot")
	live(arrival(12, 120, "live"))
	c.wantPresence("live")
	plain.wantPresence("held, in the snapshot", "held, after the snapshot", "live")
}

func TestSnapshotSkipsWhatTheDispatcherBringsLate(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.Roster = rosterFunc(func(access.Principal) ([]event.Event, func(uint64) bool, error) {
			return []event.Event{arrival(9, 0, "a")}, func(xid uint64) bool { return xid < 100 }, nil
		})
	}, nil)
	c := g.connect(t, "user?id=user_7_a&snapshot=1")
	c.wantPresence("a")
	for _, e := range []event.Event{arrival(8, 80, "late"), arrival(11, 110, "new"), arrival(12, 90, "newer")} {
		g.Deliver(NewFrames(&e), []access.Principal{user(7)}, nil)
	}
	c.wantPresence("new", "newer")
}

func TestSnapshotThatFailsClosesWith1011(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.Roster = rosterFunc(func(access.Principal) ([]event.Event, func(uint64) bool, error) { return nil, nil, errors.New("down") })
	}, nil)
	g.connect(t, "user?id=user_7_a&snapshot=1").wantClose(CloseInternal)
}

func TestSnapshotWithoutPresenceIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	for _, query := range []string{"&snapshot=1", "&snapshot=yes", "&snapshot=", "&snapshot=%zz"} {
		_, answer, err := websocket.DefaultDialer.Dial(g.base+"/wss/user?id=user_7_a"+query, nil)
		if err == nil || answer == nil || answer.StatusCode != 400 {
			t.Errorf("%s: %v %v, want 400", query, err, answer)
		}
	}
	g.connect(t, "user?id=user_7_a&snapshot=0") // the token is still good
}
