package api

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Of the status of one device: each post is an event that everybody who sees the device hears, and pushes one of the others
// out of the log.
const (
	statusRate   = 2 // posts a second
	statusBurst  = 5 // seconds' worth at once
	statusMemory = 10_000
)

// postLimit bounds how often each device posts.
type postLimit struct {
	perSecond float64

	mu   sync.Mutex
	rate map[int32]*rate.Limiter
}

func newPostLimit(perSecond float64) *postLimit {
	if perSecond <= 0 {
		perSecond = statusRate
	}
	return &postLimit{perSecond: perSecond, rate: map[int32]*rate.Limiter{}}
}

// wait says how long this device must; 0: it may post.
func (p *postLimit) wait(device int32, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.rate[device]
	if l == nil {
		if len(p.rate) >= statusMemory {
			clear(p.rate)
		}
		l = rate.NewLimiter(rate.Limit(p.perSecond), max(1, int(p.perSecond*statusBurst)))
		p.rate[device] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return time.Duration((1 - l.TokensAt(now)) / p.perSecond * float64(time.Second))
}

// wrap gives the handler that is told of the limit.
func (p *postLimit) wrap(handle func(http.ResponseWriter, *http.Request, *postLimit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { handle(w, r, p) }
}

// tooOften answers a post too many.
func (a *API) tooOften(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(max(wait, time.Second).Seconds()+0.5)))
	a.answer(w, http.StatusTooManyRequests, "Too many status updates. Please wait and try again.")
}
