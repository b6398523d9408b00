package ws

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
)

// Conn is one client's socket, from its admission to its end.
//
// It is opening until the 101 is written (frames are held and follow the 101), then open, then closing from the first close
// frame on, whichever side sends it. Its reading goroutine removes it from the hub once.
//
// send and Close are safe for concurrent use and never block. The first close code wins; nothing is sent after it.
type Conn struct {
	Identity access.Identity
	Encoding event.Encoding

	// Since is the cursor that the client passed; Asked reports whether it passed one, and then it receives cursors. If Since
	// is not 0, the log is replayed from there: see resumer.
	Since uint64
	Asked bool

	// Snapshot reports whether the client asked for a presence snapshot first.
	Snapshot bool

	*desk
	id     uint64
	opened time.Time
	room   *room // set by Hub.Enter; guarded by Hub.mu

	// Live events begin after the seq from; tags are the principal's there, if it resumes. Set before Enter returns.
	from uint64
	tags []string

	mu         sync.Mutex
	ws         *websocket.Conn // nil while opening
	out        *Outbox
	held       []*frame    // while opening or resuming
	bytes      int         // of held
	code       CloseCode   // not 0: closing
	sent       uint64      // frames with events
	sentBefore uint64      // sent at the last call of sendIfQuiet
	ping       *time.Timer // after open
	trail      trail

	resuming bool          // it is being brought up to date; live frames are held
	gone     func()        // cancels the resumer
	replayed chan struct{} // closed when the resumer has ended; nil: no resumer

	lastTarget int // its last target in its lane, counted from 1; 0: none. Guarded by Hub.delivering

	data, control bucket // of the reading goroutine
}

// desk is what all connections of a Handler share.
type desk struct {
	Limits
	hub      *Hub
	presence Presence // nil: none
	log      *slog.Logger
	metrics  *Metrics
	lastID   atomic.Uint64
}

// admit returns the Conn of a principal before its 101 is written.
func (d *desk) admit(identity access.Identity, encoding event.Encoding) *Conn {
	return &Conn{desk: d, Identity: identity, Encoding: encoding, id: d.lastID.Add(1), opened: time.Now()}
}

// open goes live on an upgraded socket, starting with the held frames. The caller then starts c.read in a goroutine.
func (c *Conn) open(ws *websocket.Conn, out *Outbox) {
	if c.trail.note != nil {
		out.flushed = c.settle
	}
	out.GoAsync()
	c.prepareToRead(ws)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.ws, c.out = ws, out
	c.ping = time.AfterFunc(c.nextPing(), c.sendPing)
	_ = ws.SetReadDeadline(time.Now().Add(c.PongWait))
	if !c.resuming {
		c.release()
	}
	if c.code != 0 {
		c.sayGoodbye()
	}
}

// startFrom sets where live events begin. A client that wants cursors gets one at once, or when it is up to date.
func (c *Conn) startFrom(seq uint64, tags []string) {
	c.from = seq
	if c.Since > 0 {
		c.tags = tags
	}
	if !c.Asked || c.resuming {
		return
	}
	if frame, err := cursorFrames(seq).in(event.Plain, c.Encoding); err == nil {
		c.sendOne(frame)
	}
}

// send writes frames, joining as many into one write as fit into joined, or leaves them to the outbox. It returns how many it
// took: none if the socket is closing. If the backlog already exceeds its limit, it closes the socket with CloseSlow.
func (c *Conn) send(frames []*frame, joined *[]byte) (taken int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(frames) > 0 && c.mayWrite() {
		n := 1
		if c.ws == nil || c.resuming {
			c.held = append(c.held, frames[0])
			c.bytes += len(frames[0].wire)
		} else if n = c.write(frames, joined); n == 0 {
			break
		}
		frames = frames[n:]
		taken += n
	}
	c.sent += uint64(taken)
	return taken
}

// sendOne is send for one frame.
func (c *Conn) sendOne(f *frame) bool { return c.send([]*frame{f}, nil) == 1 }

// release writes the held frames.
func (c *Conn) release() {
	var joined []byte
	for frames := c.held; len(frames) > 0; {
		n := c.write(frames, &joined)
		if n == 0 {
			break
		}
		frames = frames[n:]
	}
	c.held, c.bytes = nil, 0
}

// write writes as many of the first frames as fit into one write and returns how many; 0 if the socket is broken.
func (c *Conn) write(frames []*frame, joined *[]byte) int {
	wire, n := frames[0].wire, 1
	if len(frames) > 1 && len(wire)+len(frames[1].wire) <= joinedBytes {
		*joined = append((*joined)[:0], wire...)
		for ; n < len(frames) && len(*joined)+len(frames[n].wire) <= joinedBytes; n++ {
			*joined = append(*joined, frames[n].wire...)
		}
		wire = *joined
	}
	var behind uint64
	if c.trail.note != nil {
		_, behind = c.out.position()
	}
	taken, err := c.ws.NetConn().Write(wire)
	if c.trail.note != nil {
		if taken > 0 { // otherwise refused: never sent
			c.trail.add(frames[:n], behind, c.resuming)
		}
		c.trail.settle(c.out)
	}
	if !c.written(err) {
		return 0
	}
	return n
}

func (c *Conn) mayWrite() bool {
	if c.code == 0 && c.backlog() > c.Backlog {
		c.metrics.slowCloses.Inc()
		c.close(CloseSlow)
	}
	return c.code == 0
}

// waiting is the backlog of this socket in bytes.
func (c *Conn) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.backlog()
}

func (c *Conn) backlog() int {
	if c.ws == nil {
		return c.bytes
	}
	return c.bytes + c.out.Backlog()
}

// written handles the result of a write and reports whether the socket still works. If not, Abort makes the reader end the
// connection.
func (c *Conn) written(err error) bool {
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.out.Abort()
	}
	return err == nil
}

// Close sends a close frame behind everything sent so far, and reports whether it was the first to close. The socket ends when
// the client has answered, or after Limits.CloseWait.
func (c *Conn) Close(code CloseCode) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code != 0 {
		return false
	}
	c.close(code)
	return true
}

func (c *Conn) close(code CloseCode) {
	c.code = code
	if c.ws != nil {
		c.sayGoodbye()
	}
}

func (c *Conn) sayGoodbye() {
	c.ping.Stop()
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(c.code), c.code.Reason()), time.Time{})
	_ = c.ws.SetReadDeadline(time.Now().Add(c.CloseWait))
}

// abort cuts the socket without waiting for the client.
func (c *Conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ws != nil {
		c.out.Abort()
	}
}

func (c *Conn) sendPing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mayWrite() && c.written(c.ws.WriteControl(websocket.PingMessage, nil, time.Time{})) {
		c.ping.Reset(c.nextPing())
	}
}
