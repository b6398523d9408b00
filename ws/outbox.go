package ws

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DefaultLinger is how long a closed Outbox goes on sending its backlog.
const DefaultLinger = 5 * time.Second

// SocketListener wraps every accepted connection in an Outbox. It belongs under TLS:
//
//	tls.NewListener(&ws.SocketListener{Listener: tcp}, config)
type SocketListener struct {
	net.Listener
	Linger     time.Duration // of a connection closed with a backlog; 0 = DefaultLinger, negative = none
	Handshakes int           // limit of connections that are not websockets yet; beyond it one is cut. 0 = DefaultHandshakes, or fewer
	Open       int           // limit of connections; beyond it one that is not a websocket is cut. 0 = what RLIMIT_NOFILE leaves

	handshaking handshaking
}

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

// Outbox is a connection that can switch to writes that never block. It sits on the socket itself, under tls.Conn, so that a
// lock of TLS or of the websocket is held only briefly during a write.
//
// It starts as the connection it wraps, since HTTP needs a Write that waits. After GoAsync, Write gives the kernel what it
// takes at once and buffers the rest. Only while bytes are buffered is there a goroutine, the flusher, which hands everything
// to the kernel in one write whenever the socket is writable.
//
// All methods are safe for concurrent use. The lock is never held while the socket is closed: closing a socket waits for the
// flusher, which may want the lock. Invariants:
//  1. Bytes leave in the order of the Writes.
//  2. With nothing buffered there is no flusher and no buffer; otherwise one flusher, which alone touches the socket.
//  3. The flusher ends when nothing is buffered, at the first write error, at Abort, or Linger after Close.
//  4. The first write error sticks and closes the socket, which wakes the reader.
type Outbox struct {
	net.Conn
	linger time.Duration

	handshaking *handshaking  // nil: not accepted by a SocketListener
	place       *list.Element // in handshaking, guarded by it, as are the next two
	isAnswered  bool          // a request of it is being handled
	counted     bool          // it is closed and no longer in handshaking.open

	readFailed atomic.Bool // a Read has failed since GoAsync

	mu       sync.Mutex
	async    bool
	closed   bool
	flushing bool  // a flusher is running
	err      error // the first write error
	waiting  []byte
	off      int    // waiting[:off] is sent
	sent     uint64 // bytes taken by the kernel since GoAsync
	flushed  func() // called by the flusher, without a lock, after each write and at the end; may be nil
	inFlight int    // bytes that the flusher took out of waiting, without raw

	raw     syscall.RawConn // nil if the connection is no socket: then everything goes through the flusher
	tryFunc func(fd uintptr) bool
	try     []byte // argument and results of tryFunc
	tried   int
	tryErr  error
}

// NewOutbox wraps c; linger is as in SocketListener.
func NewOutbox(c net.Conn, linger time.Duration) *Outbox {
	if linger == 0 {
		linger = DefaultLinger
	}
	return &Outbox{Conn: c, linger: linger}
}

// GoAsync switches to writes that never block, for good. Write deadlines no longer apply.
func (o *Outbox) GoAsync() {
	o.leave()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.async {
		return
	}
	o.async = true
	o.readFailed.Store(false) // net/http interrupts its own background read
	_ = o.Conn.SetWriteDeadline(time.Time{})
	if sc, ok := o.Conn.(syscall.Conn); ok && canTry {
		if raw, err := sc.SyscallConn(); err == nil {
			o.raw, o.tryFunc = raw, o.tryOnce
		}
	}
}

// Backlog is the number of bytes that the kernel has not taken yet.
func (o *Outbox) Backlog() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) - o.off + o.inFlight
}

// position returns how many bytes the kernel has taken, and how many were written in all.
func (o *Outbox) position() (sent, all uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent, o.sent + uint64(len(o.waiting)-o.off+o.inFlight)
}

// Read records whether the socket failed. Other errors of a reader are about the data.
func (o *Outbox) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	if err != nil {
		o.readFailed.Store(true)
	}
	return n, err
}

// Write sends p, and buffers a copy of what cannot be sent at once. The error may be that of an earlier write.
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

// tryNow writes as much as the kernel takes without waiting.
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
	return true // even if the kernel took nothing: never wait here
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

// SetDeadline sets both deadlines; the write deadline only until GoAsync.
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

// CloseWrite shuts down the sending side, if the wrapped connection can; net/http does so after a refused request.
func (o *Outbox) CloseWrite() error {
	if c, ok := o.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Close ends writing and wakes the reader. The backlog is still sent, within the linger time; Close does not wait.
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

// Abort closes the socket at once and drops the backlog.
func (o *Outbox) Abort() {
	o.end()
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	_ = o.Conn.Close()
}
