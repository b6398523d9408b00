package access_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"terasocket/access"
	"terasocket/proto/event"
)

// naive is a reference model of Index, computed from the list of events alone.
type naive struct {
	present map[access.Principal]map[string]bool
	aliases map[string]string
}

func (n *naive) apply(e *event.Event) {
	switch e.Kind {
	case event.Rights:
		kind, _ := access.ParseKind(e.ObjectType)
		p := access.Principal{Kind: kind, ID: int32(e.ObjectID)}
		if n.present[p] == nil {
			n.present[p] = map[string]bool{}
		}
		for _, tag := range e.Lost {
			delete(n.present[p], tag)
		}
		for _, tag := range e.Gained {
			n.present[p][tag] = true
		}
	case event.Alias:
		if n.aliases[e.Tag] = e.Keys; e.Keys == "" {
			delete(n.aliases, e.Tag)
		}
	}
}

// in is what counts for a state when the log is at a seq: that of then, or that of the last Settled event, whichever is later.
func in(s access.State, log []event.Event, states []*naive, at int) *naive {
	for q := at; ; q-- {
		if q == 0 || access.State(q) <= s || log[q].Kind == event.Settled {
			return states[q]
		}
	}
}

func satisfies(tags map[string]bool, aliases map[string]string, text string, depth int) bool {
	var keys [][]string
	if json.Unmarshal([]byte(text), &keys) != nil || len(keys) == 0 || depth > 3 {
		return false
	}
	for _, clause := range keys {
		holds := false
		for _, tag := range clause {
			alias, isAlias := aliases[tag]
			holds = holds || tags[tag] || isAlias && satisfies(tags, aliases, alias, depth+1)
		}
		if !holds {
			return false
		}
	}
	return true
}

func (n *naive) audience(keys string) (found []access.Principal) {
	for p, tags := range n.present {
		if satisfies(tags, n.aliases, keys, 0) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, access.Principal.Compare)
	return found
}

// dice generates random logs over few names, so that they collide.
type dice struct{ *rand.Rand }

var diceTags = []string{"x", "u:1", "p:1", "p:2", "s:1", "t:1"}
var diceAliases = []string{"service:1", "service:2", "session_type:1", "test_type:1"}

func (d dice) principal() access.Principal {
	return access.Principal{Kind: access.Kinds[d.IntN(3)], ID: int32(d.IntN(3) + 1)}
}

// keys uses tags and later aliases only, so that none is cyclic.
func (d dice) keys(after int) string {
	var keys [][]string
	for range d.IntN(3) + 1 {
		var clause []string
		for range d.IntN(3) + 1 {
			if n := len(diceAliases) - after; n > 0 && d.IntN(3) == 0 {
				clause = append(clause, diceAliases[after+d.IntN(n)])
			} else {
				clause = append(clause, diceTags[d.IntN(len(diceTags))])
			}
		}
		keys = append(keys, clause)
	}
	text, _ := json.Marshal(keys)
	switch d.IntN(20) {
	case 0:
		return string(text[1:])
	case 1:
		return `[[]]`
	case 2:
		return `[]`
	}
	return string(text)
}

// event makes an effective change: a log never reports a gain of what is already held.
func (d dice) event(seq uint64, n *naive) event.Event {
	e := event.Event{Seq: seq}
	switch d.IntN(8) {
	case 0:
		e.Kind = event.Settled
	case 1:
		i := d.IntN(len(diceAliases))
		e.Kind, e.Tag = event.Alias, diceAliases[i]
		e.Was = n.aliases[e.Tag]
		if d.IntN(4) > 0 {
			e.Keys = d.keys(i + 1)
		}
	default:
		p := d.principal()
		e.Kind, e.ObjectType, e.ObjectID = event.Rights, p.Kind.String(), int64(p.ID)
		for _, tag := range diceTags {
			switch {
			case d.IntN(3) > 0:
			case n.present[p][tag]:
				e.Lost = append(e.Lost, tag)
			default:
				e.Gained = append(e.Gained, tag)
			}
		}
	}
	return e
}

func tagsOf(tags map[string]bool) (held []string) {
	for tag := range tags {
		held = append(held, tag)
	}
	return held
}

// An index in which principals come and go, some with views of positions that it has not reached, agrees with the naive evaluation. So
// does the view of a principal in the past.
func TestIndexAgainstANaiveEvaluation(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		log := make([]event.Event, 1, 61)
		states := []*naive{{map[access.Principal]map[string]bool{}, map[string]string{}}}
		for seq := uint64(1); seq < 60; seq++ {
			log = append(log, d.event(seq, states[seq-1]))
			next := copyOf(states[seq-1])
			next.apply(&log[seq])
			states = append(states, next)
		}
		x := access.NewIndex(nil)
		from := map[access.Principal]uint64{}
		for at := 1; at < len(log); at++ {
			x.Apply(&log[at])
			p := d.principal()
			switch d.IntN(3) {
			case 0:
				x.Remove(p)
				delete(from, p)
			case 1:
				ahead := min(at+d.IntN(4), len(log)-1)
				x.Add(access.NewView(p, tagsOf(states[ahead].present[p]), uint64(ahead), x.Moment()))
				from[p] = uint64(ahead)
			}
			keys := d.keys(0)
			for _, s := range []access.State{access.Present, access.Former, access.State(d.IntN(at + 1))} {
				want := slices.DeleteFunc(in(s, log, states, at).audience(keys), func(p access.Principal) bool {
					since, isThere := from[p]
					return !isThere || since > uint64(at) // it receives nothing up to there
				})
				got := slices.DeleteFunc(slices.Clone(x.Audience(keys, s)), func(p access.Principal) bool { return from[p] > uint64(at) })
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d, event %d, state %d: audience of %s %v, want %v", seed, at, s, keys, got, want)
				}
			}
			checkPast(t, d, seed, log, states, at)
		}
	}
}

func copyOf(n *naive) *naive {
	c := &naive{map[access.Principal]map[string]bool{}, map[string]string{}}
	for p, tags := range n.present {
		c.present[p] = map[string]bool{}
		for tag := range tags {
			c.present[p][tag] = true
		}
	}
	for tag, keys := range n.aliases {
		c.aliases[tag] = keys
	}
	return c
}

func checkPast(t *testing.T, d dice, seed uint64, log []event.Event, states []*naive, at int) {
	t.Helper()
	seq, since := d.IntN(at+1), 0
	since = d.IntN(seq + 1)
	settled := since
	for settled > 0 && log[settled].Kind != event.Settled {
		settled--
	}
	x := access.NewIndex(nil)
	for i := 1; i <= at; i++ {
		x.Apply(&log[i])
	}
	p := d.principal()
	v := access.NewPastView(p, tagsOf(states[seq].present[p]), uint64(seq), x.Moment(), log[settled+1:at+1], uint64(since))
	for i := since; i <= seq; i++ {
		if i > since {
			v.Apply(&log[i])
		}
		keys := d.keys(0)
		parsed := access.ParseRoutingKeys(keys)
		for _, s := range []access.State{access.Present, access.Former, access.State(d.IntN(i + 1))} {
			n := in(s, log, states, i)
			if got, want := v.Satisfies(parsed, s), satisfies(n.present[p], n.aliases, keys, 0); got != want {
				t.Fatalf("seed %d: at %d of %d to %d, %v sees %s in state %d: %t, want %t", seed, i, since, seq, p, keys, s, got, want)
			}
		}
	}
}

func TestMalformedKeysHaveNoAudience(t *testing.T) {
	t.Parallel()
	p := access.Principal{Kind: access.User, ID: 1}
	x := access.NewIndex(map[string]string{"service:1": `{`, "service:2": `[]`})
	x.Add(access.NewView(p, []string{"u:1", "x"}, 1, x.Moment()))
	for _, keys := range []string{"", "null", "[]", "[[]]", "[null]", "[[null]]", `[["u:1"], []]`, `[["u:1"]`, `["u:1"]`, `{"user": 1}`, `[["u:1"]] x`,
		`[[1]]`, `[["service:1"]]`, `[["service:2"]]`, `[["service:3"]]`, `[[""]]`} {
		if got := x.Audience(keys, access.Present); len(got) != 0 {
			t.Errorf("%s is held by %v", keys, got)
		}
	}
	if got := x.Audience(`[["u:1"]]`, access.Present); len(got) != 1 || got[0] != p {
		t.Errorf("held by %v", got)
	}
}

// The cache is bounded, and removed principals leave nothing behind.
func TestAnIndexIsBounded(t *testing.T) {
	t.Parallel()
	x := access.NewIndex(nil)
	for id := range int32(100) {
		p := access.Principal{Kind: access.User, ID: id}
		x.Add(access.NewView(p, []string{p.Tag(), "p:1"}, 1, x.Moment()))
	}
	for i := range 10_000 {
		x.Audience(fmt.Sprintf(`[["p:1"], ["u:%d", "p:1"]]`, i), access.Present)
	}
	x.Apply(&event.Event{Seq: 2, Kind: event.Rights, ObjectType: "user", ObjectID: 3, Gained: []string{"p:2"}, Lost: []string{"p:1"}})
	x.Apply(&event.Event{Seq: 3, Kind: event.Rights, ObjectType: "user", ObjectID: 3 + 1<<32, Gained: []string{"x"}})
	x.Apply(&event.Event{Seq: 4, Kind: event.Rights, ObjectType: "nobody", ObjectID: 3, Gained: []string{"x"}})
	if n := len(x.Superadmins()); n != 0 {
		t.Errorf("%d superadmins", n)
	}
	for id := range int32(100) {
		x.Remove(access.Principal{Kind: access.User, ID: id})
	}
	x.Apply(&event.Event{Seq: 5, Kind: event.Settled})
	if principals, tags := x.Size(); principals != 0 || tags != 0 {
		t.Errorf("%d principals with %d tags are left", principals, tags)
	}
}

func BenchmarkAudience(b *testing.B) {
	for _, n := range []int32{1, 100, 10_000} {
		x := access.NewIndex(nil)
		for id := range n {
			p := access.Principal{Kind: access.User, ID: id}
			x.Add(access.NewView(p, []string{p.Tag(), "s:1", "p:1", "p:2", fmt.Sprintf("a:%d", id%10)}, 1, x.Moment()))
		}
		keys := `[["x", "p:1", "u:77"]]`
		b.Run(fmt.Sprintf("cached/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(x.Audience(keys, access.Present)) != int(n) {
					b.Fatal("not everybody")
				}
			}
		})
		alias := event.Event{Kind: event.Alias, Tag: "service:1", Keys: `[["p:1"]]`}
		b.Run(fmt.Sprintf("fresh/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Apply(&alias)
				if len(x.Audience(keys, access.Present)) != int(n) {
					b.Fatal("not everybody")
				}
			}
		})
	}
}
