package ws

import "net"

// flush is the flusher: it runs until nothing waits or the socket fails.
func (o *Outbox) flush() {
	for {
		var err error
		if o.raw != nil {
			err = o.flushWhenReady()
		} else {
			err = o.flushBlocking()
		}
		isOver := o.isFlushed(err)
		if o.flushed != nil {
			o.flushed()
		}
		if isOver {
			return
		}
	}
}

// isFlushed reports whether the flusher is done. It then frees the buffer.
func (o *Outbox) isFlushed(err error) bool {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	if o.err == nil && o.off < len(o.waiting) {
		o.mu.Unlock()
		return false
	}
	o.waiting, o.off, o.flushing = nil, 0, false
	end := o.closed || o.err != nil
	o.mu.Unlock()
	if end {
		_ = o.Conn.Close()
	}
	return true
}

// flushWhenReady writes everything that waits whenever the socket is writable, until nothing waits; with a flushed callback, it
// returns after each write. The lock is held only for writes that do not block, so that bytes arriving meanwhile join the next
// one.
func (o *Outbox) flushWhenReady() error {
	var failed error
	err := o.raw.Write(func(fd uintptr) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		n, err := writeNow(fd, o.waiting[o.off:])
		o.off += n
		o.sent += uint64(n)
		failed = err
		return err != nil || o.off == len(o.waiting) || n > 0 && o.flushed != nil
	})
	if err == nil {
		err = failed
	}
	return err
}

// flushBlocking is for connections that are not sockets: it takes what waits and writes it.
func (o *Outbox) flushBlocking() error {
	o.mu.Lock()
	p := o.waiting[o.off:]
	o.waiting, o.off, o.inFlight = nil, 0, len(p)
	o.mu.Unlock()

	n, err := o.Conn.Write(p)

	o.mu.Lock()
	o.inFlight = 0
	o.sent += uint64(n)
	o.mu.Unlock()
	return err
}

// outboxOf returns the Outbox under c, if need be through TLS; nil if there is none.
func outboxOf(c net.Conn) *Outbox {
	for {
		switch at := c.(type) {
		case *Outbox:
			return at
		case interface{ NetConn() net.Conn }:
			c = at.NetConn()
		default:
			return nil
		}
	}
}
