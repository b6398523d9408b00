package ws

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"

	"terasocket/proto/event"
)

// pipes is a net.Listener of in-memory connections.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	return near, nil
}

// inMemory runs test in a synctest bubble, with a gateway on the bubble's clock.
func inMemory(t *testing.T, test func(t *testing.T, h *Hub, connect func(token string) *websocket.Conn)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics(nil)
		hub := newHub(nil, m)
		r := chi.NewRouter()
		Handler{Tokens: &tokens{used: map[string]bool{}}, Hub: hub, Log: quiet(), Metrics: m}.Routes(r)
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: r}
		go func() {
			if err := server.Serve(&SocketListener{Listener: l}); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
		defer server.Close()
		d := websocket.Dialer{NetDialContext: l.dial}
		test(t, hub, func(token string) *websocket.Conn {
			ws, _, err := d.Dial("ws://h/wss/user?id="+token, nil)
			if err != nil {
				t.Fatal(err)
			}
			return ws
		})
		synctest.Wait()
		if hub.Len() != 0 {
			t.Errorf("%d sockets left", hub.Len())
		}
	})
}

func TestPings(t *testing.T) {
	inMemory(t, func(t *testing.T, hub *Hub, connect func(string) *websocket.Conn) {
		ws := connect("user_7_a")
		var at []time.Duration
		last := time.Now()
		answer := ws.PingHandler()
		ws.SetPingHandler(func(payload string) error {
			at = append(at, time.Since(last))
			last = time.Now()
			return answer(payload)
		})
		_ = ws.SetReadDeadline(time.Now().Add(10 * time.Minute))
		_, _, err := ws.ReadMessage()
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("not kept open by its pongs: %v", err)
		}
		distinct := map[time.Duration]bool{}
		for _, d := range at {
			if distinct[d] = true; d < 9*time.Second || d > 11*time.Second {
				t.Errorf("ping after %s", d)
			}
		}
		if len(at) < 54 || len(distinct) < 10 {
			t.Errorf("%d pings in 10 minutes, %d intervals", len(at), len(distinct))
		}
		ws.Close()
	})
}

func TestNoPongCutsTheSocket(t *testing.T) {
	inMemory(t, func(t *testing.T, hub *Hub, connect func(string) *websocket.Conn) {
		began := time.Now()
		ws := connect("user_7_a")
		ws.SetPingHandler(func(string) error { return nil })
		_, _, err := ws.ReadMessage()
		if took := time.Since(began); took != 30*time.Second || !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
			t.Errorf("cut after %s: %v", took, err)
		}
		ws.Close()
	})
}

func TestAnyFrameKeepsTheSocket(t *testing.T) {
	inMemory(t, func(t *testing.T, hub *Hub, connect func(string) *websocket.Conn) {
		for name, send := range map[string]func(ws *websocket.Conn){
			"ping": func(ws *websocket.Conn) { _ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) },
			"pong": func(ws *websocket.Conn) { _ = ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second)) },
			"data": func(ws *websocket.Conn) { _ = ws.WriteMessage(websocket.TextMessage, nil) },
		} {
			ws := connect("user_7_" + name)
			ws.SetPingHandler(func(string) error { return nil })
			done := make(chan time.Time)
			go func() {
				defer close(done)
				for {
					if _, _, err := ws.ReadMessage(); err != nil {
						done <- time.Now()
						return
					}
				}
			}()
			time.Sleep(29 * time.Second)
			send(ws)
			sent := time.Now()
			if took := (<-done).Sub(sent); took != 30*time.Second {
				t.Errorf("%s: cut %s after it", name, took)
			}
			ws.Close()
		}
	})
}

func TestUnansweredCloseEndsInTime(t *testing.T) {
	inMemory(t, func(t *testing.T, hub *Hub, connect func(string) *websocket.Conn) {
		ws := connect("user_7_a")
		defer ws.Close()
		hub.Dispatch(t.Context(), []event.Event{{Seq: 1, Kind: event.Kick, ObjectType: "user", ObjectID: 7, Token: 1}})
		time.Sleep(5*time.Second - time.Millisecond)
		synctest.Wait()
		if hub.Len() != 1 {
			t.Error("cut early")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if hub.Len() != 0 {
			t.Error("still there")
		}
		time.Sleep(DefaultLinger)
	})
}

func TestDrainOverTime(t *testing.T) {
	inMemory(t, func(t *testing.T, hub *Hub, connect func(string) *websocket.Conn) {
		const n = 10
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		slots := map[int]int{}
		for i := range n {
			ws := connect("user_7_" + string(rune('a'+i)))
			wg.Go(func() {
				_, _, err := ws.ReadMessage()
				if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
					t.Errorf("ended with %v", err)
				}
				ws.Close()
				mu.Lock()
				defer mu.Unlock()
				slots[int(time.Since(began)/time.Second)]++
			})
		}
		if err := hub.Drain(t.Context(), n*time.Second); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if len(slots) != n {
			t.Errorf("sockets closed by second: %v, want one in each of %d", slots, n)
		}
	})
}
