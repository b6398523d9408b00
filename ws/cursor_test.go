package ws

import (
	"slices"
	"sync"
	"testing"
	"time"

	"terasocket/proto/event"
)

// listening records what a client receives, and answers pings meanwhile.
type listening struct {
	mu    sync.Mutex
	heard []string
}

func listen(c *client) *listening {
	l := &listening{}
	go func() {
		for {
			r, err := c.receive()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.heard = append(l.heard, r.heard())
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *listening) want(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.heard, want) {
		t.Errorf("heard %q, want %q", l.heard, want)
	}
	l.heard = nil
}

// A client that passed since gets a cursor when it opens and when it has received nothing for some minutes. Others do not.
func TestCursors(t *testing.T) {
	dispatch(t, func(t *testing.T, d *dispatching, connect func(string) *client) {
		plain, quiet, busy := listen(connect("user_1_a")), listen(connect("user_2_a&since=0")), listen(connect("user_3_a&since=0&encoding=json"))
		time.Sleep(cursorEvery - time.Minute)
		d.batches <- []event.Event{*change(1001, "a", user(3)), *change(1002, "b", user(9))}
		time.Sleep(2 * time.Minute)
		plain.want(t)
		quiet.want(t, "cursor 0") // it has received this one since the last round
		busy.want(t, "cursor 0", "a")
		time.Sleep(cursorEvery - 2*time.Minute)
		d.batches <- []event.Event{*change(1003, "c", user(3))}
		time.Sleep(2 * time.Minute)
		plain.want(t)
		quiet.want(t, "cursor 1003")
		busy.want(t, "c")
		time.Sleep(3 * cursorEvery)
		plain.want(t)
		quiet.want(t, "cursor 1003", "cursor 1003", "cursor 1003")
		busy.want(t, "cursor 1003", "cursor 1003", "cursor 1003")
	})
}

// A cursor is never behind the start of live events, nor sent before the end of a replay.
func TestCursorsAreNotBehind(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	log := &tape{events: changes(9, user(7)), before: beforePages(func() { <-goOn })}
	g := log.gateway(t, nil)
	sendAll := func(seq uint64) {
		g.Hub.mu.Lock()
		defer g.Hub.mu.Unlock()
		for c := range g.conns {
			c.sendIfQuiet(cursorFrames(seq))
			c.sendIfQuiet(cursorFrames(seq))
		}
	}
	c := g.connect(t, "user?id=user_7_a&since=0")
	c.wantCursor(9)
	g.play(5)
	sendAll(8)
	sendAll(9)
	c.wantCursor(9)
	g.play(9)
	resuming := g.connect(t, "user?id=user_7_b&since=8")
	sendAll(10)
	c.wantCursor(9)
	close(goOn)
	g.tell(message("live", keysOf(user(7))))
	c.hears("cursor 10", "cursor 10", "live")
	resuming.hears("9", "cursor 9", "live")
}
