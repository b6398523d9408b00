package access

import (
	"slices"

	"terasocket/proto/event"
)

// superadmin is the tag of superadmins, who may see everything.
const superadmin = "x"

// Index decides which connected principals may see an event, without a query. It keeps the tags that they hold, present and former,
// updated by the events of the log.
//
// It is not safe for concurrent use.
type Index struct {
	members map[Principal]*member
	holders map[string]map[*member]struct{} // by tag, of either state
	moment  Moment
	dirty   []*member // members whose tags changed since the last Settled event

	audiences [2]audiences // of Present and Former
}

// NewIndex returns an empty index with these aliases (tag -> routing keys, JSON text).
func NewIndex(aliases map[string]string) *Index {
	a := NewAliases(aliases)
	return &Index{
		members: make(map[Principal]*member),
		holders: make(map[string]map[*member]struct{}),
		moment:  Moment{present: a, former: a},
	}
}

// Moment returns the state shared by all principals. Later events do not change it.
func (x *Index) Moment() Moment { return x.moment }

// Add adds the principal of a view, which the index takes over. The view may be of a later position: events up to there do not change its
// present tags.
func (x *Index) Add(v *View) {
	x.Remove(v.principal)
	m := &v.member
	x.members[m.principal] = m
	isDirty := false
	for tag, state := range m.holdings {
		x.hold(tag, m)
		isDirty = isDirty || state&changed != 0
	}
	if isDirty {
		x.dirty = append(x.dirty, m)
	}
	x.forget()
}

// Remove removes a principal.
func (x *Index) Remove(p Principal) {
	m := x.members[p]
	if m == nil {
		return
	}
	delete(x.members, p)
	for tag := range m.holdings {
		x.drop(tag, m)
	}
	x.dirty = slices.DeleteFunc(x.dirty, func(other *member) bool { return other == m })
	x.forget()
}

func (x *Index) hold(tag string, m *member) {
	if x.holders[tag] == nil {
		x.holders[tag] = make(map[*member]struct{})
	}
	x.holders[tag][m] = struct{}{}
}

func (x *Index) drop(tag string, m *member) {
	if delete(x.holders[tag], m); len(x.holders[tag]) == 0 {
		delete(x.holders, tag)
	}
}

// Apply updates the index by an event; only Rights, Alias and Settled have an effect.
func (x *Index) Apply(e *event.Event) {
	switch e.Kind {
	case event.Rights:
		x.moment.unsettled = append(x.moment.unsettled, e)
		x.applyRights(e)
	case event.Alias:
		x.moment.present = x.moment.present.with(e.Tag, e.Keys)
		x.forget()
	case event.Settled:
		x.settle()
	}
}

func (x *Index) applyRights(e *event.Event) {
	kind, err := ParseKind(e.ObjectType)
	m := x.members[Principal{Kind: kind, ID: int32(e.ObjectID)}]
	if err != nil || m == nil || !m.principal.IsOf(e) {
		return
	}
	m.apply(e)
	for _, tags := range [...][]string{e.Lost, e.Gained} {
		for _, tag := range tags {
			x.hold(tag, m)
		}
	}
	x.dirty = append(x.dirty, m)
	x.forget()
}

func (x *Index) settle() {
	for _, m := range x.dirty {
		for tag, state := range m.holdings {
			if state&changed != 0 && state&Present == 0 {
				x.drop(tag, m)
			}
		}
		m.settle()
	}
	clear(x.dirty)
	x.dirty = x.dirty[:0]
	x.moment.former, x.moment.unsettled = x.moment.present, nil
	x.audiences[1] = x.audiences[0]
}

// Tags returns the tags that a principal holds now.
func (x *Index) Tags(p Principal) []string {
	m := x.members[p]
	if m == nil {
		return nil
	}
	tags := make([]string, 0, len(m.holdings))
	for tag, state := range m.holdings {
		if state&Present != 0 {
			tags = append(tags, tag)
		}
	}
	return tags
}

// Satisfies reports whether a principal satisfies routing keys now, and whether it may see everything.
func (x *Index) Satisfies(p Principal, keys RoutingKeys) (ok, isSuperadmin bool) {
	m := x.members[p]
	if m == nil {
		return false, false
	}
	return x.moment.present.satisfied(keys, m.holdings, Present, 0), m.has(superadmin, Present)
}

// Size returns the number of principals, and of distinct tags that they hold.
func (x *Index) Size() (principals, tags int) { return len(x.members), len(x.holders) }
