package access

import (
	"maps"
	"slices"

	"terasocket/proto/event"
)

// Moment is the state of an Index between two events that is shared by all principals.
type Moment struct {
	present, former Aliases
	changes         []aliasChange  // since the last Settled event
	rights          []*event.Event // Rights events since then
}

type aliasChange struct {
	seq      uint64
	tag, was string
}

func newMoment(a Aliases) Moment { return Moment{present: a, former: a} }

// in returns the aliases of that state.
func (m *Moment) in(s State) Aliases {
	if s == Present {
		return m.present
	}
	switch after := slices.IndexFunc(m.changes, func(c aliasChange) bool { return State(c.seq) > s }); after {
	case -1:
		return m.present
	case 0:
		return m.former
	default:
		a := maps.Clone(m.present)
		for _, c := range slices.Backward(m.changes[after:]) {
			a.set(c.tag, c.was)
		}
		return a
	}
}

// change applies an Alias event.
func (m *Moment) change(e *event.Event) {
	m.changes = append(m.changes, aliasChange{e.Seq, e.Tag, e.Was})
	m.present = m.present.with(e.Tag, e.Keys)
}

func (m *Moment) settle() { *m = newMoment(m.present) }

// View is what one principal may see at one position of the log; Apply moves it on.
type View struct {
	member
	moment Moment
}

// member is a principal with its tags. Its present state is as of seq from or later: it already includes the changes of rows up to from.
type member struct {
	principal Principal
	from      uint64
	holdings
}

// apply applies a Rights event of this principal.
func (m *member) apply(e *event.Event) {
	m.change(e, e.Seq <= m.from)
}

// NewView returns the view of a principal that holds tags as of seq. m is the moment at seq, or an earlier one: then the events in
// between are applied later.
func NewView(p Principal, tags []string, seq uint64, m Moment) *View {
	v := &View{member{p, seq, newHoldings(tags)}, m}
	for _, e := range m.rights {
		if p.IsOf(e) {
			v.member.apply(e)
		}
	}
	return v
}

// NewPastView returns the view that a principal had at seq since. It holds tags as of seq; m is the moment at that seq or a later one.
// past are the Rights events of p and all Alias events up to that moment; they start after the last Settled event at or before since.
func NewPastView(p Principal, tags []string, seq uint64, m Moment, past []event.Event, since uint64) *View {
	held, aliases := newHoldings(tags), m.present
	known := make(map[string]bool) // aliases: the first change tells the former keys
	for i := range past {
		switch e := &past[i]; e.Kind {
		case event.Rights:
			if p.IsOf(e) && e.Seq <= seq {
				held.change(e, true)
			}
		case event.Alias:
			if !known[e.Tag] {
				known[e.Tag] = true
				aliases = aliases.with(e.Tag, e.Was)
			}
		}
	}
	var before []string
	for tag := range held.tags {
		if held.has(tag, Former) {
			before = append(before, tag)
		}
	}
	v := &View{member{principal: p, holdings: newHoldings(before)}, newMoment(aliases)}
	for i := range past {
		if past[i].Seq <= since {
			v.Apply(&past[i])
		}
	}
	return v
}

// Apply updates the view by an event; only Rights, Alias and Settled have an effect.
func (v *View) Apply(e *event.Event) {
	switch e.Kind {
	case event.Rights:
		if v.principal.IsOf(e) {
			v.member.apply(e)
		}
	case event.Alias:
		v.moment.change(e)
	case event.Settled:
		v.member.settle()
		v.moment.settle()
	}
}

// Satisfies reports whether the principal satisfies routing keys in that state.
func (v *View) Satisfies(keys RoutingKeys, in State) bool {
	return v.moment.in(in).satisfied(keys, &v.holdings, in, 0)
}

// IsSuperadmin reports whether the principal may see everything.
func (v *View) IsSuperadmin() bool { return v.has(superadmin, Present) }

// Loses reports whether a Rights event takes away the principal's own tag, which everybody holds who may be connected.
func (p Principal) Loses(e *event.Event) bool {
	return p.IsOf(e) && slices.Contains(e.Lost, p.Tag())
}

// IsOf reports whether e is a Rights or Kick event of this principal.
func (p Principal) IsOf(e *event.Event) bool {
	return (e.Kind == event.Rights || e.Kind == event.Kick) && e.ObjectID == int64(p.ID) && e.ObjectType == p.Kind.String()
}
