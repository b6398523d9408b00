package ws

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// DefaultHandshakes is how many accepted connections may be no websockets yet, where there are descriptors enough.
const DefaultHandshakes = 2048

// reserved are the file descriptors that are left to everything but clients: the database, the admin address, files.
const reserved = 64

// handshaking are the connections that are no websockets yet: in the TLS handshake, in a request, or idle between two. When
// there are too many, or too few descriptors are left, one of them goes: of those that nobody answers the oldest, since a
// client that means it is through in no time, and one that does not waits; else of those that are being answered the newest.
type handshaking struct {
	mu       sync.Mutex
	waiting  list.List // of *Outbox, oldest first
	answered list.List // those whose request has come and is being answered
	open     int       // connections, websockets too
}

// capacity is how many connections there may be with this many file descriptors (0: not known), and how many of them may
// be no websockets.
func capacity(descriptors int) (open, handshakes int) {
	if descriptors <= 0 {
		return 0, DefaultHandshakes
	}
	open = descriptors - min(reserved, descriptors/2)
	return open, max(1, min(DefaultHandshakes, open/4))
}

// add takes a connection in; mostOpen 0 is no limit.
func (p *handshaking) add(o *Outbox, most, mostOpen int) {
	p.mu.Lock()
	p.open++
	o.handshaking = p
	o.place = p.waiting.PushBack(o)
	var victim *list.Element
	if p.waiting.Len()+p.answered.Len() > most || mostOpen > 0 && p.open > mostOpen {
		if victim = p.waiting.Front(); victim.Value == o && p.answered.Len() > 0 && p.answered.Len() >= most {
			victim = p.answered.Back() // else nobody new would come in
		}
	}
	p.mu.Unlock()
	if victim != nil {
		victim.Value.(*Outbox).Abort()
	}
}

// leave says that o is a websocket now, or closed.
func (o *Outbox) leave() {
	if p := o.handshaking; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.take(o)
	}
}

// end says that o is closed.
func (o *Outbox) end() {
	if p := o.handshaking; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.take(o)
		if !o.counted {
			o.counted = true
			p.open--
		}
	}
}

// take is called with mu held.
func (p *handshaking) take(o *Outbox) {
	if o.place == nil {
		return
	}
	if o.isAnswered {
		p.answered.Remove(o.place)
	} else {
		p.waiting.Remove(o.place)
	}
	o.place = nil
}

// answer says that the request of o is being answered, or was.
func (o *Outbox) answer(isAnswered bool) {
	p := o.handshaking
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.place == nil || o.isAnswered == isAnswered {
		return
	}
	p.take(o)
	if o.isAnswered = isAnswered; isAnswered {
		o.place = p.answered.PushBack(o)
	} else {
		o.place = p.waiting.PushBack(o)
	}
}

type outboxKey struct{}

// ConnContext is that of an http.Server whose connections come from a SocketListener.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, outboxKey{}, outboxOf(c))
}

// Answered is the handler of an http.Server with ConnContext: a connection whose request has come is thrown out last.
func Answered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o, _ := r.Context().Value(outboxKey{}).(*Outbox); o != nil {
			o.answer(true)
			defer o.answer(false)
		}
		next.ServeHTTP(w, r)
	})
}
