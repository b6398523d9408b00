package db

import (
	"sync"
	"time"
)

// lag is how far behind the log a gateway may be: 0 while the listener is up and nothing waits, else the time since the
// oldest thing that is not done yet. The times below are zero when there is no such thing.
type lag struct {
	mu     sync.Mutex
	lost   time.Time // the LISTEN connection; later: what happened until then was found by a look at the log
	queued time.Time // the oldest hint that waits for the feed was heard, or what it misses began
	taken  time.Time // the same of what the feed has taken; its rows are delivered when it takes the next
	blind  time.Time // the last look at the log that worked, when one has failed since
}

func (l *lag) disconnected(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost.IsZero() {
		l.lost = now
	}
}

// connected makes what was missed meanwhile wait for the feed.
func (l *lag) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = earliest(l.queued, l.lost)
	l.lost = time.Time{}
}

func (l *lag) queue(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = earliest(l.queued, now)
}

func (l *lag) take() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken, l.queued = l.queued, time.Time{}
}

// looked says that a look at the log worked, and found all that had ended before.
func (l *lag) looked(before time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blind = time.Time{}
	if !l.lost.IsZero() && before.After(l.lost) {
		l.lost = before
	}
}

// failed says that a look at the log failed; the last one that worked was then.
func (l *lag) failed(last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blind = last
}

func (l *lag) seconds(now time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := earliest(earliest(l.lost, l.queued), earliest(l.taken, l.blind))
	if oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(oldest).Seconds())
}

// earliest is the earlier of two times, of which either may be zero: none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
