package interleave

import (
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
)

// The kinds of problems, in the order in which they are checked.
const (
	leak        = "leak"         // a body that the viewer could see in no committed state
	uncommitted = "uncommitted"  // a body that was never committed
	mixed       = "mixed"        // columns of a state with computed keys that never went with them
	strayDelete = "stray delete" // D for something never seen, or as the last word on something that is seen
	stale       = "stale"        // the last body received is not the latest
	lost        = "lost"         // visible at the end and changed, but nothing was received
	lostDelete  = "lost delete"  // visible before and not at the end, and the last word is a body
	swapped     = "swapped"      // correct events, in an order that was never the case
	wrongKind   = "wrong kind"   // C for U or U for C
	broken      = "broken"       // a broken socket
)

// problem is an event that a client received wrongly, or missed.
type problem struct {
	kind   string
	client string
	object object
	round  int
	text   string
	took   []string
}

// String describes it, with what was received and what was committed.
func (p problem) String() string {
	return fmt.Sprintf("%s: %s, %s: %s", p.kind, p.client, p.object, p.text)
}

// what returns "leak, live" or "leak, resumed".
func (p problem) what() string { return p.kind + ", " + p.client[strings.LastIndex(p.client, " ")+1:] }

// is reports whether it is of this kind: "leak", or "leak, live".
func (p problem) is(kind string) bool { return p.kind == kind || p.what() == kind }

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// isSilent reports the types whose keys can change without an event about the object.
func isSilent(objectType string) bool {
	return slices.Contains([]string{"user", "user_group", "session", "asset", "test", "test_type", "test_invitation", "session_type_service"}, objectType)
}

// judge compares what one client received with the states of the round; it was connected at the state `begin` at the latest.
func judge(name string, viewer, begin int, states []*state, all []heard, isCut, hasResumed bool) (problems []problem) {
	byObject := map[object][]heard{}
	for _, h := range all {
		byObject[h.object] = append(byObject[h.object], h)
	}
	for _, s := range states { // committed, but nothing received
		for o := range s.rows {
			if _, isThere := byObject[o]; !isThere {
				byObject[o] = nil
			}
		}
	}
	rightsChanged := func(after int) bool {
		for _, s := range states[after:] {
			if s.rights[viewer] != states[after].rights[viewer] {
				return true
			}
		}
		return false
	}
	for o, words := range byObject {
		h := &history{viewer: viewer, begin: begin, inParts: states[0].inParts, isCut: isCut}
		isSeenLater := make([]bool, len(states)+1) // in this and all later states
		for _, s := range states {
			h.rows = append(h.rows, s.rows[o])
		}
		isSeenLater[len(states)] = true
		for i := len(states) - 1; i >= 0; i-- {
			isSeenLater[i] = isSeenLater[i+1] && h.sees(i)
		}
		if hasResumed {
			h.suppressible = func(at int) bool { return !isSeenLater[at] || isSilent(o.objectType) && rightsChanged(at) }
		}
		if kind, why := h.judge(states, o, words, hasResumed); kind != "" {
			problems = append(problems, problem{kind: kind, client: name, object: o, text: why + h.tell(states, words)})
		}
	}
	slices.SortFunc(problems, func(a, b problem) int { return strings.Compare(a.object.String(), b.object.String()) })
	return problems
}

// judge returns the kind of the problem, "" for none.
func (h *history) judge(states []*state, o object, words []heard, hasResumed bool) (kind, why string) {
	for _, w := range words {
		if kind, why := h.judgeOne(states, o, w); kind != "" {
			return kind, why
		}
	}
	h.isAnyKind = true
	if h.explains(words) {
		h.isAnyKind = hasResumed && h.suppressible != nil && slices.ContainsFunc(slices.Collect(indexes(h.rows)), h.suppressible)
		if !h.explains(words) {
			return wrongKind, "a C to who had been told of it, or a U of something unknown"
		}
		return "", ""
	}
	last := len(h.rows) - 1
	switch {
	case h.isCut:
		return swapped, "heard in an order that was never the case"
	case h.sees(last) && len(words) == 0:
		return lost, "it has changed, and nothing was heard"
	case h.sees(last) && words[len(words)-1].isDelete():
		return strayDelete, "the last word is a delete"
	case h.sees(last) && words[len(words)-1].body.columns != h.columns(last):
		return stale, "the last word is an old body"
	case !h.sees(last) && (len(words) == 0 || !words[len(words)-1].isDelete()):
		return lostDelete, "it is gone, and the last word is not a delete"
	}
	return swapped, "heard in an order that was never the case"
}

func indexes[T any](all []T) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range all {
			if !yield(i) {
				return
			}
		}
	}
}

// judgeOne checks one received event by itself.
func (h *history) judgeOne(states []*state, o object, w heard) (kind, why string) {
	hasSeen, isCommitted, isWhole, isSuper := false, false, false, false
	for i, r := range h.rows {
		isSuper = isSuper || states[i].super[h.viewer]
		if r != nil && r.body.columns == w.body.columns && r.body.isDead == w.body.isDead {
			isCommitted = true
		}
		if h.sees(i) && (w.kind == deleted || r.body.columns == w.body.columns) {
			hasSeen = true
			isWhole = isWhole || agrees(w.body.rest, r.computed)
		}
	}
	switch {
	case w.kind == deleted && !hasSeen:
		return strayDelete, "a delete of what was never seen"
	case w.kind == deleted:
		var value map[string]any
		_ = json.Unmarshal([]byte(w.text), &value) // it was parsed before
		for k := range value {
			if !slices.Contains(goneKeys[o.objectType], k) {
				return leak, "a delete with the key " + k
			}
		}
		return "", ""
	case !isCommitted:
		return uncommitted, "a body that was never committed: " + w.text
	case !hasSeen:
		return leak, "a body that was never to be seen by him: " + w.text
	case o.objectType == "service" && !isSuper && strings.Contains(w.text, "project_name"):
		return leak, "projects that use a service: " + w.text
	case !isWhole && !w.body.isDead:
		return mixed, "computed keys that never stood beside these columns: " + w.text
	}
	return "", ""
}

// agrees reports whether what a body has beyond its columns matches a state. OpenTera omits some of it in a DB_CREATE.
func agrees(rest, computed map[string]any) bool {
	for k, v := range rest {
		if c, ok := computed[k]; ok && !reflect.DeepEqual(c, v) {
			return false
		}
		if _, ok := computed[k]; !ok && strings.HasPrefix(k, "session_creator_") && !strings.HasSuffix(k, "_uuid") {
			return false
		}
	}
	return true
}

// tell prints what was committed and what was received.
func (h *history) tell(states []*state, words []heard) string {
	var b strings.Builder
	for i, s := range states[:len(states)-1] {
		r, what := h.rows[i], "there is none"
		if r != nil {
			what = r.body.columns
			if r.body.isDead {
				what = "deleted " + what
			}
			if !h.sees(i) {
				what = "(not seen) " + what
			}
		}
		if i > 0 && h.rows[i-1] != nil && r != nil && h.rows[i-1].version == r.version && h.rows[i-1].links == r.links && h.sees(i) == h.sees(i-1) {
			what = "same"
		}
		fmt.Fprintf(&b, "\n    committed %d, %s: %s", i, s.after, what)
	}
	for _, w := range words {
		fmt.Fprintf(&b, "\n    heard #%d %c %s", w.seq, w.kind, w.text)
	}
	if len(words) == 0 {
		b.WriteString("\n    heard nothing")
	}
	return b.String()
}
