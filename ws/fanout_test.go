package ws

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
)

// batchOf returns n changes with the values 1, 2, 3, ... for everybody in to.
func batchOf(n int, to ...access.Principal) (batch []event.Event, values []string) {
	for i := range n {
		values = append(values, fmt.Sprint(i+1))
		batch = append(batch, *change(uint64(i+1), values[i], to...))
	}
	return batch, values
}

// open connects a user and returns when the server has opened the socket too.
func (g *gateway) open(t testing.TB, id int32) *client {
	t.Helper()
	c := g.connect(t, fmt.Sprintf("user?id=user_%d_a", id))
	g.deliver("open", user(id))
	c.want("open")
	return c
}

// Sockets on all lanes receive a batch in order, whatever is delivered concurrently.
func TestABatchKeepsItsOrderOnEverySocket(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	var clients []*client
	var all []access.Principal
	for i := range int32(40) {
		all = append(all, user(i))
		clients = append(clients, g.connect(t, fmt.Sprintf("user?id=user_%d_a", i)))
	}
	stranger := g.connect(t, "user?id=user_1000_a")
	batch, values := batchOf(30, all...)
	if n := g.Dispatch(t.Context(), batch); n != 30*40 {
		t.Errorf("%d frames taken, want %d", n, 30*40)
	}
	g.seq = 30
	g.deliver("last", append(all, user(1000))...)
	stranger.want("last")
	for _, c := range clients {
		c.want(append(values, "last")...)
	}
}

// A batch with more targets than manyTargets is delivered in rounds.
func TestABatchWithMoreTargetsThanAreKept(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(h *Handler) { h.Limits.Backlog = 64 << 20 }, nil)
	c := g.connect(t, "user?id=user_7_a")
	batch, values := batchOf(50, user(7))
	g.deliver("open", user(7))
	c.want("open")
	g.waiting.n = manyTargets - 20 // as if this many were queued
	if n := g.Dispatch(t.Context(), batch); n != 50 {
		t.Errorf("%d frames taken, want 50", n)
	}
	c.want(values...)
}

// Frames of a batch for one socket leave in one write, as far as they fit into a TLS record.
func TestABatchLeavesInOneWrite(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	g.open(t, 7)
	var writes []int
	out := g.rooms[user(7)].conns[0].out
	out.mu.Lock()
	out.tryFunc = func(uintptr) bool { out.tried = len(out.try); writes = append(writes, out.tried); return true }
	out.mu.Unlock()
	batch, _ := batchOf(3, user(7))
	g.Dispatch(t.Context(), batch)
	if len(writes) != 1 {
		t.Errorf("3 small frames left in %d writes", len(writes))
	}
	writes = nil
	large := strings.Repeat("x", 7000)
	g.Dispatch(t.Context(), []event.Event{*change(4, large, user(7)), *change(5, large, user(7)), *change(6, large, user(7)), *change(7, large+large+large, user(7))})
	if len(writes) != 3 || writes[0] > joinedBytes || writes[0] < 14000 {
		t.Errorf("three frames of 7,000 bytes and one of 21,000 left in writes of %d bytes", writes)
	}
}

// A kick takes effect at its place in the batch.
func TestAKickInABatch(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	kicked, other := g.connect(t, "user?id=user_7_a"), g.connect(t, "user?id=user_8_a")
	g.deliver("open", user(7), user(8))
	kicked.want("open")
	other.want("open")
	g.Dispatch(t.Context(), []event.Event{
		*change(2, "before", user(7), user(8)),
		{Seq: 3, Kind: event.Kick, ObjectType: "user", ObjectID: 7, Token: 1000},
		*change(4, "after", user(7), user(8)),
	})
	other.want("before", "after")
	kicked.want("before")
	_, _, err := kicked.ReadMessage()
	if !websocket.IsCloseError(err, int(CloseKicked)) {
		t.Errorf("after the kick: %v", err)
	}
}

// A socket that is closed while a batch waits for it takes none of it and sends nothing after its close frame.
func TestABatchForAClosingSocket(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	c := g.open(t, 7)
	g.rooms[user(7)].conns[0].Close(CloseRestart)
	batch, _ := batchOf(3, user(7))
	if n := g.Dispatch(t.Context(), batch); n != 0 {
		t.Errorf("%d frames taken by a socket that is closing", n)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, int(CloseRestart)) {
		t.Errorf("got %v", err)
	}
}

// The library writes close frames by itself: nothing follows those either.
func TestNothingFollowsACloseFrameOfTheLibrary(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	c := g.open(t, 7)
	conn := g.rooms[user(7)].conns[0]
	if err := conn.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(CloseProtocolError), ""), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n := g.deliver("late", user(7)); n != 0 {
		t.Errorf("%d frames taken after a close frame", n)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, int(CloseProtocolError)) {
		t.Errorf("got %v", err)
	}
	_ = c.NetConn().SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _ := c.NetConn().Read(make([]byte, 1)); n != 0 {
		t.Error("something follows the close frame")
	}
}

// A socket over its backlog limit is closed in the middle of a batch; the frames taken before still arrive.
func TestASlowClientInABatch(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	slow := g.connect(t, "user?id=user_7_a")
	large := strings.Repeat("x", 100_000)
	var batch []event.Event
	for i := range 1000 {
		batch = append(batch, *change(uint64(i+1), fmt.Sprint(i, large), user(7)))
	}
	n := g.Dispatch(context.Background(), batch)
	if n == 0 || n == len(batch) {
		t.Fatalf("%d of %d frames taken", n, len(batch))
	}
	for i := range n {
		slow.want(fmt.Sprint(i, large))
	}
	slow.wantClose(CloseSlow)
}

// A client reads frames of every length encoding.
func TestFrames(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	c := g.open(t, 7)
	conn := g.rooms[user(7)].conns[0]
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		for _, opcode := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			payload := bytes.Repeat([]byte("a"), n)
			conn.sendOne(&frame{wire: appendFrame(nil, opcode, payload)})
			gotOpcode, got, err := c.ReadMessage()
			if err != nil || gotOpcode != opcode || !bytes.Equal(got, payload) {
				t.Errorf("%d bytes, opcode %d: %d bytes, opcode %d, %v", n, opcode, len(got), gotOpcode, err)
			}
		}
	}
}

// BenchmarkBatch hands batches to 1,000 sockets whose kernel takes everything: only our own cost remains.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 16} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			g := newGateway(b, nil, nil)
			var all []access.Principal
			for i := range int32(1000) {
				all = append(all, user(i))
				g.open(b, i)
				out := g.rooms[user(i)].conns[0].out
				out.tryFunc = func(uintptr) bool { out.tried = len(out.try); return true }
			}
			batch, _ := batchOf(size, all...)
			for i := range batch {
				batch[i].Seq += g.seq
			}
			b.ReportAllocs()
			for b.Loop() {
				if n := g.Dispatch(b.Context(), batch); n != size*len(all) {
					b.Fatalf("%d frames taken", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size*len(all)), "ns/frame")
			b.ReportMetric(float64(runtime.GOMAXPROCS(0)), "lanes")
		})
	}
}
