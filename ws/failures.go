package ws

import (
	"container/list"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"terasocket/access"
)

// FailureLimit bounds the invalid tokens from one address. Only failures count, so that a clinic behind one address can
// reconnect all at once. The zero value is no limit.
type FailureLimit struct {
	PerMinute float64 // refill; 0 = no limit
	Burst     int     // 0 = 10
	Addresses int     // remembered, least recently failed forgotten first; 0 = 10,000
}

// failures counts by address, IPv6 by /64, since a client has all of one.
type failures struct {
	limit FailureLimit

	mu     sync.Mutex
	byAddr map[string]*list.Element // of *offender
	recent *list.List               // last failure first
}

type offender struct {
	network string
	rate    *rate.Limiter
}

func newFailures(limit FailureLimit) *failures {
	def(&limit.Burst, 10)
	def(&limit.Addresses, 10_000)
	return &failures{limit: limit, byAddr: make(map[string]*list.Element), recent: list.New()}
}

// tooManySockets refuses a principal at its limit. Sockets of vanished clients end within PongWait.
func tooManySockets(w http.ResponseWriter) *refusal {
	w.Header().Set("Retry-After", "30")
	return &refusal{http.StatusTooManyRequests, "sockets", "too many sockets of this user, participant or device"}
}

// tooMany reports whether the address must wait, and how long. "" is not limited: the address is not known, and the limit would
// be shared by everybody behind that proxy.
func (f *failures) tooMany(addr string, now time.Time) (wait time.Duration, yes bool) {
	if f.limit.PerMinute <= 0 || addr == "" {
		return 0, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	network, _ := access.Network(addr)
	e, ok := f.byAddr[network]
	if !ok {
		return 0, false
	}
	left := e.Value.(*offender).rate.TokensAt(now)
	if left >= 1 {
		return 0, false
	}
	return time.Duration(math.Ceil((1-left)*60/f.limit.PerMinute)) * time.Second, true
}

func (f *failures) add(addr string, now time.Time) {
	if f.limit.PerMinute <= 0 || addr == "" {
		return
	}
	network, _ := access.Network(addr)
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.byAddr[network]
	if !ok {
		e = f.recent.PushFront(&offender{network, rate.NewLimiter(rate.Limit(f.limit.PerMinute/60), f.limit.Burst)})
		f.byAddr[network] = e
	}
	e.Value.(*offender).rate.AllowN(now, 1)
	f.recent.MoveToFront(e)
	for f.recent.Len() > f.limit.Addresses {
		last := f.recent.Back()
		delete(f.byAddr, f.recent.Remove(last).(*offender).network)
	}
}
