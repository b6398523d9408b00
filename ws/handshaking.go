package ws

import (
	"container/list"
	"sync"
)

// DefaultHandshakes is how many accepted connections may be no websockets yet.
const DefaultHandshakes = 2048

// handshaking are the connections that are no websockets yet: in the TLS handshake, in a request, or idle between two. When
// there are too many the oldest goes: a client that means it is through in no time, one that does not waits.
type handshaking struct {
	mu    sync.Mutex
	conns list.List // of *Outbox, oldest first
}

func (p *handshaking) add(o *Outbox, most int) {
	p.mu.Lock()
	o.handshaking = p
	o.place = p.conns.PushBack(o)
	var oldest *Outbox
	if p.conns.Len() > most {
		oldest = p.conns.Front().Value.(*Outbox)
	}
	p.mu.Unlock()
	if oldest != nil {
		oldest.Abort()
	}
}

// leave says that o is a websocket now, or closed.
func (o *Outbox) leave() {
	p := o.handshaking
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.place != nil {
		p.conns.Remove(o.place)
		o.place = nil
	}
}
