package ws

import (
	"time"

	"terasocket/access"
)

// kicks remembers recent kicks, so that a client cannot slip in between the redemption of its token and its entry into the hub.
// Guarded by Hub.mu.
type kicks struct {
	recent, older map[access.Principal]kick
	turned        time.Time
}

// kick covers connect tokens up to and including a counter.
type kick struct {
	token int64
	at    time.Time
}

// kicksKept is longer than any handshake takes, and far shorter than terasocket.kicked remembers kicks: a ticket of OpenTera's
// login takes its counter from there, and the counter is small again once the kick is forgotten.
const kicksKept = time.Minute

func (k *kicks) add(p access.Principal, token int64, at time.Time) {
	if k.recent == nil || at.Sub(k.turned) > kicksKept {
		k.older, k.recent, k.turned = k.recent, make(map[access.Principal]kick), at
	}
	k.recent[p] = kick{max(k.recent[p].token, token), at}
}

// covers reports whether p was kicked recently, after this token was made.
func (k *kicks) covers(p access.Principal, token int64, now time.Time) bool {
	for _, kicked := range [...]map[access.Principal]kick{k.recent, k.older} {
		if last, ok := kicked[p]; ok && token <= last.token && now.Sub(last.at) <= kicksKept {
			return true
		}
	}
	return false
}
