package ws

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// DefaultHandshakes limits the connections that are not websockets yet, if there are enough file descriptors.
const DefaultHandshakes = 2048

// reserved file descriptors are kept free of clients: for the database, the admin address, files.
const reserved = 64

// handshaking tracks the connections that are not websockets yet: in the TLS handshake, in a request, or idle between two. If
// there are too many, or too few descriptors are left, it cuts one: the oldest whose request is not being handled, since an
// honest client is through in no time; otherwise the newest that is being handled.
type handshaking struct {
	mu       sync.Mutex
	waiting  list.List // of *Outbox, oldest first
	answered list.List // whose request is being handled
	open     int       // connections, websockets included
}

// capacity returns the limits of open connections and of handshakes for this many file descriptors; 0 descriptors: not known; 0
// open: no limit.
func capacity(descriptors int) (open, handshakes int) {
	if descriptors <= 0 {
		return 0, DefaultHandshakes
	}
	open = descriptors - min(reserved, descriptors/2)
	return open, max(1, min(DefaultHandshakes, open/4))
}

// add tracks a new connection; mostOpen 0 is no limit.
func (p *handshaking) add(o *Outbox, most, mostOpen int) {
	p.mu.Lock()
	p.open++
	o.handshaking = p
	o.place = p.waiting.PushBack(o)
	var victim *list.Element
	if p.waiting.Len()+p.answered.Len() > most || mostOpen > 0 && p.open > mostOpen {
		if victim = p.waiting.Front(); victim.Value == o && p.answered.Len() > 0 && p.answered.Len() >= most {
			victim = p.answered.Back() // otherwise no new client would get in
		}
	}
	p.mu.Unlock()
	if victim != nil {
		victim.Value.(*Outbox).Abort()
	}
}

// leave is called when o has become a websocket or is closed.
func (o *Outbox) leave() {
	if p := o.handshaking; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.take(o)
	}
}

// end is called when o is closed.
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

// take removes o from its list. Called with mu held.
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

// answer records whether a request of o is being handled.
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

// ConnContext is for an http.Server whose connections come from a SocketListener.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, outboxKey{}, outboxOf(c))
}

// Answered marks connections as being handled, so that they are cut last. It needs ConnContext.
func Answered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o, _ := r.Context().Value(outboxKey{}).(*Outbox); o != nil {
			o.answer(true)
			defer o.answer(false)
		}
		next.ServeHTTP(w, r)
	})
}
