package ws

import (
	"time"

	"terasocket/access"
)

// kicks remembers who was kicked of late, so that a client cannot slip in between the redemption of its token and its
// entry into the hub. Guarded by the hub.
type kicks struct {
	recent, older map[access.Principal]int64 // highest counter of the connect tokens that a kick covers
	turned        time.Time
}

// kicksKept is longer than any handshake takes.
const kicksKept = time.Minute

func (k *kicks) add(p access.Principal, token int64, at time.Time) {
	if k.recent == nil || at.Sub(k.turned) > kicksKept {
		k.older, k.recent, k.turned = k.recent, make(map[access.Principal]int64), at
	}
	k.recent[p] = max(k.recent[p], token)
}

// covers says whether p was kicked after this token was made.
func (k *kicks) covers(p access.Principal, token int64) bool {
	for _, kicked := range [...]map[access.Principal]int64{k.recent, k.older} {
		if upTo, ok := kicked[p]; ok && token <= upTo {
			return true
		}
	}
	return false
}
