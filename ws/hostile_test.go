package ws

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/access"
	"terasocket/db/dbtest"
)

// Ten thousand half handshakes over TLS (a quarter in the short form): a bounded number is kept, and an honest client still gets in and misses nothing.
func TestTenThousandHalfOpenHandshakes(t *testing.T) {
	t.Parallel()
	const most = 500
	var listener *SocketListener
	g := newGateway(t, nil, func(s *httptest.Server) {
		overTLS(s)
		listener = s.Listener.(*SocketListener)
		listener.Handshakes = most
	})
	live := g.connect(t, "user?id=user_7_a")
	const hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" // a ClientHello of 512 bytes, cut short
	starts := []string{"", hello, "GET /wss/user?id=user_7_z HTTP/1.1\r\nHost: h\r\n", strings.Repeat("\x00", 100)}
	for i := range dbtest.Many(10_000, 2500) {
		c, err := net.Dial("tcp", g.served.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, starts[i%len(starts)])
		if i%1000 == 999 {
			g.deliver(fmt.Sprint(i), user(7))
			live.want(fmt.Sprint(i))
			g.connect(t, fmt.Sprintf("user?id=user_8_%d", i)).Close()
		}
	}
	listener.handshaking.mu.Lock()
	n := listener.handshaking.waiting.Len() + listener.handshaking.answered.Len()
	listener.handshaking.mu.Unlock()
	if n > most {
		t.Errorf("%d connections kept, want %d at most", n, most)
	}
	g.deliver("end", user(7))
	live.want("end")
}

// Connections that became websockets or were closed do not count.
func TestOnlyHandshakesAreCut(t *testing.T) {
	t.Parallel()
	// (more than the handlers that a busy machine has yet to end)
	g := newGateway(t, nil, func(s *httptest.Server) { s.Listener.(*SocketListener).Handshakes = 8 })
	var clients []*client
	for i := range 20 {
		clients = append(clients, g.connect(t, fmt.Sprintf("user?id=user_7_%d", i)))
		g.answer(t, "user?id=wrong")
	}
	g.deliver("all", user(7))
	for _, c := range clients {
		c.want("all")
	}
}

// The backlog is bounded during a resume too: held frames count.
func TestWhatIsHeldForAResumingSocketIsBounded(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	log := &tape{events: changes(10, user(7)), before: beforePages(func() { <-goOn })}
	g := log.gateway(t, func(h *Handler) { h.Limits.Backlog = 64 << 10 })
	g.play(10)
	c, other := g.connect(t, "user?id=user_7_a&since=5"), g.connect(t, "user?id=user_8_a")
	value := strings.Repeat("x", 2000)
	sent := 0
	for g.deliver(value, user(7)) == 1 {
		if sent++; sent > 1000 {
			t.Fatal("two megabytes held")
		}
	}
	g.deliver("other", user(7), user(8))
	other.want("other")
	close(goOn)
	c.wantClose(CloseSlow)
	if sent < 30 || sent > 35 {
		t.Errorf("%d frames of 2,000 bytes held, limit 64 KiB", sent)
	}
}

// Every kind of bad client at once: each ends with its own code, and a good one receives everything, in order.
func TestBadClientsBesideAGoodOne(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.Limits = Limits{Backlog: 32 << 10, CloseWait: 2 * time.Second}
		h.Tokens = redeemFunc(func(_ context.Context, kind access.Kind, token string) (access.Identity, error) {
			if token == "flood" {
				return access.Identity{Principal: user(8)}, nil // it does not read either, but must not be closed for that
			}
			return access.Identity{Principal: user(7)}, nil
		})
	}, func(s *httptest.Server) { overTLS(s) })
	good := g.connect(t, "user?id=good")
	g.connect(t, "user?id=never-reads")
	drip := g.connect(t, "user?id=a-byte-now-and-then")
	stop := make(chan struct{})
	dripped := make(chan struct{})
	go func() {
		defer close(dripped)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := io.ReadFull(drip.NetConn(), make([]byte, 1)); err != nil {
					return
				}
			}
		}
	}()
	flood := g.connect(t, "user?id=flood")
	go func() {
		for flood.WriteMessage(1, make([]byte, 4000)) == nil {
		}
	}()
	value := strings.Repeat("x", 4000)
	const total = 5000
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for i := range total {
			if got := good.next().value(); got != fmt.Sprint(i, value) {
				t.Errorf("got %.20q, want %d", got, i)
				return
			}
		}
	}()
	for i := range total {
		g.deliver(fmt.Sprint(i, value), user(7))
		if i%4 == 3 {
			dbtest.Eventually(t, "the good client keeps up", func() bool { return g.backlogOf(good) < 8<<10 })
		}
	}
	<-heard
	flood.wantClose(ClosePolicy)
	close(stop)
	_ = drip.Close()
	<-dripped
}

// backlogOf returns the backlog of the socket at the other end of c.
func (g *gateway) backlogOf(c *client) int {
	g.Hub.mu.Lock()
	defer g.Hub.mu.Unlock()
	for s := range g.conns {
		s.mu.Lock()
		out := s.out
		s.mu.Unlock()
		if out != nil && out.RemoteAddr().String() == c.LocalAddr().String() {
			return out.Backlog()
		}
	}
	return 0
}

// A client that pings and never reads is slow like any other: the pongs waiting for it are bounded, and it is closed when the
// next ping is due.
func TestPongsThatNobodyReadsAreBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) {
		h.Limits = Limits{Backlog: 32 << 10, ControlFrames: 1 << 30, PingEvery: 3 * time.Second}
	}, nil)
	c := g.connect(t, "user?id=user_7_a")
	payload := make([]byte, 125)
	for beyond := 0; beyond < 5000; { // pings after the kernel takes no more
		if err := c.WriteControl(websocket.PingMessage, payload, time.Now().Add(5*time.Second)); err != nil {
			t.Fatal(err)
		}
		if n := g.backlog(); n > 40<<10 {
			t.Fatalf("%d bytes wait for a socket whose limit is 32 KiB", n)
		} else if n > 32<<10 {
			beyond++
		}
	}
	dbtest.Eventually(t, "closed when our next ping is due", func() bool { return testutil.ToFloat64(g.Hub.metrics.slowCloses) == 1 })
}
