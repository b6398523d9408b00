package access

import (
	"encoding/json"
	"maps"
)

// RoutingKeys say who may see something: whoever holds a tag of every clause. Without a clause, or with an empty one, it
// is nobody.
type RoutingKeys [][]string

// ParseRoutingKeys reads the JSON text of routing keys. A text that is malformed is nobody.
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

// Aliases are the tags that stand for "whoever sees that object", with the routing keys of it. They are never changed in
// place, so that an event can be judged later by the aliases of its moment.
type Aliases map[string]RoutingKeys

// aliasDepth is how deep an alias may lie in the keys of others. (None is deeper: the announcer makes them of services,
// session types and test types.)
const aliasDepth = 3

// NewAliases reads the routing keys, JSON text, of each tag.
func NewAliases(texts map[string]string) Aliases {
	a := make(Aliases, len(texts))
	for tag, text := range texts {
		a[tag] = ParseRoutingKeys(text)
	}
	return a
}

// with returns a copy in which tag stands for these keys, for nothing when they are "".
func (a Aliases) with(tag, keys string) Aliases {
	changed := maps.Clone(a)
	if changed == nil {
		changed = make(Aliases, 1)
	}
	if keys == "" {
		delete(changed, tag)
	} else {
		changed[tag] = ParseRoutingKeys(keys)
	}
	return changed
}

// satisfied says whether somebody with these holdings satisfies the keys in that state.
func (a Aliases) satisfied(keys RoutingKeys, h holdings, in State, depth int) bool {
	for _, clause := range keys {
		if !a.holdsOne(clause, h, in, depth) {
			return false
		}
	}
	return len(keys) > 0
}

func (a Aliases) holdsOne(clause []string, h holdings, in State, depth int) bool {
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
