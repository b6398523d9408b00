package access

// State is one of the two states in which an event is judged: who may see the object now, and who could see it before.
type State uint8

// The two states are equal after each Settled event.
const (
	Present State = 1 << iota
	Former

	changed State = 1 << iota // changed since the last Settled event; combined with the others
)

// holdings are the tags of one principal, with the states in which it holds each.
type holdings map[string]State

func newHoldings(tags []string) holdings {
	h := make(holdings, len(tags))
	for _, tag := range tags {
		h[tag] = Present | Former
	}
	return h
}

func (h holdings) has(tag string, in State) bool { return h[tag]&in != 0 }

// change records that a tag was gained or lost. Present changes; Former stays until all is settled.
func (h holdings) change(tag string, gained bool) {
	state := h[tag]&Former | changed
	if gained {
		state |= Present
	}
	h[tag] = state
}

// changedBefore records a change that Present already reflects: a principal that lost the tag still held it in Former. Of several changes
// the first one tells the former state.
func (h holdings) changedBefore(tag string, gained bool) {
	state := h[tag]
	if state&changed != 0 {
		return
	}
	state = state&Present | changed
	if !gained {
		state |= Former
	}
	h[tag] = state
}

// settle makes Former equal Present.
func (h holdings) settle() {
	for tag, state := range h {
		switch {
		case state&changed == 0:
		case state&Present != 0:
			h[tag] = Present | Former
		default:
			delete(h, tag)
		}
	}
}
