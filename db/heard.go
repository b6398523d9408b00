package db

import (
	"sync"
	"time"
)

// heard is what the Listener received and nobody has taken yet. Its size is bounded.
type heard struct {
	mu        sync.Mutex
	down      time.Time // when the connection was lost; zero while it is up
	hints     Hints
	seq       uint64 // the highest seq announced
	isGap     bool   // announcements were missed
	complaint time.Time
	quiet     int // malformed notifications not logged since then

	changed   chan struct{} // capacity 1: there are hints to take
	announced chan struct{} // capacity 1: there is an announcement to take
}

func newHeard() *heard {
	return &heard{changed: make(chan struct{}, 1), announced: make(chan struct{}, 1), down: time.Now()}
}

// complainEvery limits how often malformed notifications are logged: anyone may send them.
const complainEvery = time.Minute

// hear records a notification. ok is false if it is not one of terasocket's; complain is how many of those to log now, 0 for none.
func (h *heard) hear(channel, payload string) (ok bool, complain int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var err error
	if channel == LogChannel {
		var seq uint64
		if seq, err = ParseAnnouncement(payload); err == nil {
			h.seq = max(h.seq, seq)
		} else {
			h.isGap = true
		}
		wake(h.announced)
	} else {
		var xid uint64
		if xid, err = ParseChange(payload); err == nil && xid > 0 {
			h.hints.add(xid, now)
		} else {
			h.hints.more(now)
		}
		wake(h.changed)
	}
	if err == nil {
		return true, 0
	}
	h.quiet++
	if now.Sub(h.complaint) < complainEvery {
		return false, 0
	}
	complain, h.quiet, h.complaint = h.quiet, 0, now
	return false, complain
}

// connected records that nothing is missed from now on, and that what was missed before must be looked for.
func (h *heard) connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hints.more(h.down)
	h.isGap, h.down = true, time.Time{}
	wake(h.changed)
	wake(h.announced)
}

func (h *heard) disconnected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down.IsZero() {
		h.down = time.Now()
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed receives a value when there are hints to take.
func (l *Listener) Changed() <-chan struct{} { return l.heard.changed }

// TakeHints returns the hints received since the last call.
func (l *Listener) TakeHints() Hints {
	l.heard.mu.Lock()
	defer l.heard.mu.Unlock()
	hints := l.heard.hints
	l.heard.hints = Hints{}
	return hints
}

// Announced receives a value when there is an announcement to take.
func (l *Listener) Announced() <-chan struct{} { return l.heard.announced }

// TakeAnnounced returns the highest seq announced since the last call, 0 for none; isGap: announcements may have been missed.
func (l *Listener) TakeAnnounced() (seq uint64, isGap bool) {
	l.heard.mu.Lock()
	defer l.heard.mu.Unlock()
	seq, isGap = l.heard.seq, l.heard.isGap
	l.heard.seq, l.heard.isGap = 0, false
	return seq, isGap
}

// Down returns when the LISTEN connection was lost; the zero time while it is up.
func (l *Listener) Down() time.Time {
	l.heard.mu.Lock()
	defer l.heard.mu.Unlock()
	return l.heard.down
}

// Connected reports whether the LISTEN connection is up.
func (l *Listener) Connected() bool { return l.Down().IsZero() }
