package ws

import (
	"time"

	"terasocket/access"
)

// kicks remembers who was kicked of late, so that a client cannot slip in between the redemption of its token and its
// entry into the hub. Guarded by the hub.
type kicks struct {
	recent, older map[access.Principal]time.Time
	turned        time.Time
}

// kicksKept is longer than any handshake takes.
const kicksKept = time.Minute

func (k *kicks) add(p access.Principal, at time.Time) {
	k.forget(at)
	k.recent[p] = at
}

// since reports whether p was kicked at or after that time.
func (k *kicks) since(p access.Principal, began time.Time) bool {
	at, ok := k.recent[p]
	if !ok {
		at, ok = k.older[p]
	}
	return ok && !at.Before(began)
}

func (k *kicks) forget(now time.Time) {
	if k.recent == nil || now.Sub(k.turned) > kicksKept {
		k.older, k.recent, k.turned = k.recent, make(map[access.Principal]time.Time), now
	}
}
