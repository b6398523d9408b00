package eventlog

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"terasocket/db"
	"terasocket/proto/event"
)

// Progress tracks what is not announced or delivered yet, and since when. The Announcer and Feed of a gateway share one. Zero times mean
// that there is no such thing.
type Progress struct {
	listener *db.Listener

	mu         sync.Mutex
	waiting    hints     // received, no announcement asked for yet
	asked      hints     // an announcement that will cover them was asked for
	announced  time.Time // when an announcement that is still unread was reported
	delivering time.Time // when what is being delivered was reported
	announcer  trouble
	feed       trouble
}

// hints are transactions with committed changes, and when they were reported.
type hints struct {
	xids map[uint64]time.Time
	more time.Time // when further transactions, not known by number, were reported
}

func (h *hints) isEmpty() bool { return len(h.xids) == 0 && h.more.IsZero() }

// hintsKept bounds the transactions that are remembered one by one.
const hintsKept = 10_000

func (h *hints) add(xids []uint64, at time.Time) {
	for _, xid := range xids {
		if h.xids == nil {
			h.xids = map[uint64]time.Time{}
		}
		if _, isThere := h.xids[xid]; !isThere {
			h.xids[xid] = at
		}
	}
	if len(h.xids) > hintsKept {
		h.more, h.xids = h.oldest(), nil
	}
}

func (h *hints) oldest() time.Time {
	oldest := h.more
	for _, at := range h.xids {
		oldest = earliest(oldest, at)
	}
	return oldest
}

// trouble is a lasting failure: its error, and when it last worked.
type trouble struct {
	worked time.Time
	err    error
}

func (t *trouble) result(began time.Time, err error) {
	if t.err = err; err == nil {
		t.worked = began
	}
}

// since returns when it last worked, the zero time when nothing is wrong.
func (t *trouble) since() time.Time {
	if t.err == nil {
		return time.Time{}
	}
	return t.worked
}

// NewProgress returns a Progress with nothing to do.
func NewProgress(listener *db.Listener) *Progress {
	now := time.Now()
	return &Progress{listener: listener, announcer: trouble{worked: now}, feed: trouble{worked: now}}
}

// hear takes the hints that the listener received.
func (p *Progress) hear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	heard := p.listener.TakeHints()
	if heard.Since.IsZero() {
		return
	}
	if heard.IsMore {
		p.waiting.more = earliest(p.waiting.more, heard.Since)
	}
	p.waiting.add(heard.XIDs, heard.Since)
}

// suspect records that there may be changes without a notification.
func (p *Progress) suspect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.more = earliest(p.waiting.more, time.Now())
}

// hasWork reports whether a hint is not covered by an announcement.
func (p *Progress) hasWork() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.waiting.isEmpty() || !p.asked.isEmpty()
}

// ask records that an announcement is about to begin.
func (p *Progress) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked.more = earliest(p.asked.more, p.waiting.more)
	for xid, at := range p.waiting.xids {
		p.asked.add([]uint64{xid}, at)
	}
	p.waiting = hints{}
}

// covered records that the announcement asked for is complete.
func (p *Progress) covered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = hints{}
}

// sees records that everything visible in this snapshot is announced.
func (p *Progress) sees(s db.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range []*hints{&p.waiting, &p.asked} {
		for xid := range h.xids {
			if s.Sees(xid) {
				delete(h.xids, xid)
			}
		}
	}
}

// unread records that the log has rows which this gateway has not read.
func (p *Progress) unread(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announced = earliest(p.announced, since)
}

// handOut records that rows were read and are being delivered; isMore: there are more to read.
func (p *Progress) handOut(isMore bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delivering = p.announced
	if p.delivering.IsZero() {
		p.delivering = time.Now()
	}
	if !isMore {
		p.announced = time.Time{}
	}
}

// delivered records that everything handed out is delivered.
func (p *Progress) delivered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delivering = time.Time{}
}

// upToDate records that a read found nothing.
func (p *Progress) upToDate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announced = time.Time{}
}

func (p *Progress) announceResult(began time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announcer.result(began, err)
}

func (p *Progress) feedResult(began time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feed.result(began, err)
}

// Lag is the age of the oldest change that may not be delivered: 0 while LISTEN is up, announcing and reading work and nothing waits.
func (p *Progress) Lag() time.Duration { return p.lag(time.Now()) }

func (p *Progress) lag(now time.Time) time.Duration {
	down := p.listener.Down()
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := down
	for _, t := range []time.Time{p.waiting.oldest(), p.asked.oldest(), p.announced, p.delivering, p.announcer.since(), p.feed.since()} {
		oldest = earliest(oldest, t)
	}
	if oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(oldest))
}

// Err returns why clients would receive nothing now: the database is not what this version needs, or a change has waited longer than
// limit.
func (p *Progress) Err(limit time.Duration) error {
	lag := p.Lag()
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := errors.Join(p.announcer.err, p.feed.err)
	switch {
	case errors.Is(reason, event.ErrUnusable):
		return reason
	case lag <= limit:
		return nil
	case reason != nil:
		return fmt.Errorf("nothing is delivered for %s: %w", lag.Round(time.Second), reason)
	}
	return fmt.Errorf("a change of %s ago is not delivered", lag.Round(time.Second))
}

// earliest returns the earlier of two times, ignoring zero ones.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
