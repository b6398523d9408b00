package ws

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"sync"
	"terasocket/db/dbtest"
	"testing"
	"testing/synctest"
	"time"
)

// socketPair returns an Outbox in async mode and the other end, over loopback.
func socketPair(t testing.TB) (*Outbox, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&SocketListener{Listener: l}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	o := c.(*Outbox)
	t.Cleanup(func() { o.Abort(); peer.Close() })
	return o, peer.(*net.TCPConn)
}

func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// idle waits until nothing is buffered, and checks that no memory is held.
func idle(t *testing.T, o *Outbox) {
	t.Helper()
	dbtest.Eventually(t, "the flusher ends", func() bool { return !o.hasFlusher() })
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inFlight != 0 || o.waiting != nil {
		t.Errorf("%d bytes in flight, buffer of %d", o.inFlight, cap(o.waiting))
	}
}

func (o *Outbox) hasFlusher() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushing
}

func TestOutboxKeepsOrder(t *testing.T) {
	t.Parallel()
	transports := map[string]func(t *testing.T) (*Outbox, io.Writer, io.Reader){
		"tcp": func(t *testing.T) (*Outbox, io.Writer, io.Reader) {
			o, peer := socketPair(t)
			return o, o, peer
		},
		"pipe": func(t *testing.T) (*Outbox, io.Writer, io.Reader) {
			c, peer := net.Pipe()
			o := NewOutbox(c, 0)
			t.Cleanup(func() { o.Abort(); peer.Close() })
			return o, o, peer
		},
		"tls": func(t *testing.T) (*Outbox, io.Writer, io.Reader) {
			o, peer := socketPair(t)
			s := httptest.NewUnstartedServer(nil)
			s.StartTLS()
			defer s.Close()
			server := tls.Server(o, s.TLS)
			client := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
			go func() { _ = server.Handshake() }()
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			return o, server, client
		},
	}
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, w, r := transport(t)
			o.GoAsync()
			sent := noise(12 << 20)
			for rest, n := sent, 1; len(rest) > 0; n = n*7%300_007 + 1 { // nobody reads yet: this must not block
				n := min(n, len(rest))
				if m, err := w.Write(rest[:n]); err != nil || m != n {
					t.Fatalf("wrote %d of %d: %v", m, n, err)
				}
				rest = rest[n:]
			}
			if o.Backlog() == 0 {
				t.Error("no backlog though nobody reads")
			}
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(r, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, sent) {
				t.Error("the bytes differ")
			}
			idle(t, o)
		})
	}
}

func TestOutboxBlocksUntilAsync(t *testing.T) {
	t.Parallel()
	o, _ := socketPair(t)
	_ = o.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := o.Write(make([]byte, 32<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write to a full socket: %v, want a time-out", err)
	}
}

func TestOutboxNeedsNeitherGoroutineNorMemory(t *testing.T) {
	o, peer := socketPair(t)
	o.GoAsync()
	p, in := make([]byte, 200), make([]byte, 200)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = o.Write(p)
		if o.hasFlusher() {
			t.Error("a flusher for a socket that has room")
		}
		_, _ = io.ReadFull(peer, in)
	}); n != 0 {
		t.Errorf("%v allocations a write", n)
	}
}

// gated is a connection that lets one write through at a time.
type gated struct {
	net.Conn
	gate   chan struct{}
	mu     sync.Mutex
	writes []int
}

func (g *gated) Write(p []byte) (int, error) {
	<-g.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes = append(g.writes, len(p))
	return len(p), nil
}

func (g *gated) SetWriteDeadline(time.Time) error { return nil }
func (g *gated) Close() error                     { return nil }

func TestOutboxDrainsInOneWrite(t *testing.T) {
	t.Parallel()
	g := &gated{gate: make(chan struct{})}
	o := NewOutbox(g, 0)
	o.GoAsync()
	_, _ = o.Write([]byte("x"))
	dbtest.Eventually(t, "the flusher has the first", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.inFlight == 1
	})
	for range 100 {
		_, _ = o.Write([]byte("yy"))
	}
	if o.Backlog() != 201 {
		t.Errorf("backlog %d, want 201", o.Backlog())
	}
	close(g.gate)
	idle(t, o)
	if len(g.writes) != 2 || g.writes[1] != 200 {
		t.Errorf("writes of %v bytes, want 1 and 200", g.writes)
	}
}

func TestOutboxCloseLetsTheBacklogOut(t *testing.T) {
	t.Parallel()
	o, peer := socketPair(t)
	o.GoAsync()
	sent := noise(12 << 20)
	_, _ = o.Write(sent)
	if o.Backlog() == 0 {
		t.Fatal("no backlog")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := o.Read(make([]byte, 1)); err == nil {
		t.Error("the reader was not woken")
	}
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d of %d bytes: %v", len(got), len(sent), err)
	}
	idle(t, o)
}

func TestOutboxLingersForABoundedTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, peer := net.Pipe()
		defer peer.Close()
		o := NewOutbox(c, 0)
		o.GoAsync()
		_, _ = o.Write([]byte("nobody reads this"))
		_ = o.Close()
		time.Sleep(DefaultLinger - time.Millisecond)
		synctest.Wait()
		if !o.hasFlusher() {
			t.Error("gave up early")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if o.hasFlusher() {
			t.Error("still lingers")
		}
	})
}

func TestOutboxErrorSticks(t *testing.T) {
	t.Parallel()
	o, peer := socketPair(t)
	o.GoAsync()
	_, _ = o.Write(noise(12 << 20))
	_ = peer.SetLinger(0)
	peer.Close() // a reset
	dbtest.Eventually(t, "the flusher meets the error", func() bool {
		_, err := o.Write([]byte("x"))
		return err != nil && !errors.Is(err, net.ErrClosed)
	})
	idle(t, o)
	if _, err := o.Read(make([]byte, 1)); err == nil {
		t.Error("the reader was not woken")
	}
}

func TestOutboxStress(t *testing.T) {
	t.Parallel()
	for i := range 25 {
		o, peer := socketPair(t)
		o.GoAsync()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					if _, err := o.Write(make([]byte, 32<<10)); err != nil {
						return
					}
					o.Backlog()
				}
			})
		}
		wg.Go(func() { _, _ = io.CopyN(io.Discard, peer, int64(i)*100_000) })
		wg.Go(func() {
			if time.Sleep(time.Duration(i) * 100 * time.Microsecond); i%2 == 0 {
				o.Abort()
			} else {
				_ = o.Close()
			}
		})
		wg.Go(func() { _, _ = io.Copy(io.Discard, o) })
		wg.Wait()
		o.Abort()
		idle(t, o)
	}
}
