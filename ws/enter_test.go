package ws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

// during runs hook once, after the database has looked up what a principal holds and before the answer arrives.
func (t *tape) during(hook func()) {
	t.before = func(question string) error {
		if question == "standing" && hook != nil {
			run := hook
			hook = nil
			run()
		}
		return nil
	}
}

// Rows up to the position of the answer neither reach a principal nor change it; later rows do, whether they were dispatched
// during the look-up or after it.
func TestHandshakeAtAPositionOfTheLog(t *testing.T) {
	t.Parallel()
	all := []event.Event{
		message("1", `[["p:1", "p:2"]]`),
		rights(user(7), "p:1", ""), // 2
		message("3", `[["p:1"]]`),
		alias("service:5", `[["p:1"]]`, ""), // 4
		message("5", `[["service:5"]]`),
		rights(user(7), "p:2", "p:1"), // 6
		message("7", `[["p:1"]]`),
		message("8", `[["p:2"]]`),
		message("9", `[["service:5"]]`),
		settled, // 10
		message("11", `[["p:2"]]`),
		alias("service:5", `[["p:2"]]`, `[["p:1"]]`), // 12
		message("13", `[["service:5"]]`),
		settled, // 14
		message("15", `[["p:2"]]`),
	}
	heard := map[uint64]string{1: "", 3: "3", 5: "5", 8: "8", 11: "11", 13: "13", 15: "15"}
	for answer := range uint64(len(all)) {
		for _, registered := range []uint64{0, answer / 2, answer} { // the dispatcher's position at registration
			for _, live := range []uint64{registered, answer, min(answer+1, 15), min(answer+4, 15), 15} { // its position when the answer arrives
				if live < registered {
					continue
				}
				log := &tape{}
				g := log.gateway(t, nil)
				g.tape.announce(all[:answer]...)
				g.play(registered)
				log.during(func() {
					g.tape.announce(all[answer:]...)
					g.play(live)
				})
				c := g.connect(t, "user?id=user_7_a")
				second := g.connect(t, "user?id=user_7_b&since=0")
				g.play(15)
				g.tell(message("end", keysOf(user(7))))
				var want, later []string
				from := max(answer, live)
				for seq := answer + 1; seq <= 15; seq++ {
					if heard[seq] != "" {
						want = append(want, heard[seq])
						if seq > from {
							later = append(later, heard[seq])
						}
					}
				}
				c.t, second.t = t, t
				t.Logf("registered at %d, answer of %d there at %d", registered, answer, live)
				c.hears(append(want, "end")...)
				second.hears(append(append([]string{fmt.Sprintf("cursor %d", from)}, later...), "end")...)
			}
		}
	}
}

// A client that connects between a change of rights and the objects that follow from it gets no deletes; one that resumes then
// does.
func TestHandshakeBetweenRightsAndSettled(t *testing.T) {
	t.Parallel()
	for _, played := range []uint64{0, 2, 3} {
		log := &tape{first: with(user(7), "p:1")}
		g := log.gateway(t, nil)
		log.announce(message("1", `[["p:1"]]`), rights(user(7), "p:2", "p:1"), object("U", "a", `[["p:2"]]`, `[["p:1"]]`))
		g.play(played)
		c := g.connect(t, "user?id=user_7_a&since=1")
		late := g.connect(t, "user?id=user_7_b&since=3")
		g.tell(object("U", "b", `[["p:3"]]`, `[["p:1"]]`), object("U", "c", `[["p:2"]]`, `[["p:3"]]`), settled,
			object("U", "d", `[["p:3"]]`, `[["p:1"]]`), message("end", keysOf(user(7))))
		c.hears("update a", "cursor 3", "delete b", "create c", "end")
		late.hears("cursor 3", "delete b", "create c", "end")
	}
}

func TestHandshakeOfWhoMayNotConnect(t *testing.T) {
	t.Parallel()
	standing := func(change func(*access.Standing), err error) func(*Handler) {
		return func(h *Handler) {
			h.Hub = newHub(standingFunc(func(ctx context.Context, p access.Principal) (access.Standing, error) {
				if _, ok := ctx.Deadline(); !ok {
					t.Error("the look-up has no deadline")
				}
				s := access.Standing{Epoch: epoch, Seq: 5, Tags: []string{p.Tag()}}
				change(&s)
				return s, err
			}), h.Metrics)
			h.Hub.begin(event.Beginning{Epoch: epoch, Seq: 5})
		}
	}
	for name, tc := range map[string]struct {
		change func(*access.Standing)
		err    error
		status int
	}{
		"enabled":         {func(*access.Standing) {}, nil, 101},
		"disabled":        {func(s *access.Standing) { s.Tags = nil }, nil, 403},
		"of another past": {func(s *access.Standing) { s.Epoch++ }, nil, 503},
		"nobody knows":    {func(*access.Standing) {}, errors.New("down"), 503},
		"an old answer":   {func(s *access.Standing) { s.Seq = 4 }, nil, 503},
		"refused":         {func(*access.Standing) {}, access.ErrRefused, 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, standing(tc.change, tc.err), nil)
			if r, text := g.answer(t, "user?id=user_7_a"); r.StatusCode != tc.status {
				t.Errorf("%d %q, want %d", r.StatusCode, text, tc.status)
			}
			if tc.status != 101 {
				g.isEmpty(t)
			}
		})
	}
}

// A principal disabled during the look-up is looked up once more.
func TestHandshakeOfWhoIsDisabledMeanwhile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		then   []event.Event
		status int
	}{
		"disabled":              {[]event.Event{rights(user(7), "", "u:7 p:1")}, 403},
		"disabled and enabled":  {[]event.Event{rights(user(7), "", "u:7 p:1"), rights(user(7), "u:7", "")}, 101},
		"another one disabled":  {[]event.Event{rights(user(8), "", "u:8")}, 101},
		"another kind disabled": {[]event.Event{rights(device(7), "", "d:7")}, 101},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &tape{}
			g := log.gateway(t, nil)
			log.during(func() { g.tell(tc.then...) })
			if r, _ := g.answer(t, "user?id=user_7_a"); r.StatusCode != tc.status {
				t.Errorf("%d, want %d", r.StatusCode, tc.status)
			}
		})
	}
}

// Sockets that arrive during the look-up of their principal share the answer, even if the first client leaves.
func TestHandshakesShareTheAnswer(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	answers := make(chan error, 2)
	enter := func(ctx context.Context) {
		c := &Conn{Identity: access.Identity{Principal: user(7), Token: 1}, desk: &desk{Limits: Limits{}.withDefaults(), hub: g.Hub, log: quiet(), metrics: g.metrics}}
		answers <- g.Enter(ctx, c, 1)
		g.remove(c)
	}
	log.during(func() {
		go enter(t.Context())
		dbtest.Eventually(t, "both wait", func() bool { return g.Hub.Len() == 2 })
		leave()
	})
	enter(ctx)
	for range 2 {
		if err := <-answers; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	dbtest.Eventually(t, "both are gone", func() bool { return g.Hub.Len() == 0 })
	if log.lookUps != 1 {
		t.Errorf("%d look-ups", log.lookUps)
	}
	g.isEmpty(t)
}

// The rows kept for connecting principals are bounded. If the answer is older, the look-up is repeated.
func TestHandshakeOvertaken(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, nil)
	log.during(func() {
		for i := range arrivalsKept + 10 {
			g.tell(message(fmt.Sprint(i), keysOf(user(7))))
		}
		if n := len(g.arrivals.rows); n > arrivalsKept {
			t.Errorf("%d rows are kept", n)
		}
	})
	c := g.connect(t, "user?id=user_7_a")
	g.tell(message("live", keysOf(user(7))))
	c.want("live")
	if log.lookUps != 2 {
		t.Errorf("%d look-ups, want 2", log.lookUps)
	}
}

func TestHandshakeWhileTheLogBreaks(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, nil)
	log.during(func() { g.interrupt() })
	if r, _ := g.answer(t, "user?id=user_7_a"); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d, want 503", r.StatusCode)
	}
	if r, _ := g.answer(t, "user?id=user_7_b"); r.StatusCode != http.StatusServiceUnavailable || g.door.asked() != 1 {
		t.Errorf("%d, want 503 and the token not redeemed", r.StatusCode)
	}
	g.begin(event.Beginning{Epoch: epoch})
	g.connect(t, "user?id=user_7_b")
}

func TestArrivalsStartAnew(t *testing.T) {
	t.Parallel()
	var a arrivals
	row := func(seq uint64) *Frames { return NewFrames(change(seq, "")) }
	a.add(row(1), access.Moment{})
	a.begin(1, access.Moment{})
	a.begin(5, access.Moment{})
	a.add(row(2), access.Moment{})
	a.end()
	_, rows, ok := a.behind(1)
	if _, _, tooOld := a.behind(0); !ok || tooOld || len(rows) != 1 {
		t.Errorf("%d rows, %t; %t for an older position", len(rows), ok, tooOld)
	}
	if _, rows, ok := a.behind(7); !ok || len(rows) != 0 {
		t.Errorf("%d rows after a future position", len(rows))
	}
	a.end()
	if a.begin(7, access.Moment{}); len(a.rows) != 0 || a.start != 7 || slices.ContainsFunc(a.rows, func(arrival) bool { return true }) {
		t.Errorf("%d rows from before", len(a.rows))
	}
}

// A loss of the own tag that is dispatched late has no effect: the principal was enabled again before it connected.
func TestHandshakeOfWhoWasDisabledBefore(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, nil)
	log.announce(rights(user(7), "", "u:7"), settled, rights(user(7), "u:7", ""), settled)
	c := g.connect(t, "user?id=user_7_a")
	g.tell(message("live", keysOf(user(7))))
	c.want("live")
}
