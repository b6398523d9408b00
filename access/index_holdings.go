package access

import (
	"math"
	"slices"

	"terasocket/proto/event"
)

// State tells as of when an event is judged: who may see the object now, or who could see it then. It is a seq of the log,
// or one of these. All are equal after each Settled event.
type State uint64

// The states.
const (
	Former  State = 0              // as of the last Settled event
	Present State = math.MaxUint64 // as of now
)

// holdings are the tags of one principal, now and as of every seq since the last Settled event.
type holdings struct {
	tags    map[string]holding // held now, or changed since the last Settled event
	changes []change
}

// holding describes a tag.
type holding uint8

const (
	isHeld holding = 1 << iota
	isChanged
)

// change is a Rights event since the last Settled one.
type change struct {
	seq          uint64
	lost, gained []string
}

func newHoldings(tags []string) holdings {
	h := holdings{tags: make(map[string]holding, len(tags))}
	for _, tag := range tags {
		h.tags[tag] = isHeld
	}
	return h
}

// has reports whether the tag was held in that state: the first change after it tells.
func (h *holdings) has(tag string, in State) bool {
	now := h.tags[tag]
	if in != Present && now&isChanged != 0 {
		for _, c := range h.changes {
			switch {
			case State(c.seq) <= in:
			case slices.Contains(c.lost, tag):
				return true
			case slices.Contains(c.gained, tag):
				return false
			}
		}
	}
	return now&isHeld != 0
}

// change applies a Rights event. isKnown: the present tags already reflect it.
func (h *holdings) change(e *event.Event, isKnown bool) {
	h.changes = append(h.changes, change{e.Seq, e.Lost, e.Gained})
	for _, tag := range slices.Concat(e.Lost, e.Gained) {
		h.tags[tag] |= isChanged
	}
	if isKnown {
		return
	}
	for _, tag := range e.Lost {
		h.tags[tag] &^= isHeld
	}
	for _, tag := range e.Gained {
		h.tags[tag] |= isHeld
	}
}

// settle makes every state equal Present.
func (h *holdings) settle() {
	if len(h.changes) == 0 {
		return
	}
	for tag, now := range h.tags {
		if now&isHeld == 0 {
			delete(h.tags, tag)
		} else {
			h.tags[tag] = isHeld
		}
	}
	h.changes = nil
}
