package ws

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

func TestDeliverOnlyToRecipients(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	never := map[string]*client{ // those that must not get it come first
		"the same number, other kind": g.connect(t, "participant?id=participant_7_a"),
		"the same number, a device":   g.connect(t, "device?id=device_7_a"),
		"another user":                g.connect(t, "user?id=user_8_a"),
		"a third user":                g.connect(t, "user?id=user_9_a"),
		"its second socket":           g.connect(t, "user?id=user_9_b"),
	}
	get := map[string]*client{
		"protobuf": g.connect(t, "user?id=user_7_a"),
		"json":     g.connect(t, "user?id=user_7_b&encoding=json"),
		"json_seq": g.connect(t, "user?id=user_7_c&encoding=json&since=0"),
		"device":   g.connect(t, "device?id=device_1_a"),
	}
	get["json_seq"].wantCursor(0)
	for i, v := range []string{"1", "2", "3"} {
		if n := g.dispatch(change(uint64(i+1), v, user(7), user(7), device(1), user(1000))); n != 4 {
			t.Errorf("delivered to %d sockets, want 4", n)
		}
	}
	nobody := change(4, "nobody")
	if n := g.dispatch(nobody); n != 0 {
		t.Errorf("delivered to %d sockets, want none", n)
	}
	everybody := []access.Principal{user(7), user(8), user(9), device(1), device(7), participant(7)}
	g.deliver("sentinel", everybody...)
	for who, c := range never {
		t.Run("not "+who, func(t *testing.T) { c.t = t; c.want("sentinel") })
	}
	for who, c := range get {
		t.Run(who, func(t *testing.T) { c.t = t; c.want("1", "2", "3", "sentinel") })
	}
	if g.LenOf(access.User) != 6 || g.LenOf(access.Device) != 2 || g.LenOf(access.Participant) != 1 || g.Len() != 9 {
		t.Errorf("%d users, %d devices, %d participants", g.LenOf(access.User), g.LenOf(access.Device), g.LenOf(access.Participant))
	}
}

func TestDeliverEncodesOnce(t *testing.T) {
	t.Parallel()
	f := NewFrames(change(1, "v"))
	for e := range event.Encoding(encodings) {
		first, err := f.in(event.Plain, e)
		again, _ := f.in(event.Plain, e)
		if err != nil || first != again {
			t.Errorf("%s: encoded twice, %v", encodingName(e), err)
		}
	}
}

func TestDeliverWhatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	other, c := g.connect(t, "user?id=user_8_a"), g.connect(t, "user?id=user_7_a")
	if n := g.dispatch(&event.Event{Seq: 3, Present: keysOf(user(7))}); n != 0 {
		t.Errorf("delivered to %d", n)
	}
	c.wantClose(CloseInternal)
	g.deliver("next", user(8))
	other.want("next")
}

func TestSlowClientIsClosedAndOthersFlow(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, listen func(*httptest.Server)) {
		g := newGateway(t, nil, listen)
		slow, quick := g.connect(t, "user?id=user_7_a"), g.connect(t, "user?id=user_8_a")
		value := strings.Repeat("x", 100_000)
		n := 0
		for g.deliver(fmt.Sprint(n, value), user(7), user(8)) == 2 {
			quick.want(fmt.Sprint(n, value))
			if n++; n > 1000 {
				t.Fatal("100 MB wait for a client that does not read")
			}
		}
		quick.want(fmt.Sprint(n, value))
		for i := range n { // everything taken, then the close frame
			slow.want(fmt.Sprint(i, value))
		}
		slow.wantClose(CloseSlow)
		g.deliver("last", user(7), user(8))
		quick.want("last")
		dbtest.Eventually(t, "the slow one is gone", func() bool { return g.Len() == 1 })
	})
}

// smallListener accepts sockets with small buffers.
type smallListener struct{ net.Listener }

func (l smallListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		_ = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

func TestByteASecondReader(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Limits.CloseWait = 200 * time.Millisecond }, func(s *httptest.Server) {
		s.Listener = &SocketListener{Listener: smallListener{s.Listener.(*SocketListener).Listener}}
	})
	quick := g.connect(t, "user?id=user_8_a")
	var raw net.Conn
	d := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if raw = c; err == nil {
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
		}
		return c, err
	}}
	ws, _, err := d.Dial(g.base+"/wss/user?id=user_7_a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for b := make([]byte, 1); ; {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond): // one second in the test
				_, _ = raw.Read(b)
			}
		}
	})
	value := strings.Repeat("x", 10_000)
	for i := range 100 {
		g.deliver(fmt.Sprint(i, value), user(7), user(8))
		quick.want(fmt.Sprint(i, value))
	}
	dbtest.Eventually(t, "the slow one is gone", func() bool { return g.Len() == 1 })
	close(stop)
	reader.Wait()
}

func TestLargeEventArrivesWhole(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, listen func(*httptest.Server)) {
		g := newGateway(t, nil, listen)
		c, j := g.connect(t, "user?id=user_7_a"), g.connect(t, "user?id=user_7_b&encoding=json")
		value := strings.Repeat("0123456789abcdef", 1<<16)
		if n := g.deliver(value, user(7)); n != 2 {
			t.Fatalf("delivered to %d", n)
		}
		for _, c := range []*client{c, j} {
			if c.next().value() != value {
				t.Error("not what was sent")
			}
		}
	})
}

func TestKick(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	other := g.connect(t, "participant?id=participant_7_a")
	one, two := g.connect(t, "user?id=user_7_a"), g.connect(t, "user?id=user_7_b")
	g.deliver("first", user(7))
	g.kick(user(7))
	if n := g.deliver("after", user(7), participant(7)); n != 1 {
		t.Errorf("delivered to %d sockets, want 1", n)
	}
	for _, c := range []*client{one, two} {
		c.want("first")
		c.wantClose(CloseKicked)
	}
	other.want("after")
}

func TestDrain(t *testing.T) { // how it is spread: TestDrainOverTime
	t.Parallel()
	g := newGateway(t, nil, nil)
	const n = 20
	var clients sync.WaitGroup
	for i := range n {
		c := g.connect(t, fmt.Sprintf("user?id=user_%d_a", i))
		clients.Go(func() { c.wantClose(CloseRestart) })
	}
	if err := g.Drain(t.Context(), 100*time.Millisecond); err != nil || g.Len() != 0 {
		t.Errorf("drained with %v, %d left", err, g.Len())
	}
	clients.Wait()
}

func TestDrainCutsWhoDoesNotAnswer(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	g.connect(t, "user?id=user_7_a") // never reads
	g.connect(t, "user?id=user_8_a")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.Drain(ctx, time.Hour); err == nil || g.Len() != 0 {
		t.Errorf("drained with %v, %d left", err, g.Len())
	}
}

func TestStress(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	stop := make(chan struct{})
	var busy, clients sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					g.deliver(fmt.Sprint(i), user(1), user(2), user(3), participant(1))
					if i%50 == 0 {
						g.kick(user(int32(i/50%4 + 1)))
					}
					g.Len()
				}
			}
		})
	}
	for w := range 4 {
		clients.Go(func() {
			for i := range 40 {
				ws, _, err := websocket.DefaultDialer.Dial(fmt.Sprintf("%s/wss/user?id=user_%d_%d%d", g.base, w+1, w, i), nil)
				if err != nil {
					continue // kicked while connecting
				}
				_ = ws.SetReadDeadline(time.Now().Add(time.Duration(i) * time.Millisecond))
				_, _ = io.Copy(io.Discard, ws.NetConn())
				ws.Close()
			}
		})
	}
	clients.Wait()
	close(stop)
	busy.Wait()
	dbtest.Eventually(t, "all are gone", func() bool { return g.Len() == 0 })
}

func TestConnectAndDisconnect(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	const workers, each = 10, 100
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				ws, _, err := websocket.DefaultDialer.Dial(fmt.Sprintf("%s/wss/user?id=user_%d_%d", g.base, w, i), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
				}
				ws.Close()
			}
		})
	}
	wg.Wait()
	dbtest.Eventually(t, "all are gone", func() bool { return g.Len() == 0 }) // goroutines: goleak at the end
	g.isEmpty(t)
}
