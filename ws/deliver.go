package ws

import (
	"terasocket/access"
	"terasocket/proto/event"
)

// Deliver hands an event to every socket of recipients, save those of except, each socket once at most, and returns
// how many took it. Its cost follows the two lists, not the sockets connected; nothing is allocated per recipient.
//
// An event that cannot be encoded closes the sockets of that encoding that should have had it with CloseInternal:
// they come back and resume, rather than miss it unknowingly.
func (h *Hub) Deliver(f *Frames, recipients, except []access.Principal) int {
	h.delivering.Lock()
	defer h.delivering.Unlock()
	h.find(recipients, except)
	defer clear(h.targets)

	var delivered [len(access.Kinds) + 1][encodings]int
	n := 0
	for _, c := range h.targets {
		frame, err := f.in(c.Encoding)
		if err != nil {
			c.Close(CloseInternal)
			continue
		}
		if c.send(frame, f.size[c.Encoding], f.event) {
			delivered[c.Identity.Kind][c.Encoding]++
			n++
		}
	}
	for kind, counts := range delivered {
		for e, count := range counts {
			if count > 0 {
				h.metrics.delivered[kind][e].Add(float64(count))
			}
		}
	}
	h.reportEncoding(f)
	return n
}

// find puts the sockets to deliver to into targets. Each one met is stamped, so that it is met once.
func (h *Hub) find(recipients, except []access.Principal) {
	h.targets = h.targets[:0]
	h.mu.RLock()
	defer h.mu.RUnlock()
	h.stamp++
	met := 0
	for _, p := range except {
		for _, c := range h.sockets[p] {
			if c.stamp != h.stamp {
				c.stamp = h.stamp
				met++
			}
		}
	}
	for _, p := range recipients {
		if met == h.total {
			return
		}
		for _, c := range h.sockets[p] {
			if c.stamp != h.stamp {
				c.stamp = h.stamp
				met++
				h.targets = append(h.targets, c)
			}
		}
	}
}

func (h *Hub) reportEncoding(f *Frames) {
	for e, err := range f.err {
		if err != nil {
			h.metrics.encodeErrors.WithLabelValues(encodingName(event.Encoding(e))).Inc()
			h.log.Error("event not encoded, its recipients are closed to resume", "event", f.event.Seq, "err", err)
		}
	}
}
