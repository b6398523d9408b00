package ws

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

// beforeHijack runs hook before the 101 of a request is written.
type beforeHijack struct {
	http.ResponseWriter
	hook func() error
}

func (b beforeHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := b.hook(); err != nil {
		return nil, nil, err
	}
	return http.NewResponseController(b.ResponseWriter).Hijack()
}

func openingGateway(t *testing.T, hook func(g *gateway) error) *gateway {
	var g *gateway
	g = newGateway(t, func(h *Handler) { h.Limits.Backlog = 1000 }, func(s *httptest.Server) {
		next := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(beforeHijack{w, func() error { return hook(g) }}, r)
		})
	})
	return g
}

func TestOpeningSocketHoldsFrames(t *testing.T) {
	t.Parallel()
	g := openingGateway(t, func(g *gateway) error {
		g.deliver("1", user(7))
		g.deliver("2", user(7))
		return nil
	})
	c := g.connect(t, "user?id=user_7_a")
	g.deliver("3", user(7))
	c.want("1", "2", "3")
}

func TestOpeningSocketCanBeKicked(t *testing.T) {
	t.Parallel()
	g := openingGateway(t, func(g *gateway) error {
		g.deliver("why", user(7))
		g.kick(user(7))
		g.deliver("after", user(7))
		return nil
	})
	c := g.connect(t, "user?id=user_7_a")
	c.want("why")
	c.wantClose(CloseKicked)
}

func TestOpeningSocketHoldsOnlySoMuch(t *testing.T) {
	t.Parallel()
	value := strings.Repeat("x", 2000)
	g := openingGateway(t, func(g *gateway) error {
		g.deliver(value, user(7)) // larger than the limit, taken whole
		g.deliver("lost", user(7))
		return nil
	})
	c := g.connect(t, "user?id=user_7_a")
	c.want(value)
	c.wantClose(CloseSlow)
}

func TestOpeningSocketThatNeverOpens(t *testing.T) {
	t.Parallel()
	g := openingGateway(t, func(*gateway) error { return errors.New("no") })
	if r, _ := g.answer(t, "user?id=user_7_a"); r.StatusCode != 500 || g.Len() != 0 {
		t.Errorf("%d, %d sockets", r.StatusCode, g.Len())
	}
}

func TestOpeningSocketWhileDraining(t *testing.T) {
	t.Parallel()
	drained := make(chan error, 1)
	g := openingGateway(t, func(g *gateway) error {
		go func() { drained <- g.Drain(t.Context(), 0) }()
		dbtest.Eventually(t, "draining", g.Draining)
		return nil
	})
	g.connect(t, "user?id=user_7_a").wantClose(CloseRestart)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.refused.WithLabelValues("token").Inc()
	m.closes.WithLabelValues(CloseCode(4711).label()).Inc()
	m.dispatched.WithLabelValues("database", "DatabaseEvent").Inc()
	m.connections[access.User].Inc()
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) != 0 {
		t.Errorf("%v %v", problems, err)
	}
	want := `
# HELP terasocket_connections Sockets open now, by kind of principal.
# TYPE terasocket_connections gauge
terasocket_connections{kind="device"} 0
terasocket_connections{kind="participant"} 0
terasocket_connections{kind="user"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "terasocket_connections"); err != nil {
		t.Error(err)
	}
	// exported at 0 from the start, so that the first one counts as an increase
	for counter, want := range map[prometheus.Collector]int{m.refused: len(refusals), m.closes: len(closeCodes) + 1, m.dispatched: 22, m.encodeErrors: encodings} {
		if n := testutil.CollectAndCount(counter); n != want {
			t.Errorf("%d series, want %d", n, want)
		}
	}
	if n := testutil.ToFloat64(m.closes.WithLabelValues("other")); n != 1 {
		t.Errorf("an unknown close code was counted %v times as other", n)
	}
}

// A direct topic names a person and must not become a label.
func TestSourceOfTopic(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"module.TeraServer.DatabaseModule.events.participant":               "database",
		"module.TeraServer.UserManagerModule.events":                        "user_manager",
		"websocket.participant.0c3a2a6e-0000-4000-8000-000000000000.events": "direct",
		"service.FileTransferService.events":                                "archive",
		"log.login":                                                         "log",
		"service.0c3a2a6e-0000-4000-8000-000000000000":                      "other",
		"": "other",
	} {
		if got := sourceOf(&event.Event{Topic: topic}); got != want {
			t.Errorf("%q: %s, want %s", topic, got, want)
		}
		if _, isKnown := eventTypes[want]; !isKnown {
			t.Errorf("%s is not exported at 0", want)
		}
	}
}
