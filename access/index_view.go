package access

import (
	"slices"

	"terasocket/proto/event"
)

// Moment is the state of an Index between two events that is shared by all principals.
type Moment struct {
	present, former Aliases
	unsettled       []*event.Event // Rights events since the last Settled one
}

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
	change := m.changedBefore
	if e.Seq > m.from {
		change = m.change
	}
	for _, tag := range e.Lost {
		change(tag, false)
	}
	for _, tag := range e.Gained {
		change(tag, true)
	}
}

// NewView returns the view of a principal that holds tags as of seq. m is the moment at seq, or an earlier one: then the events in
// between are applied later.
func NewView(p Principal, tags []string, seq uint64, m Moment) *View {
	v := &View{member{p, seq, newHoldings(tags)}, m}
	for _, e := range m.unsettled {
		if p.IsOf(e) {
			v.member.apply(e)
		}
	}
	return v
}

// NewPastView returns the view that a principal had at seq since. It holds tags as of seq; m is the moment at that seq or a later one.
// past are the Rights events of p, and all Alias and Settled events, up to that moment; they start after the last Settled event at or
// before since.
func NewPastView(p Principal, tags []string, seq uint64, m Moment, past []event.Event, since uint64) *View {
	held, aliases := newHoldings(tags), m.present
	known := make(map[string]bool) // aliases: the first change tells the former keys
	for i := range past {
		switch e := &past[i]; e.Kind {
		case event.Rights:
			if !p.IsOf(e) || e.Seq > seq {
				continue
			}
			for _, tag := range e.Lost {
				held.changedBefore(tag, false)
			}
			for _, tag := range e.Gained {
				held.changedBefore(tag, true)
			}
		case event.Alias:
			if !known[e.Tag] {
				known[e.Tag] = true
				aliases = aliases.with(e.Tag, e.Was)
			}
		}
	}
	for tag, state := range held {
		if state&Former != 0 {
			held[tag] = Present | Former
		} else {
			delete(held, tag)
		}
	}
	v := &View{member{principal: p, holdings: held}, Moment{present: aliases, former: aliases}}
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
		v.moment.present = v.moment.present.with(e.Tag, e.Keys)
	case event.Settled:
		v.settle()
		v.moment.former = v.moment.present
	}
}

// Satisfies reports whether the principal satisfies routing keys in that state.
func (v *View) Satisfies(keys RoutingKeys, in State) bool {
	aliases := v.moment.present
	if in == Former {
		aliases = v.moment.former
	}
	return aliases.satisfied(keys, v.holdings, in, 0)
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
