package interleave

import (
	"fmt"
	"strings"
	"testing"
)

// stage builds states of participant 1 for viewer 7 from words: "A" a visible body, "a" the same body, not visible, "+A"
// deleted, "-" no row, "A'" written by a link with other keys.
func stage(words ...string) (states []*state) {
	var before *row
	for i, w := range words {
		s := &state{after: fmt.Sprint(i), rows: map[object]*row{}, rights: map[int]string{}, mayBe: map[int]bool{7: true}, super: map[int]bool{}}
		if w != "-" {
			name, isLinked := strings.CutSuffix(strings.TrimPrefix(w, "+"), "'")
			r := &row{body: body{columns: strings.ToUpper(name), isDead: w[0] == '+'}, minimal: "1", version: w}
			if before != nil && before.body.columns == r.body.columns && before.body.isDead == r.body.isDead {
				r.version, r.links, r.linked, r.keys = before.version, before.links, before.linked, before.keys // not written
			}
			if isLinked {
				r.links, r.linked, r.keys = fmt.Sprint("l", i), fmt.Sprint("t", i), fmt.Sprint("k", i)
			}
			if !r.body.isDead && name == strings.ToUpper(name) {
				r.viewers = []int{7}
			}
			s.rows[object{"participant", 1}] = r
		}
		before = s.rows[object{"participant", 1}]
		states = append(states, s)
	}
	return append(states, states[len(states)-1])
}

// hearing builds received events: "CA" a DB_CREATE of A, "U+A" a DB_UPDATE with deleted_at, "D".
func hearing(words ...string) (all []heard) {
	for _, w := range words {
		h := heard{kind: kind(w[0]), object: object{"participant", 1}, text: `{"id_participant": 1}`}
		name, isDead := strings.CutPrefix(w[1:], "+")
		h.body = body{columns: name, isDead: isDead}
		all = append(all, h)
	}
	return all
}

// judged is what was committed and received, in the words of stage and hearing, and the kind of the first problem; "" for none.
type judged struct{ committed, heard, want string }

func (c judged) states() []*state  { return stage(strings.Fields(c.committed)...) }
func (c judged) received() []heard { return hearing(strings.Fields(c.heard)...) }

func (c judged) check(t *testing.T, problems []problem) {
	t.Helper()
	got := ""
	if len(problems) > 0 {
		got = problems[0].kind
	}
	if got != c.want {
		t.Errorf("committed %s, received %q: %q, want %q", c.committed, c.heard, got, c.want)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []judged{
		// a change
		{"A B", "UB", ""},
		{"A B", "UB UB", ""},
		{"A B", "", lost},
		{"A B", "CB", wrongKind},
		{"A B", "UX", uncommitted},
		{"A B", "UB UA", stale},
		{"A B C", "UC", ""}, // two in one announcement
		{"A B C", "UB UC", ""},
		{"A B C", "UB", stale},
		{"A B C", "UC UB UC", swapped},
		{"A B A", "", ""},
		{"A B A", "UB", stale},
		{"A B A", "UA", ""},
		{"A", "UA", ""},
		{"A", "D", strayDelete},
		// not visible
		{"a b", "", ""},
		{"a b", "UB", leak},
		{"a b", "D", strayDelete},
		{"A b", "UB", leak},
		// becomes visible or invisible by itself or a link
		{"a B", "CB", ""},
		{"a B", "UB", wrongKind},
		{"a B", "", lost},
		{"a A'", "CA", ""},
		{"a A'", "UA", wrongKind},
		{"a A'", "", lost},
		{"A b", "D", ""},
		{"A b", "", lostDelete},
		{"A a'", "D", ""},
		{"A a'", "", lostDelete},
		{"A a' A'", "D CA", ""},
		{"A a' A'", "", ""}, // in one announcement
		{"A a' A'", "D", strayDelete},
		{"A a' B", "UB", ""},
		{"A a' B", "D UB", wrongKind},
		// by roles alone: silence, until the next event
		{"a A", "", ""},
		{"A a", "", ""},
		{"A a", "D", swapped},
		{"a A B", "UB", ""},
		{"a A B", "CB", ""},
		{"a A B", "", lost},
		{"A a b", "", ""},
		{"A a b", "D", ""},
		{"A a' A", "D", ""}, // told again with its next event
		// created and deleted
		{"- A", "CA", ""},
		{"- A", "", lost},
		{"- A -", "", ""},
		{"- A -", "CA D", ""},
		{"- A -", "CA", lostDelete},
		{"- a", "", ""},
		{"A -", "D", ""},
		{"A -", "", lostDelete},
		{"A +A", "U+A", ""},
		{"A +A", "D", ""},
		{"A +A", "", lostDelete},
		{"A B +B", "D", ""},
		{"A B +B", "UB U+B", ""},
		{"A B +B", "U+B", ""}, // B was visible
		{"A +B", "U+B", leak},
		{"A +B", "D", ""},
		{"+A A", "CA", ""},
		{"+A A", "UA", wrongKind},
		{"A +A A", "U+A CA", ""},
		{"A +A A", "U+A", strayDelete},
		{"a +A", "U+A", leak},
	} {
		c.check(t, judge("user 7 live", 7, 0, c.states(), c.received(), false, false))
	}
}

// If announcements come in parts, an object that is out of sight by roles alone may be told of.
func TestJudgeOfParts(t *testing.T) {
	t.Parallel()
	for _, c := range []judged{
		{"A a", "D", ""},
		{"A a", "", ""},
		{"a A a", "D", ""}, // the middle may have been announced silently
		{"a", "D", strayDelete},
		{"A", "D", strayDelete},
		{"a b", "D", strayDelete},
		{"A b", "", lostDelete},
		{"a B", "UB", wrongKind},
	} {
		states := c.states()
		states[0].inParts = true
		c.check(t, judge("user 7 live", 7, 0, states, c.received(), false, false))
	}
}

// A client that joins in the middle receives what follows.
func TestJudgeOfAClientThatJoined(t *testing.T) {
	t.Parallel()
	for _, c := range []judged{
		{"A B C", "UC", ""},
		{"A B C", "UB UC", ""},
		{"A B C", "", lost},
		{"A B C", "UB", stale},
		{"A b C", "CC", ""},
		{"A b B", "D", ""}, // he may have joined at A, and sees B by a role
		{"a b", "UB", leak},
	} {
		c.check(t, judge("user 7 joined", 7, 1, c.states(), c.received(), false, false))
	}
}

// A client whose socket ended during the round may miss the end, but receives nothing wrong.
func TestJudgeOfASocketThatWasEnded(t *testing.T) {
	t.Parallel()
	for _, c := range []judged{
		{"A B C", "UB", ""},
		{"A B C", "", ""},
		{"A b", "UB", leak},
		{"A B C", "UC UB", swapped},
	} {
		c.check(t, judge("user 7 live", 7, 0, c.states(), c.received(), true, false))
	}
}

// A client that resumes receives bodies only if allowed by its rights both then and now.
func TestJudgeOfAClientThatResumed(t *testing.T) {
	t.Parallel()
	for _, c := range []judged{
		{"A B b", "", ""}, // B is withheld: it is no longer visible
		{"A B b", "UB", ""},
		{"A B B", "", lost},
		{"A B b", "UX", uncommitted},
		{"A b", "", lostDelete},
		{"A A a", "D", ""}, // A was sent again, before he lost it by a role
		{"A A A", "D", strayDelete},
	} {
		states := c.states()
		for i, s := range states[:len(states)-1] {
			s.rights[7] = fmt.Sprint(i) // changed with every commit
		}
		c.check(t, judge("user 7 resumed", 7, 0, states, c.received(), false, true))
	}
}
