package ws

import (
	"time"

	"terasocket/access"
)

// kicks remembers who was kicked of late, so that a client cannot slip in between the redemption of its token and its
// entry into the hub. Guarded by the hub.
type kicks struct {
	recent, older map[access.Principal]kick
	turned        time.Time
}

// kick covers connect tokens up to a counter.
type kick struct {
	token int64
	at    time.Time
}

// kicksKept is longer than any handshake takes, and far shorter than terasocket.kicked remembers them: a ticket of OpenTera's
// login gets its counter from there, which is small again when nothing is left of the kick.
const kicksKept = time.Minute

func (k *kicks) add(p access.Principal, token int64, at time.Time) {
	if k.recent == nil || at.Sub(k.turned) > kicksKept {
		k.older, k.recent, k.turned = k.recent, make(map[access.Principal]kick), at
	}
	k.recent[p] = kick{max(k.recent[p].token, token), at}
}

// covers says whether p was kicked of late, after this token was made.
func (k *kicks) covers(p access.Principal, token int64, now time.Time) bool {
	for _, kicked := range [...]map[access.Principal]kick{k.recent, k.older} {
		if last, ok := kicked[p]; ok && token <= last.token && now.Sub(last.at) <= kicksKept {
			return true
		}
	}
	return false
}
