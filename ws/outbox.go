package ws

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DefaultLinger is how long a closed Outbox goes on sending what waits.
const DefaultLinger = 5 * time.Second

// SocketListener makes every accepted connection an Outbox. It belongs under TLS:
//
//	tls.NewListener(&ws.SocketListener{Listener: tcp}, config)
type SocketListener struct {
	net.Listener
	Linger     time.Duration // of a connection closed while bytes wait; 0 = DefaultLinger, negative = none
	Handshakes int           // connections that are no websockets yet; one more, and one is cut. 0 = DefaultHandshakes, or fewer
	Open       int           // connections; one more, and one that is no websocket is cut. 0 = what RLIMIT_NOFILE leaves

	handshaking handshaking
}

// Accept waits for the next connection.
func (l *SocketListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	open, most := capacity(descriptors())
	if l.Open != 0 {
		open = l.Open
	}
	if l.Handshakes != 0 {
		most = l.Handshakes
	}
	o := NewOutbox(c, l.Linger)
	l.handshaking.add(o, most, open)
	return o, nil
}

// Outbox is a connection whose writes can be made to never block. It sits on the socket itself, under tls.Conn, so that
// whoever holds a lock of TLS or of a websocket while writing holds it briefly.
//
// It starts as the connection it wraps: HTTP needs a Write that waits. After GoAsync, Write gives the kernel what it
// takes at once and keeps the rest. While something waits, and only then, one goroutine (the flusher) exists, which
// hands the kernel everything that waits in one write whenever there is room.
//
// All methods may be called at once. The lock is never held while the socket is closed, since closing a socket waits
// for the flusher, which may want the lock. Invariants:
//  1. Bytes leave in the order of the Writes.
//  2. Nothing waits: no flusher, no buffer. Something waits: one flusher, which alone touches the socket.
//  3. The flusher ends when nothing waits, at the first write error, at Abort, or Linger after Close.
//  4. The first write error sticks and closes the socket, which wakes the reader.
type Outbox struct {
	net.Conn
	linger time.Duration

	handshaking *handshaking  // nil: it was not accepted by a SocketListener
	place       *list.Element // in pending, guarded by it; so are the next two
	isAnswered  bool          // a request of it is being answered
	counted     bool          // it is closed, and counts no more

	readFailed atomic.Bool // the socket gave an error, since GoAsync

	mu       sync.Mutex
	async    bool
	closed   bool
	flushing bool  // there is a flusher
	err      error // the first write error
	waiting  []byte
	off      int    // waiting[:off] is sent
	sent     uint64 // bytes that the kernel has taken, since GoAsync
	flushed  func() // called by the flusher, without a lock, when the kernel has taken something, and at the end; nil: nobody wants to know
	inFlight int    // bytes that the flusher took out of waiting, where the socket cannot be tried

	raw     syscall.RawConn // nil where the socket cannot be tried: then everything goes through the flusher
	tryFunc func(fd uintptr) bool
	try     []byte // argument and results of tryFunc
	tried   int
	tryErr  error
}

// NewOutbox wraps c; linger as in SocketListener.
func NewOutbox(c net.Conn, linger time.Duration) *Outbox {
	if linger == 0 {
		linger = DefaultLinger
	}
	return &Outbox{Conn: c, linger: linger}
}

// GoAsync switches to writes that never block. There is no way back. Write deadlines count no longer.
func (o *Outbox) GoAsync() {
	o.leave()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.async {
		return
	}
	o.async = true
	o.readFailed.Store(false) // net/http breaks its own reading off
	_ = o.Conn.SetWriteDeadline(time.Time{})
	if sc, ok := o.Conn.(syscall.Conn); ok && canTry {
		if raw, err := sc.SyscallConn(); err == nil {
			o.raw, o.tryFunc = raw, o.tryOnce
		}
	}
}

// Backlog is how many bytes wait to be taken by the kernel.
func (o *Outbox) Backlog() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) - o.off + o.inFlight
}

// position is how many bytes the kernel has taken, and how many it is to take.
func (o *Outbox) position() (sent, all uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent, o.sent + uint64(len(o.waiting)-o.off+o.inFlight)
}

// Read reads, and remembers whether the socket failed: what else a reader is told is about what came.
func (o *Outbox) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	if err != nil {
		o.readFailed.Store(true)
	}
	return n, err
}

// Write sends p, or keeps a copy of what cannot be sent at once. An error is that of an earlier or this write.
func (o *Outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	if !o.async {
		o.mu.Unlock()
		return o.Conn.Write(p)
	}
	if err := o.stopped(); err != nil {
		o.mu.Unlock()
		return 0, err
	}
	n := 0
	if o.raw != nil && !o.flushing {
		n = o.tryNow(p)
	}
	err := o.err
	if err == nil && n < len(p) {
		o.keep(p[n:])
		n = len(p)
	}
	o.mu.Unlock()
	if err != nil {
		_ = o.Conn.Close()
	}
	return n, err
}

func (o *Outbox) stopped() error {
	if o.err == nil && o.closed {
		return net.ErrClosed
	}
	return o.err
}

// tryNow writes once, as much as the kernel takes.
func (o *Outbox) tryNow(p []byte) int {
	o.try, o.tried, o.tryErr = p, 0, nil
	err := o.raw.Write(o.tryFunc)
	o.try = nil
	if err == nil {
		err = o.tryErr
	}
	o.err = err
	o.sent += uint64(o.tried)
	return o.tried
}

func (o *Outbox) tryOnce(fd uintptr) bool {
	o.tried, o.tryErr = writeNow(fd, o.try)
	return true // also when the kernel took nothing: never wait here
}

func (o *Outbox) keep(p []byte) {
	if o.off > len(o.waiting)/2 && len(o.waiting)+len(p) > cap(o.waiting) {
		o.waiting = o.waiting[:copy(o.waiting, o.waiting[o.off:])]
		o.off = 0
	}
	o.waiting = append(o.waiting, p...)
	if !o.flushing {
		o.flushing = true
		go o.flush()
	}
}

// SetDeadline sets both deadlines, the write deadline only until GoAsync.
func (o *Outbox) SetDeadline(t time.Time) error {
	if err := o.SetWriteDeadline(t); err != nil {
		return err
	}
	return o.SetReadDeadline(t)
}

// SetWriteDeadline does nothing after GoAsync.
func (o *Outbox) SetWriteDeadline(t time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.async {
		return nil
	}
	return o.Conn.SetWriteDeadline(t)
}

// CloseWrite shuts down the sending side, where the wrapped connection can: net/http does it after a refused request.
func (o *Outbox) CloseWrite() error {
	if c, ok := o.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Close ends writing and wakes the reader. What waits is still sent, for the linger time at most; Close does not wait.
func (o *Outbox) Close() error {
	o.end()
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return net.ErrClosed
	}
	o.closed = true
	if o.flushing && o.err == nil && o.linger > 0 {
		_ = o.Conn.SetWriteDeadline(time.Now().Add(o.linger))
		err := o.Conn.SetReadDeadline(time.Now())
		o.mu.Unlock()
		return err
	}
	o.mu.Unlock()
	return o.Conn.Close()
}

// Abort closes the socket now; what waits is lost.
func (o *Outbox) Abort() {
	o.end()
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	_ = o.Conn.Close()
}
