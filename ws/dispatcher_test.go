package ws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// dispatching is a dispatcher whose batches and audiences the test gives.
type dispatching struct {
	batches  chan []event.Event
	audience func(keys []string) ([][]access.Principal, error)
	nextErrs int // errors before each batch
	asked    [][]string
	metrics  *Metrics
	log      bytes.Buffer
}

// holders answers keys such as "user:1 user:2".
func holders(keys []string) ([][]access.Principal, error) {
	answer := make([][]access.Principal, len(keys))
	for i, key := range keys {
		for ref := range strings.FieldsSeq(key) {
			kind, n, err := access.ParseRef(ref)
			if err != nil {
				return nil, err
			}
			p := access.Principal{Kind: kind}
			_, _ = fmt.Sscan(n, &p.ID)
			answer[i] = append(answer[i], p)
		}
	}
	return answer, nil
}

// dispatch runs test beside a dispatcher, in a bubble.
func dispatch(t *testing.T, test func(t *testing.T, d *dispatching, hub *Hub, connect func(token string) *client), setup ...func(*dispatching)) {
	inMemory(t, func(t *testing.T, hub *Hub, connect func(string) *websocket.Conn) {
		s := &dispatching{batches: make(chan []event.Event), audience: holders, metrics: NewMetrics(prometheus.NewRegistry())}
		for _, change := range setup {
			change(s)
		}
		failed := 0
		d := Dispatcher{Hub: hub, Metrics: s.metrics, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
			Source: sourceFunc(func(ctx context.Context) ([]event.Event, error) {
				if failed++; failed <= s.nextErrs {
					return nil, errors.New("no database")
				}
				select {
				case b := <-s.batches:
					failed = 0
					return b, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}),
			Audience: audienceFunc(func(ctx context.Context, keys []string) ([][]access.Principal, error) {
				if _, ok := ctx.Deadline(); !ok {
					t.Error("the question may take for ever")
				}
				s.asked = append(s.asked, slices.Clone(keys))
				return s.audience(keys)
			})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("ended with %v", err)
			}
			_ = hub.Drain(ctx, 0)
		}()
		test(t, s, hub, func(token string) *client {
			ws := connect(token)
			t.Cleanup(func() { ws.Close() })
			return &client{ws, t}
		})
	})
}

func to(seq uint64, value, recipients string) event.Event {
	e := change(seq, value)
	e.To = recipients
	return *e
}

func TestDispatchInOrderToTheirAudience(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, hub *Hub, connect func(string) *client) {
		never, one, two := connect("user_3_a"), connect("user_1_a"), connect("user_2_a")
		former := to(3, "gone", "user:1 user:2")
		former.NotTo = "user:2"
		d.batches <- []event.Event{to(1, "a", "user:1 user:2"), to(2, "b", "user:2"), to(2, "nobody", ""), former, to(4, "c", "user:1 user:2")}
		d.batches <- []event.Event{to(5, "sentinel", "user:1 user:2 user:3")}
		never.want("sentinel")
		one.want("a", "gone", "c", "sentinel")
		two.want("a", "b", "c", "sentinel")
		synctest.Wait()
		if want := [][]string{{"user:1 user:2", "user:2"}, {"user:1 user:2 user:3"}}; fmt.Sprint(d.asked) != fmt.Sprint(want) {
			t.Errorf("asked for %q, want %q", d.asked, want)
		}
		if n := testutil.ToFloat64(d.metrics.dispatched.WithLabelValues("other", "DatabaseEvent")); n != 6 {
			t.Errorf("%v events counted", n)
		}
	})
}

func TestDispatchRetries(t *testing.T) {
	for name, broken := range map[string]func([]string) ([][]access.Principal, error){
		"error": func([]string) ([][]access.Principal, error) { return nil, errors.New("no database") },
		"partly": func([]string) ([][]access.Principal, error) {
			return [][]access.Principal{{user(3)}}, errors.New("cut")
		},
		"short answer": func([]string) ([][]access.Principal, error) { return [][]access.Principal{{user(3)}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			dispatch(t, func(t *testing.T, d *dispatching, hub *Hub, connect func(string) *client) {
				never, one := connect("user_3_a"), connect("user_1_a")
				began := time.Now()
				d.batches <- []event.Event{to(1, "a", "user:1"), to(2, "b", "user:1 user:2")}
				one.want("a", "b")
				if took := time.Since(began); took < 8*time.Second || took > 17*time.Second {
					t.Errorf("eight retries took %s", took)
				}
				d.batches <- []event.Event{to(3, "sentinel", "user:1 user:3")}
				one.want("sentinel")
				never.want("sentinel")
				synctest.Wait()
				if n := testutil.ToFloat64(d.metrics.audienceErrors); n != 8 {
					t.Errorf("%v audience errors counted", n)
				}
				if n := testutil.ToFloat64(d.metrics.sourceErrors); n < 6 {
					t.Errorf("%v source errors counted", n)
				}
				if s := d.log.String(); !strings.Contains(s, "ERROR") || strings.Contains(s, "user:1") {
					t.Errorf("log: %s", s)
				}
			}, func(d *dispatching) {
				failures := 0
				d.nextErrs = 3
				d.audience = func(keys []string) ([][]access.Principal, error) {
					if failures < 8 {
						failures++
						return broken(keys)
					}
					return holders(keys)
				}
			})
		})
	}
}

// Nobody may believe to have heard everything when events are missing: all come back, and are told.
func TestDispatchOfABrokenLogClosesAll(t *testing.T) {
	t.Parallel()
	hub := NewHub(quiet(), NewMetrics(nil))
	g := newGateway(t, func(h *Handler) { h.Hub = hub }, nil)
	g.Hub = hub
	one, two := g.connect(t, "user?id=user_1_a"), g.connect(t, "device?id=device_1_a")
	ctx, stop := context.WithCancel(t.Context())
	calls := 0
	d := Dispatcher{Hub: hub, Log: quiet(), Metrics: g.metrics, Audience: everyone{}, Source: sourceFunc(func(ctx context.Context) ([]event.Event, error) {
		if calls++; calls == 1 {
			return nil, fmt.Errorf("next: %w", ErrBroken)
		}
		stop()
		return nil, ctx.Err()
	})}
	if err := d.Run(ctx); err != nil || calls != 2 {
		t.Errorf("ended with %v after %d calls", err, calls)
	}
	one.wantClose(CloseInternal)
	two.wantClose(CloseInternal)
}

func TestDispatchEndsWhileRetrying(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, hub *Hub, connect func(string) *client) {
		connect("user_1_a")
		d.batches <- []event.Event{to(1, "a", "user:1")}
		synctest.Wait()
	}, func(d *dispatching) {
		d.audience = func([]string) ([][]access.Principal, error) { return nil, errors.New("no database") }
	})
}

func TestDispatchAsksNobodyWithoutSockets(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, hub *Hub, connect func(string) *client) {
		d.batches <- []event.Event{to(1, "a", "user:1")}
		d.batches <- nil
		synctest.Wait()
		if len(d.asked) != 0 {
			t.Errorf("asked for %q", d.asked)
		}
	})
}

func TestDispatchCutsOff(t *testing.T) {
	const u, del = opentera.DatabaseEvent_DB_UPDATE, opentera.DatabaseEvent_DB_DELETE
	for name, tc := range map[string]struct {
		op     opentera.DatabaseEvent_EventType
		object string
		value  string
		notTo  string
		stays  bool
	}{
		"deleted":               {del, "user", `{"id_user": 1, "user_uuid": "x"}`, "", false},
		"soft-deleted":          {u, "user", `{"id_user": 1, "deleted_at": "2024-01-01T00:00:00"}`, "", false},
		"disabled":              {u, "user", `{"id_user": 1, "user_enabled": false}`, "", false},
		"enabled":               {u, "user", `{"id_user": 1, "user_enabled": true, "deleted_at": null}`, "", true},
		"another":               {del, "user", `{"id_user": 2}`, "", true},
		"another kind":          {del, "participant", `{"id_participant": 1, "id_user": 1}`, "", true},
		"another object":        {del, "site", `{"id_site": 1, "id_user": 1}`, "", true},
		"another flag":          {u, "user", `{"id_user": 1, "device_enabled": false}`, "", true},
		"out of sight of some":  {del, "user", `{"id_user": 1}`, "user:2", true},
		"nobody knows who":      {del, "user", `{"id_user": "1"}`, "", true},
		"no id":                 {del, "user", `{}`, "", true},
		"no object":             {del, "user", `null`, "", true},
		"not even JSON":         {u, "user", `{`, "", true},
		"inner key of the same": {u, "user", `{"id_user": 1, "x": {"deleted_at": "y", "user_enabled": false}}`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			dispatch(t, func(t *testing.T, d *dispatching, hub *Hub, connect func(string) *client) {
				c := connect("user_1_a")
				e := to(1, tc.value, "user:1")
				e.NotTo = tc.notTo
				e.Message = &opentera.DatabaseEvent{Type: tc.op, ObjectType: tc.object, ObjectValue: tc.value}
				d.batches <- []event.Event{e, to(2, "after", "user:1")}
				c.want(tc.value) // first the reason
				if tc.stays {
					c.want("after")
				} else {
					c.wantClose(CloseKicked)
				}
			})
		})
	}
}

func TestDispatchOtherKindsAreCutOff(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, hub *Hub, connect func(string) *client) {
		for i, tc := range []struct {
			change *opentera.DatabaseEvent
			gone   access.Principal
		}{
			{&opentera.DatabaseEvent{Type: opentera.DatabaseEvent_DB_DELETE, ObjectType: "device", ObjectValue: `{"id_device":4}`}, device(4)},
			{&opentera.DatabaseEvent{Type: opentera.DatabaseEvent_DB_UPDATE, ObjectType: "participant", ObjectValue: `{"id_participant":5,"participant_enabled":false}`}, participant(5)},
		} {
			d.batches <- []event.Event{{Seq: uint64(i + 1), Message: tc.change}} // seen by nobody: it counts all the same
			d.batches <- nil
			synctest.Wait()
			if err := hub.Add(&Conn{Identity: access.Identity{Principal: tc.gone}}, time.Now()); !errors.Is(err, ErrKicked) {
				t.Errorf("%s may connect: %v", tc.gone, err)
			}
			time.Sleep(time.Second)
		}
	})
}

// The second event of a row tells some of the audience that the object is gone, and names nobody who keeps it when
// nobody does. That is no deletion.
func TestDispatchOutOfSightIsNotDeleted(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, hub *Hub, connect func(string) *client) {
		c := connect("user_1_a")
		update, gone := to(1, "", ""), to(1, "", "user:1")
		update.Message = &opentera.DatabaseEvent{Type: opentera.DatabaseEvent_DB_UPDATE, ObjectType: "user", ObjectValue: `{"id_user":1}`}
		gone.Message = &opentera.DatabaseEvent{Type: opentera.DatabaseEvent_DB_DELETE, ObjectType: "user", ObjectValue: `{"id_user":1}`}
		d.batches <- []event.Event{update, gone, to(2, "still here", "user:1")}
		c.want(`{"id_user":1}`, "still here")
	})
}

func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	log := &lockedBuffer{}
	g := newGateway(t, func(h *Handler) {
		h.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}, nil)
	c := g.connect(t, "user?id=user_7_Zq8&x=Zq8")
	g.answer(t, "user?id=Zq8")
	g.deliver("Zq8", user(7))
	c.want("Zq8")
	g.Kick(user(7), 0)
	c.wantClose(CloseKicked)
	c.Close()
	eventually(t, "the close is logged", func() bool { return strings.Contains(log.String(), "socket closed") })
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
