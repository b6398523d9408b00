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
	holders map[string]map[*member]struct{} // by tag, of every state
	moment  Moment
	dirty   []*member // members whose tags changed since the last Settled event

	audiences audiences
}

// NewIndex returns an empty index with these aliases (tag -> routing keys, JSON text).
func NewIndex(aliases map[string]string) *Index {
	return &Index{
		members: make(map[Principal]*member),
		holders: make(map[string]map[*member]struct{}),
		moment:  newMoment(NewAliases(aliases)),
	}
}

// Moment returns the state shared by all principals. Later events do not change it.
func (x *Index) Moment() Moment {
	m := x.moment
	m.changes, m.rights = slices.Clip(m.changes), slices.Clip(m.rights)
	return m
}

// Add adds the principal of a view, which the index takes over. The view may be of a later position: events up to there do not change its
// present tags.
func (x *Index) Add(v *View) {
	x.Remove(v.principal)
	m := &v.member
	x.members[m.principal] = m
	for tag := range m.tags {
		x.hold(tag, m)
	}
	if len(m.changes) > 0 {
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
	for tag := range m.tags {
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
		x.moment.rights = append(x.moment.rights, e)
		x.applyRights(e)
	case event.Alias:
		x.moment.change(e)
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
		for tag, now := range m.tags {
			if now&isHeld == 0 {
				x.drop(tag, m)
			}
		}
		m.settle()
	}
	clear(x.dirty)
	x.dirty = x.dirty[:0]
	x.moment.settle()
	x.forget()
}

// Tags returns the tags that a principal holds now.
func (x *Index) Tags(p Principal) []string {
	m := x.members[p]
	if m == nil {
		return nil
	}
	tags := make([]string, 0, len(m.tags))
	for tag, now := range m.tags {
		if now&isHeld != 0 {
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
	return x.moment.present.satisfied(keys, &m.holdings, Present, 0), m.has(superadmin, Present)
}

// Size returns the number of principals, and of distinct tags that they hold.
func (x *Index) Size() (principals, tags int) { return len(x.members), len(x.holders) }
