package ws

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"terasocket/db/dbtest"
	"testing"
)

// accepted returns n outboxes of a SocketListener, over pipes.
func accepted(p *handshaking, n, most, mostOpen int) (all []*Outbox, far []net.Conn) {
	for range n {
		near, other := net.Pipe()
		o := NewOutbox(near, 0)
		p.add(o, most, mostOpen)
		all, far = append(all, o), append(far, other)
	}
	return all, far
}

func isCut(o *Outbox) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

func TestWhoIsAnsweredIsThrownOutLast(t *testing.T) {
	t.Parallel()
	var p handshaking
	first, _ := accepted(&p, 2, 3, 0)
	first[0].answer(true) // a login waiting for its turn
	storm, _ := accepted(&p, 100, 3, 0)
	if isCut(first[0]) {
		t.Error("a connection whose request is being handled was cut")
	}
	if !isCut(first[1]) || !isCut(storm[0]) || isCut(storm[99]) {
		t.Error("the oldest idle connection was not cut")
	}
	first[0].answer(false)
	first[0].answer(false)
	accepted(&p, 3, 3, 0)
	if !isCut(first[0]) {
		t.Error("a connection idle after its answer was kept")
	}
	first[0].answer(true) // too late: no effect
	if n := p.waiting.Len() + p.answered.Len(); n != 3 {
		t.Errorf("%d are kept", n)
	}

	// All are being handled, and a new connection still gets in.
	var busy handshaking
	all, _ := accepted(&busy, 3, 3, 0)
	for _, o := range all {
		o.answer(true)
	}
	fresh, _ := accepted(&busy, 1, 3, 0)
	if isCut(fresh[0]) || isCut(all[0]) || !isCut(all[2]) {
		t.Error("the newest connection being handled was not cut")
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ descriptors, open, handshakes int }{
		{0, 0, DefaultHandshakes}, {-1, 0, DefaultHandshakes}, {1 << 20, 1<<20 - reserved, DefaultHandshakes}, {1024, 960, 240}, {64, 32, 8}, {2, 1, 1},
	} {
		if open, handshakes := capacity(c.descriptors); open != c.open || handshakes != c.handshakes {
			t.Errorf("%d descriptors: %d, %d handshakes; want %d, %d", c.descriptors, open, handshakes, c.open, c.handshakes)
		}
	}
	if n := descriptors(); canTry && n < 3 {
		t.Errorf("%d descriptors", n)
	}
}

// However many connections arrive, some descriptors stay free, and websockets stay open.
func TestOpenConnectionsHaveALimit(t *testing.T) {
	t.Parallel()
	const most = 20
	var listener *SocketListener
	g := newGateway(t, nil, func(s *httptest.Server) {
		listener = s.Listener.(*SocketListener)
		listener.Open = most
		s.Config.ConnContext, s.Config.Handler = ConnContext, Answered(s.Config.Handler)
	})
	var clients []*client
	for i := range most - 1 {
		clients = append(clients, g.connect(t, fmt.Sprintf("user?id=user_7_%d", i)))
	}
	for range 100 {
		c, err := net.Dial("tcp", g.served.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	g.answer(t, "user?id=wrong") // accepted, and the oldest silent connection is cut
	listener.handshaking.mu.Lock()
	open := listener.handshaking.open
	listener.handshaking.mu.Unlock()
	if open > most {
		t.Errorf("%d connections are open", open)
	}
	g.deliver("all", user(7))
	for _, c := range clients {
		c.want("all")
		_ = c.Close()
	}
	dbtest.Eventually(t, "what has ended counts no more", func() bool {
		listener.handshaking.mu.Lock()
		defer listener.handshaking.mu.Unlock()
		return listener.handshaking.open <= 1 // the connection of the HTTP client
	})
}

// A request that is being handled survives while other connections are cut.
func TestARequestOutlivesAStorm(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(Answered(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-goOn
		_, _ = io.WriteString(w, "let in")
	})))
	_ = server.Listener.Close()
	server.Listener, server.Config.ConnContext = &SocketListener{Listener: listener, Handshakes: 3}, ConnContext
	server.Start()
	t.Cleanup(server.Close)
	answer := make(chan string, 1)
	go func() {
		response, err := server.Client().Get(server.URL)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = response.Body.Close() }()
		text, _ := io.ReadAll(response.Body)
		answer <- string(text)
	}()
	<-begun
	for range 50 {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	close(goOn)
	if got := <-answer; got != "let in" {
		t.Error(got)
	}
}

func TestSocketsOfOnePrincipal(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Hub.PerPrincipal = 2 }, nil)
	first := g.connect(t, "user?id=user_7_a")
	g.connect(t, "user?id=user_7_b")
	response, _ := g.answer(t, "user?id=user_7_c")
	if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %s %v", response.Status, response.Header)
	}
	g.connect(t, "user?id=user_8_a")
	_ = first.Close()
	dbtest.Eventually(t, "the first ends", func() bool { return g.Len() == 2 })
	g.connect(t, "user?id=user_7_d")
}
