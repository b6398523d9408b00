package ws

import (
	"context"
	"time"

	"terasocket/proto/event"
	"terasocket/proto/terasocket"
)

// cursorEvery is how often sockets are looked at that want cursors: who heard nothing since the last time is told how far
// it is. So each holds a cursor that is not trimmed.
const cursorEvery = 5 * time.Minute

// cursorFrames tells a client that it has heard all up to seq.
func cursorFrames(seq uint64) *Frames {
	e := event.New(seq, time.Now(), "", &terasocket.Cursor{Seq: seq})
	return &Frames{event: &e, origin: fromGateway}
}

// sendCursors does so until ctx ends.
func (h *Hub) sendCursors(ctx context.Context) {
	for sleep(ctx, cursorEvery) {
		h.delivering.Lock() // all up to h.last is delivered
		h.mu.Lock()
		var quiet []*Conn
		for _, r := range h.rooms {
			for _, c := range r.conns {
				if c.Asked && r.isLive {
					quiet = append(quiet, c)
				}
			}
		}
		f := cursorFrames(h.last)
		h.mu.Unlock()
		for _, c := range quiet {
			c.sendIfQuiet(f)
		}
		h.delivering.Unlock()
	}
}

// sendIfQuiet sends a cursor, unless the client has heard something since the last call, or is further already.
func (c *Conn) sendIfQuiet(f *Frames) {
	cursor, err := f.in(event.Plain, c.Encoding)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == c.sentBefore && f.event.Seq >= c.from && c.ws != nil && !c.resuming && c.mayWrite() {
		c.write([]*frame{cursor}, nil)
	}
	c.sentBefore = c.sent
}
