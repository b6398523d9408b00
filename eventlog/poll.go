package eventlog

import (
	"math/rand/v2"
	"time"
)

// polled is the result of terasocket.poll(), which comes with each announcement. Its times are by PostgreSQL's clock.
type polled struct {
	isMine       bool          // this gateway polls
	left         time.Duration // how much longer somebody polls, and no writer notifies
	was          bool          // somebody polled when this announcement began
	recorded     uint64        // changes, ever
	oldest, next uint64        // every transaction below oldest has ended; none from next on had an id, if that was asked
}

// polling decides when to announce without a hint: every few milliseconds while changes come so fast that notifications only make writers
// wait for each other; and afterwards for as long as a transaction may be running that saw no need to notify.
//
// While another gateway polls, this one announces when the other's time is over, since it may have died.
type polling struct {
	number int // of this gateway: 0 to 999
	isBusy bool
	isOn   bool      // this gateway polls
	due    time.Time // time of the next announcement; zero: only on a hint

	isLate  bool          // somebody has polled: transactions below horizon may have changes without a notification
	horizon uint64        // 0: not known yet
	pause   time.Duration // between two announcements for these

	last         uint64        // polled.recorded of the last announcement
	since        time.Time     // when isBusy was last judged; the fields below count from then on
	recorded     uint64        // polled.recorded at that time
	idle         time.Duration // time during which nothing was to be announced
	looks, found int           // announcements, and those that found something
}

const (
	pollEvery  = 5 * time.Millisecond
	latePause  = 200 * time.Millisecond // longest pause between two announcements for late commits
	judgeEvery = 500 * time.Millisecond

	leastRate  = 20 // changes a second, with changes waiting four fifths of the time: poll
	leastFound = 4  // fewer than one announcement in so many found something: notify
)

// newPolling assumes that somebody may have polled a moment ago.
func newPolling() polling { return polling{number: rand.N(1000), isLate: true} }

// isDue reports whether to announce now, hint or not.
func (p *polling) isDue(now time.Time) bool { return !p.due.IsZero() && !now.Before(p.due) }

// wait returns how long to wait for a hint, at most longest.
func (p *polling) wait(now time.Time, longest time.Duration) time.Duration {
	if p.due.IsZero() {
		return longest
	}
	return max(0, min(longest, p.due.Sub(now)))
}

// end stops polling when this gateway cannot go on; as if it had died, others take over when its time is over.
func (p *polling) end(m *Metrics) {
	*p = polling{number: p.number, isLate: true}
	m.polling.Set(0)
}

// took updates the state from an announcement.
func (p *polling) took(now time.Time, a announcement, m *Metrics) {
	if p.isOn && a.isMine {
		m.skipped.Add(float64(a.recorded - min(a.recorded, p.last)))
	}
	p.last = a.recorded
	p.judge(now, a)
	p.isOn, p.due = a.isMine, time.Time{}
	m.polling.Set(0)
	switch {
	case p.isOn:
		p.due = now.Add(pollEvery)
		m.polling.Set(1)
	case a.left > 0:
		p.due = now.Add(a.left + pollEvery)
	}
	switch {
	case a.was || a.isMine:
		p.isLate, p.horizon, p.pause = true, 0, 0
	case p.isLate && p.horizon == 0:
		p.horizon = a.next
	}
	if p.horizon > 0 && a.oldest >= p.horizon {
		p.isLate, p.horizon = false, 0
	}
	if p.isLate && p.due.IsZero() {
		p.pause = min(max(pollEvery, 2*p.pause), latePause)
		p.due = now.Add(p.pause)
	}
}

// judge decides now and then whether changes come fast enough to poll.
func (p *polling) judge(now time.Time, a announcement) {
	if p.looks++; a.announced > 0 {
		p.found++
	}
	switch d := now.Sub(p.since); {
	case p.since.IsZero():
	case d < judgeEvery:
		return
	case p.isBusy:
		p.isBusy = leastFound*p.found >= p.looks
	case a.recorded > p.recorded:
		p.isBusy = float64(a.recorded-p.recorded) >= leastRate*d.Seconds() && 5*p.idle < d
	}
	p.since, p.idle, p.looks, p.found, p.recorded = now, 0, 0, 0, a.recorded
}
