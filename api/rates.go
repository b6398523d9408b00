package api

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"terasocket/access"
)

// Every status post is an event that everybody who sees the device receives; every login and logout is an event too, and may be
// a kick: too many push other events out of the log.
const (
	statusRate  = 2 // posts a second
	statusBurst = 5 // seconds' worth at once
	visitRate   = 1 // logins, logouts, refreshes and disconnects together, a second
	visitBurst  = 60
	whoKept     = 10_000

	strangerRate  = 10 // recorded refusals of unknown callers a second
	strangerBurst = 600
)

// NewStrangers makes the limit on recorded refusals of unknown callers.
func NewStrangers() *rate.Limiter { return rate.NewLimiter(strangerRate, strangerBurst) }

// rates limits how often each principal does something on this gateway.
type rates struct {
	mu sync.Mutex
	of map[access.Principal]*rate.Limiter
}

// wait returns how long a principal must wait; 0: not at all.
func (p *rates) wait(who access.Principal, perSecond float64, burst int, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.of[who]
	if l == nil {
		if p.of == nil || len(p.of) >= whoKept {
			p.of = map[access.Principal]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Limit(perSecond), max(1, burst))
		p.of[who] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return time.Duration((1 - l.TokensAt(now)) / perSecond * float64(time.Second))
}

// mayVisit reports whether an authenticated principal is within its rate. If not, it answers 429 and records nothing.
func (a *API) mayVisit(w http.ResponseWriter, v visit, who access.Principal) bool {
	wait := a.visits.wait(who, visitRate, visitBurst, time.Now())
	if wait > 0 {
		a.Log.Info("principal refused: too many logins and logouts", "op", v.op, "principal", who.String())
		a.tooMany(w, wait, "logins and logouts")
	}
	return wait == 0
}

// mayPost is mayVisit for status posts.
func (a *API) mayPost(w http.ResponseWriter, device access.Principal) bool {
	perSecond := a.StatusRate
	if perSecond <= 0 {
		perSecond = statusRate
	}
	wait := a.posts.wait(device, perSecond, int(perSecond*statusBurst), time.Now())
	if wait > 0 {
		a.tooMany(w, wait, "status updates")
	}
	return wait == 0
}

// tooMany answers 429.
func (a *API) tooMany(w http.ResponseWriter, wait time.Duration, them string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(max(wait, time.Second).Seconds()+0.5)))
	a.answer(w, http.StatusTooManyRequests, "Too many "+them+". Please wait and try again.")
}
