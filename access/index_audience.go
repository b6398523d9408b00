package access

import (
	"cmp"
	"slices"
)

// audiences caches answers until something changes: in a burst, many events have the same keys.
type audiences struct {
	of   map[question][]Principal
	size int // total number of principals
}

type question struct {
	keys string
	in   State
}

// Bounds of the cache; beyond them it is emptied.
const (
	audiencesKept  = 4096
	principalsKept = 1 << 18
)

// Compare orders principals in audiences.
func (p Principal) Compare(other Principal) int {
	return cmp.Compare(int64(p.Kind)<<32+int64(p.ID), int64(other.Kind)<<32+int64(other.ID))
}

// Superadmins returns who may see everything now, as Audience does.
func (x *Index) Superadmins() []Principal { return x.Audience(`[["`+superadmin+`"]]`, Present) }

// Audience returns the connected principals that satisfy these routing keys (JSON text) in that state, ordered by Compare, each once.
// Malformed keys have no audience. The result belongs to the index: do not modify it.
func (x *Index) Audience(keys string, in State) []Principal {
	if keys == "" || len(x.members) == 0 {
		return nil
	}
	if len(x.moment.rights)+len(x.moment.changes) == 0 {
		in = Present // all states are equal
	}
	a, q := &x.audiences, question{keys, in}
	if known, ok := a.of[q]; ok {
		return known
	}
	found := x.find(ParseRoutingKeys(keys), in)
	if a.of == nil || len(a.of) >= audiencesKept || a.size > principalsKept {
		*a = audiences{of: make(map[question][]Principal)}
	}
	a.of[q] = found
	a.size += len(found)
	return found
}

// forget empties the cache; called when members' tags or aliases have changed.
func (x *Index) forget() { x.audiences = audiences{} }

// find checks all holders of the tags of the smallest clause.
func (x *Index) find(keys RoutingKeys, in State) []Principal {
	aliases := x.moment.in(in)
	var found []Principal
	for _, m := range x.collect(nil, keys, aliases, 0) {
		if aliases.satisfied(keys, &m.holdings, in, 0) {
			found = append(found, m.principal)
		}
	}
	slices.SortFunc(found, Principal.Compare)
	return slices.Compact(found)
}

// collect appends all who satisfy keys, possibly twice.
func (x *Index) collect(candidates []*member, keys RoutingKeys, aliases Aliases, depth int) []*member {
	if len(keys) == 0 {
		return candidates
	}
	smallest := keys[0]
	if len(keys) > 1 {
		smallest = slices.MinFunc(keys, func(a, b []string) int {
			return cmp.Compare(x.count(a, aliases, depth), x.count(b, aliases, depth))
		})
	}
	for _, tag := range smallest {
		for m := range x.holders[tag] {
			candidates = append(candidates, m)
		}
		if depth < aliasDepth {
			candidates = x.collect(candidates, aliases[tag], aliases, depth+1)
		}
	}
	return candidates
}

// count returns an upper bound of the members of a clause.
func (x *Index) count(clause []string, aliases Aliases, depth int) int {
	n := 0
	for _, tag := range clause {
		n += len(x.holders[tag])
		keys := aliases[tag]
		if len(keys) == 0 || depth == aliasDepth {
			continue
		}
		least := x.count(keys[0], aliases, depth+1)
		for _, other := range keys[1:] {
			least = min(least, x.count(other, aliases, depth+1))
		}
		n += least
	}
	return n
}
