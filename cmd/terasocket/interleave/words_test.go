package interleave

// The model of what a viewer must receive about one object. The cluster announces at some of the committed states, unknown
// which, but always at the last. Between two announced states, a viewer that sees the object in both receives U with the
// present body; one that sees it only in the second, C; only in the first, D, or U with deleted_at after a soft delete. An
// event is required if the object's own row or a row of its own link tables changed what the viewer sees, or whether it does;
// changes of people, of roles or of what makes it visible require none. Only if announcements come in parts may these have one, too: D.
//
// The received events are right if some choice of announced states explains them.

// said is one event that may be received.
type said struct {
	kind    kind
	columns string
	isDead  bool
}

// history is an object over the states of a round, from one viewer's point of view.
type history struct {
	rows   []*row // nil: no such row
	viewer int
	begin  int // it was connected at this state or an earlier one

	// suppressible reports, for a client that resumes, whether the body of this state may be withheld because the client may no
	// longer see it; nil: never.
	suppressible func(at int) bool
	// isAnyKind accepts C for U and U for C.
	isAnyKind bool
	inParts   bool // see state
	// isCut: the socket ended during the round, so the end may be missing.
	isCut bool
}

func (h *history) sees(at int) bool { return h.rows[at].isSeenBy(h.viewer) }

func (h *history) columns(at int) string {
	if !h.rows[at].isAlive() {
		return ""
	}
	return h.rows[at].body.columns
}

// isTouched reports whether an announcement at `to`, after one at `from`, must have an event for the object.
func (h *history) isTouched(from, to int) bool {
	a, b := h.rows[from], h.rows[to]
	if h.columns(from) != h.columns(to) {
		return true
	}
	return a != nil && b != nil && a.linked != b.linked && a.keys != b.keys
}

// isWritten reports whether it may have one: a row was written, even if nothing differs in the end.
func (h *history) isWritten(from, to int) bool {
	for at := from; at < to; at++ {
		a, b := h.rows[at], h.rows[at+1]
		if (a == nil) != (b == nil) || a != nil && (a.version != b.version || a.links != b.links) {
			return true
		}
	}
	return false
}

// words returns the alternatives of what is sent between two announced states, each in order, and whether silence is right as
// well.
func (h *history) words(from, to int) (alternatives [][]said, isOptional bool) {
	saw, sees := h.sees(from), h.sees(to)
	touched := h.isTouched(from, to)
	switch {
	case saw && sees:
		now := said{updated, h.columns(to), false}
		isOptional = h.columns(from) == h.columns(to) || h.suppressible != nil && h.suppressible(to)
		if h.rows[from].minimal != h.rows[to].minimal {
			alternatives = append(alternatives, []said{{kind: deleted}, {created, now.columns, false}})
			if h.suppressible != nil && h.suppressible(to) {
				alternatives = append(alternatives, []said{{kind: deleted}})
			}
		}
		return append(alternatives, []said{now}), isOptional
	case sees:
		return [][]said{{{created, h.columns(to), false}}}, !touched || h.suppressible != nil && h.suppressible(to)
	case saw:
		if !h.isWritten(from, to) && !h.inParts {
			return nil, true
		}
		alternatives = append(alternatives, []said{{kind: deleted}})
		if r := h.rows[to]; r != nil && r.body.isDead {
			for at := from; at < to; at++ {
				if h.sees(at) && h.columns(at) == r.body.columns {
					alternatives = append(alternatives, []said{{updated, r.body.columns, true}})
					break
				}
			}
		}
		return alternatives, !touched
	}
	return nil, true
}

// matches reports whether a received event is said.
func (h *history) matches(is heard, s said) bool {
	isSameKind := is.kind == s.kind || h.isAnyKind && is.kind != deleted && s.kind != deleted
	return isSameKind && (s.kind == deleted || is.body.columns == s.columns && is.body.isDead == s.isDead)
}

// explains reports whether a choice of announced states explains what was received.
func (h *history) explains(all []heard) bool {
	last := len(h.rows) - 1
	reached := make([][]bool, last+1) // by state and number of events received
	for i := range reached {
		reached[i] = make([]bool, len(all)+1)
	}
	for at := range h.begin + 1 {
		reached[at][0] = true
	}
	for to := range reached {
		for from := range to {
			alternatives, isOptional := h.words(from, to)
			for n, is := range reached[from] {
				if is && isOptional {
					reached[to][n] = true
				}
				for _, words := range alternatives {
					if is && h.areSaid(all[n:], words) {
						reached[to][n+len(words)] = true
					}
				}
			}
		}
		for n := range all { // repeated, which does no harm
			if reached[to][n] && h.isKnown(all, n, to) {
				reached[to][n+1] = true
			}
		}
	}
	if h.isCut {
		for _, states := range reached {
			if states[len(all)] {
				return true
			}
		}
	}
	return reached[last][len(all)]
}

func (h *history) areSaid(all []heard, words []said) bool {
	if len(all) < len(words) {
		return false
	}
	for i, w := range words {
		if !h.matches(all[i], w) {
			return false
		}
	}
	return true
}

// isKnown reports whether the n-th event is no news at this state: U with the visible body, or D in its place where that body
// may be withheld, or a repeated delete.
func (h *history) isKnown(all []heard, n, at int) bool {
	if h.sees(at) {
		return h.matches(all[n], said{updated, h.columns(at), false}) || all[n].isDelete() && h.suppressible != nil && h.suppressible(at)
	}
	return n > 0 && all[n].isDelete() && all[n-1].isDelete()
}
