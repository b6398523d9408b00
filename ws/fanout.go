package ws

import (
	"runtime"
	"sync"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

const (
	fewTargets  = 64       // or fewer are delivered by one goroutine: waking another takes longer
	manyTargets = 1 << 16  // are delivered before more events are looked at
	joinedBytes = 16 << 10 // at most in one write: a TLS record
)

// target is a socket and the form of an event that it receives.
type target struct {
	conn   *Conn
	frames *Frames
	form   event.Form
	next   int // the next target of the same socket, counted from 1; 0: none
}

// fanOut holds what waits to be delivered, spread over GOMAXPROCS lanes. A socket belongs to one lane, so it receives the
// events in order.
type fanOut struct {
	lanes []lane
	n     int         // targets in all lanes
	last  *Frames     // that targets were last added for
	times []time.Time // when the events that have targets were recorded
}

// lane is the share of one goroutine. Its slices keep their capacity.
type lane struct {
	targets []target
	firsts  []int // the first target of each socket, counted from 1
	frames  []*frame
	joined  []byte
	counts  deliveries
	n       int
}

type deliveries [len(access.Kinds) + 1][encodings]int

func newFanOut() fanOut { return fanOut{lanes: make([]lane, runtime.GOMAXPROCS(0))} }

func (w *fanOut) add(t target) {
	if t.frames != w.last {
		w.last = t.frames
		w.times = append(w.times, t.frames.event.At)
	}
	w.lanes[t.conn.id%uint64(len(w.lanes))].add(t)
	w.n++
}

func (l *lane) add(t target) {
	l.targets = append(l.targets, t)
	place := len(l.targets)
	if last := t.conn.lastTarget; last == 0 {
		l.firsts = append(l.firsts, place)
	} else {
		l.targets[last-1].next = place
	}
	t.conn.lastTarget = place
}

func (w *fanOut) isFull() bool { return w.n >= manyTargets }

// sendWaiting delivers everything that waits and returns how many frames the sockets took.
func (h *Hub) sendWaiting() (n int) {
	w := &h.waiting
	if w.n < fewTargets {
		for i := range w.lanes {
			w.lanes[i].deliver(h)
		}
	} else {
		var others sync.WaitGroup
		for i := range w.lanes[1:] {
			others.Go(func() { w.lanes[1+i].deliver(h) })
		}
		w.lanes[0].deliver(h)
		others.Wait()
	}
	for i := range w.lanes {
		n += w.lanes[i].n
		w.lanes[i].counts.addTo(h.metrics)
	}
	for _, at := range w.times {
		h.metrics.commitToWrite.Observe(max(0, time.Since(at).Seconds()))
	}
	w.n, w.last, w.times = 0, nil, w.times[:0]
	return n
}

// deliver hands each socket of the lane all its frames at once.
func (l *lane) deliver(h *Hub) {
	l.n, l.counts = 0, deliveries{}
	for _, place := range l.firsts {
		c := l.targets[place-1].conn
		c.lastTarget = 0
		l.frames = l.frames[:0]
		for place != 0 {
			t := &l.targets[place-1]
			if frame := h.frameOf(t); frame != nil {
				l.frames = append(l.frames, frame)
			}
			place = t.next
		}
		n := c.send(l.frames, &l.joined)
		l.counts[c.Identity.Kind][c.Encoding] += n
		l.n += n
	}
	clear(l.targets)
	clear(l.frames)
	l.targets, l.firsts = l.targets[:0], l.firsts[:0]
}

// frameOf encodes what a target receives. If it cannot, it closes the socket, which then resumes, and returns nil.
func (h *Hub) frameOf(t *target) *frame {
	frame, err := t.frames.in(t.form, t.conn.Encoding)
	if err == nil {
		return frame
	}
	if t.conn.Close(CloseInternal) {
		h.metrics.encodeErrors.WithLabelValues(encodingName(t.conn.Encoding)).Inc()
		h.log.Error("event not encoded, a recipient is closed to resume", "conn", t.conn.id, "event", t.frames.event.Seq, "err", err)
	}
	return nil
}

func (d *deliveries) addTo(m *Metrics) {
	for kind, counts := range d {
		for e, n := range counts {
			if n > 0 {
				m.delivered[kind][e].Add(float64(n))
			}
		}
	}
}
