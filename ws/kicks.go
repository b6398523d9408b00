package ws

import (
	"time"

	"terasocket/access"
)

// kicks remembers who was kicked of late, so that a client cannot slip in between the redemption of its token and its
// entry into the hub. Guarded by the hub.
type kicks struct {
	recent, older map[access.Principal]kicked
	turned        time.Time
}

// kicked is when somebody was kicked last, and by which transactions.
type kicked struct {
	at   time.Time
	xids []uint64
}

// kicksKept is longer than any handshake takes.
const kicksKept = time.Minute

func (k *kicks) add(p access.Principal, xid uint64, at time.Time) {
	k.forget(at)
	k.recent[p] = kicked{at, append(k.recent[p].xids, xid)}
}

// since gives the transactions that kicked p of late, if p was kicked at or after that time.
func (k *kicks) since(p access.Principal, began time.Time) []uint64 {
	var xids []uint64
	for _, kicked := range [...]kicked{k.recent[p], k.older[p]} {
		if !kicked.at.Before(began) {
			xids = append(xids, kicked.xids...)
		}
	}
	return xids
}

func (k *kicks) forget(now time.Time) {
	if k.recent == nil || now.Sub(k.turned) > kicksKept {
		k.older, k.recent, k.turned = k.recent, make(map[access.Principal]kicked), now
	}
}
