package ws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

// dispatching is a Dispatcher fed by the test.
type dispatching struct {
	batches chan []event.Event
	fails   chan error // what Next returns instead
	begins  []event.Beginning
	hub     *Hub
	metrics *Metrics
	log     dbtest.Log
}

// dispatch runs test beside a Dispatcher in a synctest bubble.
func dispatch(t *testing.T, test func(t *testing.T, d *dispatching, connect func(token string) *client)) {
	inMemory(t, func(t *testing.T, hub *Hub, connect func(string) *websocket.Conn) {
		s := &dispatching{batches: make(chan []event.Event), fails: make(chan error), hub: hub, metrics: NewMetrics(prometheus.NewRegistry())}
		d := Dispatcher{Hub: hub, Metrics: s.metrics, Log: slog.New(slog.NewTextHandler(&s.log, nil)), Source: source{
			begin: func(context.Context) (event.Beginning, error) {
				if len(s.begins) == 1 {
					s.begins = append(s.begins, event.Beginning{})
					return event.Beginning{}, errors.New("no database")
				}
				b := event.Beginning{Epoch: epoch, Seq: uint64(1000 * len(s.begins))}
				s.begins = append(s.begins, b)
				return b, nil
			},
			next: func(ctx context.Context) ([]event.Event, error) {
				select {
				case b := <-s.batches:
					return b, nil
				case err := <-s.fails:
					return nil, err
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("ended with %v", err)
			}
			_ = hub.Drain(ctx, 0)
		}()
		test(t, s, func(token string) *client {
			ws := connect(token)
			t.Cleanup(func() { ws.Close() })
			return &client{ws, t}
		})
	})
}

func TestDispatchInOrder(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, connect func(string) *client) {
		never, one, two := connect("user_3_a"), connect("user_1_a"), connect("user_2_a")
		d.batches <- []event.Event{*change(1, "a", user(1), user(2)), *change(2, "b", user(2)), *change(3, "nobody"), *change(4, "c", user(1))}
		d.batches <- nil
		d.batches <- []event.Event{{Seq: 5, Kind: event.Settled}, *change(6, "sentinel", user(1), user(2), user(3))}
		never.want("sentinel")
		one.want("a", "c", "sentinel")
		two.want("a", "b", "sentinel")
		if n := testutil.ToFloat64(d.metrics.dispatched.WithLabelValues("other", "DatabaseEvent")); n != 5 {
			t.Errorf("%v events counted", n)
		}
		if n := testutil.ToFloat64(d.metrics.dispatched.WithLabelValues("gateway", "Settled")); n != 1 {
			t.Errorf("%v settled counted", n)
		}
	})
}

func TestDispatchTriesAgain(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, connect func(string) *client) {
		one := connect("user_1_a")
		began := time.Now()
		for range 8 {
			d.fails <- errors.New("no database")
		}
		d.batches <- []event.Event{*change(1, "a", user(1))}
		one.want("a")
		if took := time.Since(began); took < 8*time.Second || took > 20*time.Second {
			t.Errorf("eight retries took %s", took)
		}
		if n := testutil.ToFloat64(d.metrics.sourceErrors); n != 8 {
			t.Errorf("%v errors counted", n)
		}
		if len(d.begins) != 1 {
			t.Errorf("begun %d times", len(d.begins))
		}
	})
}

// No client may believe that it has received everything when events are missing: all sockets are closed.
func TestDispatchOfABrokenLogClosesAllAndBeginsAgain(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, connect func(string) *client) {
		one, two := connect("user_1_a"), connect("user_2_b")
		d.batches <- []event.Event{*change(1, "a", user(1))}
		one.want("a")
		before, _ := d.hub.begun()
		d.fails <- fmt.Errorf("next: %w", ErrBroken)
		one.wantClose(CloseInternal)
		two.wantClose(CloseInternal)
		if n := d.log.Count("level=ERROR msg=\"events are missing, all sockets are closed"); n != 1 {
			t.Errorf("the log: %s", &d.log)
		}
		if _, ok := d.hub.begun(); ok || d.hub.Ready() {
			t.Error("accepts sockets that would miss events")
		}
		time.Sleep(longestPause)
		after, ok := d.hub.begun()
		if len(d.begins) != 3 || !ok || after == before || d.hub.last != 2000 {
			t.Errorf("begun %d times, %t; generation %d, was %d; at %d", len(d.begins), ok, after, before, d.hub.last)
		}
		if err := d.hub.Enter(t.Context(), new(Conn), before); !errors.Is(err, ErrNotReady) {
			t.Errorf("a token redeemed before the break is accepted: %v", err)
		}
		three := connect("user_1_c")
		d.batches <- []event.Event{*change(2001, "again", user(1))}
		three.want("again")
		d.fails <- fmt.Errorf("%w: %w", ErrRestarted, ErrBroken)
		three.wantClose(CloseInternal)
		if n := d.log.Count("level=WARN msg=\"PostgreSQL was started again: all sockets are closed"); n != 1 {
			t.Errorf("the log: %s", &d.log)
		}
	})
}

// A principal that loses its own tag receives nothing more. It is looked up once more, and may return if it was enabled again.
func TestWhoIsDisabledHearsNothingMore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		next event.Event // already committed when the loss is dispatched
		fail error
		code CloseCode
	}{
		"still gone":      {settled, nil, CloseKicked},
		"enabled again":   {rights(user(7), "u:7", ""), nil, CloseRestart},
		"nobody can tell": {settled, errors.New("down"), CloseInternal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &tape{first: with(user(7), "p:1")}
			g := log.gateway(t, nil)
			c, second, other := g.connect(t, "user?id=user_7_a"), g.connect(t, "user?id=user_7_b"), g.connect(t, "user?id=user_8_a")
			g.tell(message("before", `[["p:1"]]`))
			log.before = func(string) error { return tc.fail }
			log.announce(rights(user(7), "", "u:7"), tc.next)
			g.play(2)
			g.tell(message("after", `[["p:1", "u:7", "u:8"]]`))
			other.want("after")
			for _, c := range []*client{c, second} {
				c.want("before")
				c.wantClose(tc.code)
			}
			dbtest.Eventually(t, "they are gone", func() bool { return g.Hub.Len() == 1 })
		})
	}
}

func TestRightsOfOthersAreNotMine(t *testing.T) {
	t.Parallel()
	log := &tape{}
	g := log.gateway(t, nil)
	c := g.connect(t, "user?id=user_7_a")
	g.tell(rights(user(8), "", "u:8"), rights(participant(7), "", "t:7"), rights(user(7), "p:1", ""), message("1", `[["p:1"]]`),
		rights(user(7), "", "p:1"), message("2", `[["p:1"]]`), message("end", keysOf(user(7))))
	c.want("1", "end")
}

// The form of one change for each principal in present, former, or both.
func TestEachHearsItsForm(t *testing.T) {
	t.Parallel()
	log := &tape{first: with(user(1), "p:1")}
	g := log.gateway(t, nil)
	lost, kept, gained, never := g.connect(t, "user?id=user_1_a"), g.connect(t, "user?id=user_2_a"), g.connect(t, "user?id=user_3_a"), g.connect(t, "user?id=user_4_a")
	g.tell(rights(user(2), "p:1 p:2", ""), settled, // moves from project 1 to project 2, where user 3 is new
		rights(user(3), "p:2", ""), object("U", "moved", `[["p:2"]]`, `[["p:1"]]`), settled,
		object("U", "later", `[["p:2"]]`, `[["p:2"]]`), object("G", "soft", "", `[["p:2"]]`), object("D", "hard", "", `[["p:2"]]`),
		message("end", keysOf(users(5)...)))
	lost.hears("delete moved", "end")
	kept.hears("update moved", "update later", "update soft", "delete hard", "end")
	gained.hears("create moved", "update later", "update soft", "delete hard", "end")
	never.hears("end")
}

// Between a change of rights and Settled, former means what it did before the change.
func TestFormerIsAsOfTheLastSettled(t *testing.T) {
	t.Parallel()
	log := &tape{first: with(user(1), "p:1")}
	g := log.gateway(t, nil)
	c := g.connect(t, "user?id=user_1_a")
	g.tell(rights(user(1), "", "p:1"), object("U", "a", `[["p:1"]]`, `[["p:1"]]`), object("U", "b", `[["p:1"]]`, `[["p:1"]]`),
		settled, object("U", "c", `[["p:1"]]`, `[["p:1"]]`), message("end", keysOf(user(1))))
	c.hears("delete a", "delete b", "end")
}

func TestAliasesAreFollowed(t *testing.T) {
	t.Parallel()
	log := &tape{first: with(user(1), "p:1")}
	g := log.gateway(t, nil)
	c := g.connect(t, "user?id=user_1_a")
	g.tell(message("nobody", `[["service:5"]]`), alias("service:5", `[["p:1"]]`, ""), message("1", `[["service:5"]]`), settled,
		alias("service:5", "", `[["p:1"]]`), object("U", "gone", `[["service:5"]]`, `[["service:5"]]`), settled,
		object("U", "nobody", `[["service:5"]]`, `[["service:5"]]`), message("end", keysOf(user(1))))
	c.hears("1", "delete gone", "end")
}

func TestOnlySuperadminsHearWhereAServiceIsUsed(t *testing.T) {
	t.Parallel()
	log := &tape{first: with(user(1), "x")}
	g := log.gateway(t, nil)
	admin, other := g.connect(t, "user?id=user_1_a"), g.connect(t, "user?id=user_2_a")
	g.tell(decoded(event.Record{Seq: 1, Type: "opentera.protobuf.DatabaseEvent", Op: "C", ObjectType: "service", ObjectID: 5,
		Body: `{"service_projects": [{"id_project": 7}]}`, Present: `[["x", "u:2"]]`}))
	if v := admin.next().value(); !strings.Contains(v, "id_project") {
		t.Errorf("superadmins received %s", v)
	}
	if v := other.next().value(); strings.Contains(v, "id_project") {
		t.Errorf("everybody received %s", v)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	log := &dbtest.Log{}
	g := newGateway(t, func(h *Handler) {
		h.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}, nil)
	c := g.connect(t, "user?id=user_7_Zq8&x=Zq8")
	g.answer(t, "user?id=Zq8")
	g.deliver("Zq8", user(7))
	c.want("Zq8")
	g.kick(user(7))
	c.wantClose(CloseKicked)
	c.Close()
	dbtest.Eventually(t, "the close is logged", func() bool { return strings.Contains(log.String(), "socket closed") })
	s := log.String()
	for _, want := range []string{"socket open", "conn=1", "principal=user:7", "code=4000", "frames=1", "duration="} {
		if !strings.Contains(s, want) {
			t.Errorf("no %s in the log: %s", want, s)
		}
	}
	if strings.Contains(s, "Zq8") {
		t.Errorf("token or payload in the log: %s", s)
	}
}
