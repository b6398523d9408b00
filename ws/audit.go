package ws

import (
	"time"

	"terasocket/access"
)

// Auditor records what is sent to whom.
type Auditor interface {
	// Trail is called once per socket, before anything is sent. note is called, serially and in order, for each frame that the
	// kernel has taken at least in part: if the socket breaks in the middle of a write, up to 16 KiB of frames are noted that
	// were not sent. seq is 0 for the presence snapshot; isDelete reports a DB_DELETE, which has only an object's keys. Cursor
	// and ReplayIncomplete concern nobody and are not noted. note does not block.
	Trail(who access.Identity, conn uint64, opened time.Time, addr string) (note func(seq uint64, isReplay, isDelete bool, at time.Time))
}

// trail holds the marks of the frames that the kernel has not taken yet. Guarded by Conn.mu.
type trail struct {
	note   func(seq uint64, isReplay, isDelete bool, at time.Time) // nil: there is no Auditor
	unsent []mark
}

// mark is a frame that counts as sent once the kernel has taken more than behind bytes.
type mark struct {
	behind, seq        uint64
	isReplay, isDelete bool
}

// marksKept is the capacity that an empty trail may keep.
const marksKept = 16

func (t *trail) add(frames []*frame, behind uint64, isReplay bool) {
	for _, f := range frames {
		switch f.origin {
		case fromLog:
			t.unsent = append(t.unsent, mark{behind, f.seq, isReplay, f.isDelete})
		case fromSnapshot:
			t.unsent = append(t.unsent, mark{behind: behind})
		}
	}
}

// settle notes the frames sent since the last call.
func (t *trail) settle(out *Outbox) {
	sent, _ := out.position()
	now := time.Now()
	n := 0
	for ; n < len(t.unsent) && t.unsent[n].behind < sent; n++ {
		m := &t.unsent[n]
		t.note(m.seq, m.isReplay, m.isDelete, now)
	}
	switch {
	case n == len(t.unsent) && n > marksKept:
		t.unsent = nil
	case n > 0:
		t.unsent = t.unsent[:copy(t.unsent, t.unsent[n:])]
	}
}

// settle is called by the flusher after each write.
func (c *Conn) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trail.settle(c.out)
}

// endTrail aborts a socket that ends with this process, and notes what its kernel had taken.
func (c *Conn) endTrail() {
	if c.trail.note == nil {
		return
	}
	c.abort()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		c.trail.settle(c.out)
	}
}
