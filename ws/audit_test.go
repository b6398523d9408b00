package ws

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

// notebook is an Auditor that records every note.
type notebook struct {
	mu    sync.Mutex
	notes map[uint64][]string // of each connection
	who   map[uint64]string
}

func (n *notebook) Trail(who access.Identity, conn uint64, opened time.Time, addr string) func(uint64, bool, bool, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.who[conn] = fmt.Sprint(who.Principal, " ", addr)
	return func(seq uint64, isReplay, isDelete bool, at time.Time) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if at.Before(opened) {
			n.notes[conn] = append(n.notes[conn], "too early")
		}
		n.notes[conn] = append(n.notes[conn], map[bool]string{true: "replay ", false: "live "}[isReplay]+map[bool]string{true: "delete "}[isDelete]+fmt.Sprint(seq))
	}
}

func (n *notebook) of(conn uint64) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.notes[conn])
}

func newNotebook() *notebook {
	return &notebook{notes: map[uint64][]string{}, who: map[uint64]string{}}
}

// A frame is noted for each socket it was sent to; a Cursor is not noted.
func TestWhatIsNoted(t *testing.T) {
	t.Parallel()
	log, notes := &tape{}, newNotebook()
	var g *taped
	g = log.gateway(t, func(h *Handler) {
		h.Auditor = notes
		h.Roster = rosterFunc(func(access.Principal) ([]event.Event, error) {
			g.tell(arrivalOf("c"))
			return []event.Event{arrivalOf("a"), arrivalOf("b")}, nil
		})
	})
	stranger := g.connect(t, "user?id=user_9_a&since=0")
	stranger.hears("cursor 0")
	device := g.connect(t, "device?id=device_3_a")
	g.tell(changes(3, user(7))...)
	c := g.connect(t, "user?id=user_7_a&snapshot=1&since=1")
	c.hears("2", "3", "cursor 3", "presence of a at 3", "presence of b at 3", "presence of c at 4")
	device.hears("presence of c at 4")
	for conn, want := range map[uint64]string{1: "", 2: "live 4", 3: "replay 2, replay 3, live 0, live 0, live 4"} {
		dbtest.Eventually(t, fmt.Sprintf("%d has %s", conn, want), func() bool {
			return strings.Join(notes.of(conn), ", ") == want
		})
	}
	if who := fmt.Sprint(notes.who); who != "map[1:user:9 127.0.0.1 2:device:3 127.0.0.1 3:user:7 127.0.0.1]" {
		t.Error(who)
	}
}

// A DB_DELETE, which has only an object's keys, is noted as one, live and in a replay.
func TestADeleteIsNotedAsOne(t *testing.T) {
	t.Parallel()
	const mine, others = `[["p:1"]]`, `[["p:2"]]`
	log, notes := &tape{first: with(user(7), "p:1")}, newNotebook()
	g := log.gateway(t, func(h *Handler) { h.Auditor = notes })
	g.tell(object("U", "1", mine, mine), object("U", "2", others, mine))
	c := g.connect(t, "user?id=user_7_a&since=1")
	c.hears("delete 2", "cursor 2")
	g.tell(object("U", "3", others, mine), object("U", "4", mine, mine), object("D", "5", "", mine))
	c.hears("delete 3", "update 4", "delete 5")
	dbtest.Eventually(t, "all is noted", func() bool {
		return strings.Join(notes.of(1), ", ") == "replay delete 2, live delete 3, live 4, live delete 5"
	})
}

// What waits for a slow client is noted when the kernel takes it; for a client that never reads, never.
func TestWhatWaitsIsNotNoted(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, listen func(*httptest.Server)) {
		notes := newNotebook()
		g := newGateway(t, func(h *Handler) { h.Auditor, h.Limits.Backlog = notes, 1<<30 }, listen)
		reads, cut := g.connect(t, "user?id=user_1_a"), g.connect(t, "user?id=user_2_a")
		var values []string
		large := strings.Repeat("x", 100_000)
		for g.backlog() < 40*len(large) {
			values = append(values, large)
			g.deliver(large, user(1), user(2))
		}
		for conn := range uint64(2) {
			if n := len(notes.of(conn + 1)); n == 0 || n > len(values)-15 {
				t.Errorf("%d of %d frames noted while at least 20 wait", n, len(values))
			}
		}
		reads.want(values...)
		dbtest.Eventually(t, "all is noted", func() bool { return len(notes.of(1)) == len(values) })
		_ = cut.NetConn().Close()
		dbtest.Eventually(t, "it has ended", func() bool { return g.LenOf(access.User) == 1 })
		if n := len(notes.of(2)); n > len(values)-15 {
			t.Errorf("%d of %d frames noted for a socket that was cut", n, len(values))
		}
		for i, note := range notes.of(1) {
			if want := fmt.Sprint("live ", i+1); note != want {
				t.Fatalf("noted %s, want %s", note, want)
			}
		}
	})
}

// A frame refused after the library's close frame is not noted, although TLS still sends its close_notify.
func TestWhatIsRefusedIsNotNoted(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, listen func(*httptest.Server)) {
		notes := newNotebook()
		g := newGateway(t, func(h *Handler) { h.Auditor = notes }, listen)
		g.open(t, 1)
		conn := g.rooms[user(1)].conns[0]
		if err := conn.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(CloseProtocolError), ""), time.Time{}); err != nil {
			t.Fatal(err)
		}
		if n := g.deliver("refused", user(1)); n != 0 {
			t.Fatalf("%d frames are sent behind a close frame", n)
		}
		_ = conn.ws.Close()
		conn.settle()
		if got := notes.of(1); !slices.Equal(got, []string{"live 1"}) {
			t.Errorf("%q are noted", got)
		}
	})
}

// A slow client's frames are noted as it takes them, even if nothing more is written to it, and when the gateway stops.
func TestWhatASlowClientTakesIsNoted(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, listen func(*httptest.Server)) {
		notes := newNotebook()
		g := newGateway(t, func(h *Handler) { h.Auditor, h.Limits.Backlog = notes, 1<<30 }, listen)
		client := g.connect(t, "user?id=user_1_a")
		var values []string
		large := strings.Repeat("x", 100_000)
		for g.backlog() < 150*len(large) {
			values = append(values, large)
			g.deliver(large, user(1))
		}
		read := len(notes.of(1)) + 10
		client.want(values[:read]...)
		dbtest.Eventually(t, "what it has read is noted", func() bool { return len(notes.of(1)) >= read })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = g.Drain(ctx, 0)
		if n := len(notes.of(1)); n < read || n == len(values) {
			t.Errorf("%d of %d frames noted", n, len(values))
		}
	})
}
