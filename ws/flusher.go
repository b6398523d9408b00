package ws

import "net"

// flush is the flusher. It ends when nothing waits or nothing can be sent any more.
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

// isFlushed reports whether the flusher is done; nothing waits then and nothing is held.
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

// flushWhenReady gives the kernel everything that waits, each time that it has room, until nothing waits; or once, where
// somebody wants to know.
// The lock is held only for writes that do not block, so that what comes meanwhile joins the next write.
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

// flushBlocking is for connections that are no sockets: it takes what waits and writes it.
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

// outboxOf finds the Outbox under c, such as under TLS.
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
