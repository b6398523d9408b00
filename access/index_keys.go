package access

import (
	"encoding/json"
	"maps"
)

// RoutingKeys is a conjunction of clauses: somebody satisfies it by holding a tag of every clause. Without a clause, or with an empty
// one, nobody does.
type RoutingKeys [][]string

// ParseRoutingKeys parses routing keys (JSON text). Malformed text yields keys that nobody satisfies.
func ParseRoutingKeys(text string) RoutingKeys {
	var keys RoutingKeys
	if text == "" || json.Unmarshal([]byte(text), &keys) != nil {
		return nil
	}
	for _, clause := range keys {
		if len(clause) == 0 {
			return nil
		}
	}
	return keys
}

// Aliases are the tags that stand for "whoever sees that object", with the object's routing keys. They are never modified in place, so
// that an event can be judged later by the aliases of its moment.
type Aliases map[string]RoutingKeys

// aliasDepth limits the nesting of aliases. (None is deeper: the announcer makes them of services, session types and test types.)
const aliasDepth = 3

// NewAliases parses the routing keys (JSON text) of each tag.
func NewAliases(texts map[string]string) Aliases {
	a := make(Aliases, len(texts))
	for tag, text := range texts {
		a[tag] = ParseRoutingKeys(text)
	}
	return a
}

// with returns a copy in which tag stands for these keys, or for nothing if they are "".
func (a Aliases) with(tag, keys string) Aliases {
	changed := maps.Clone(a)
	if changed == nil {
		changed = make(Aliases, 1)
	}
	changed.set(tag, keys)
	return changed
}

func (a Aliases) set(tag, keys string) {
	if keys == "" {
		delete(a, tag)
	} else {
		a[tag] = ParseRoutingKeys(keys)
	}
}

// satisfied reports whether these holdings satisfy the keys in that state.
func (a Aliases) satisfied(keys RoutingKeys, h *holdings, in State, depth int) bool {
	for _, clause := range keys {
		if !a.holdsOne(clause, h, in, depth) {
			return false
		}
	}
	return len(keys) > 0
}

func (a Aliases) holdsOne(clause []string, h *holdings, in State, depth int) bool {
	for _, tag := range clause {
		if h.has(tag, in) {
			return true
		}
		if keys, isAlias := a[tag]; isAlias && depth < aliasDepth && a.satisfied(keys, h, in, depth+1) {
			return true
		}
	}
	return false
}
