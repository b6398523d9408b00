package ws

import (
	"time"

	"terasocket/access"
)

// Auditor is told what is sent to whom.
type Auditor interface {
	// Trail is called once for each socket, before anything is sent. note is told, one at a time and in order, of each frame that the
	// kernel has taken for it, or a part of it: a socket may break in the middle of a write, and up to 16 KiB of frames count as
	// sent then that were not. seq is 0 of the presence snapshot; what tells of nobody (Cursor, ReplayIncomplete) is left out. It does
	// not wait.
	Trail(who access.Identity, conn uint64, opened time.Time, addr string) (note func(seq uint64, isReplay bool, at time.Time))
}

// trail knows which frames wait for the kernel. Guarded by Conn.mu.
type trail struct {
	note   func(seq uint64, isReplay bool, at time.Time) // nil: there is no Auditor
	unsent []mark
}

// mark is a frame that is sent when the kernel has taken more than so many bytes.
type mark struct {
	behind, seq uint64
	isReplay    bool
}

// marksKept is how much memory a trail on which nothing waits may keep.
const marksKept = 16

func (t *trail) add(frames []*frame, behind uint64, isReplay bool) {
	for _, f := range frames {
		switch f.origin {
		case fromLog:
			t.unsent = append(t.unsent, mark{behind, f.seq, isReplay})
		case fromSnapshot:
			t.unsent = append(t.unsent, mark{behind: behind})
		}
	}
}

// settle notes what was sent meanwhile.
func (t *trail) settle(out *Outbox) {
	sent, _ := out.position()
	now := time.Now()
	n := 0
	for ; n < len(t.unsent) && t.unsent[n].behind < sent; n++ {
		t.note(t.unsent[n].seq, t.unsent[n].isReplay, now)
	}
	switch {
	case n == len(t.unsent) && n > marksKept:
		t.unsent = nil
	case n > 0:
		t.unsent = t.unsent[:copy(t.unsent, t.unsent[n:])]
	}
}

// settle notes what the flusher has sent.
func (c *Conn) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trail.settle(c.out)
}

// endTrail lets the kernel take no more of a socket that ends with this process, and notes what it has taken.
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
