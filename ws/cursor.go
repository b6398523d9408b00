package ws

import (
	"context"
	"time"

	"terasocket/proto/event"
	"terasocket/proto/terasocket"
)

// cursorEvery is the interval of sendCursors. A client that has received nothing for that long gets a cursor, so that the
// cursor it holds is never trimmed.
const cursorEvery = 5 * time.Minute

// cursorFrames tells a client that it is up to date as of seq.
func cursorFrames(seq uint64) *Frames {
	e := event.New(seq, time.Now(), "", &terasocket.Cursor{Seq: seq})
	return &Frames{event: &e, origin: fromGateway}
}

// sendCursors sends cursors to quiet clients until ctx ends.
func (h *Hub) sendCursors(ctx context.Context) {
	for sleep(ctx, cursorEvery) {
		h.delivering.Lock() // everything up to h.last has been delivered
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

// sendIfQuiet sends a cursor unless the client has received something since the last call or is already past it.
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
