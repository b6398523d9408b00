package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db"
	"terasocket/proto/event"
)

// AnnouncerConfig configures an Announcer. Zero values stand for the defaults given.
type AnnouncerConfig struct {
	Pool     *pgxpool.Pool
	Listener *db.Listener
	Progress *Progress
	Feed     *Feed // told of each announcement; what it has read is never given out again
	Log      *slog.Logger
	Metrics  *Metrics

	PollEvery time.Duration // interval of announcements without a hint (5 s)
	AtMost    int           // maximum number of objects in one announcement (2000)
	Limit     time.Duration // of one announcement (15 s)
}

// Announcer asks for announcements as long as there are changes to announce.
type Announcer struct {
	AnnouncerConfig

	atMost    int  // current limit: lower after a failure
	isCareful bool // announce each object on its own
	limit     time.Duration
	pause     time.Duration // before the next attempt
	inVain    int           // consecutive announcements that found nothing
	busySince time.Time     // zero: the lock was free
	polling   polling
}

// Pauses between attempts, while another gateway announces and after a failure.
const (
	busyPause      = 10 * time.Millisecond
	longestBusy    = 200 * time.Millisecond
	longestFailure = 5 * time.Second
	longestLimit   = 5 * time.Minute
	firstTries     = 5
)

// Anybody may notify. After this many announcements in a row that found nothing, the next one is delayed, however many hints come.
const (
	vainLooks = 10
	lookPause = 10 * time.Millisecond
)

// NewAnnouncer returns an announcer; start it with Run.
func NewAnnouncer(c AnnouncerConfig) *Announcer {
	setDefault(&c.PollEvery, 5*time.Second)
	setDefault(&c.AtMost, 2000)
	setDefault(&c.Limit, 15*time.Second)
	return &Announcer{AnnouncerConfig: c, atMost: c.AtMost, limit: c.Limit, polling: newPolling()}
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// First announces once, so that anything missing in the database shows at start, and so that a new epoch begins before anybody reads. It
// retries a few times, since pooled connections may be stale after a server restart. Any error that remains is left to Run.
func (a *Announcer) First(ctx context.Context) error {
	for range firstTries {
		done, err := announce(ctx, a.Pool, a.atMost, false, 0, a.limit, a.polling)
		if err == nil {
			a.polling.took(time.Now(), done, a.Metrics)
		}
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if err = described("announce", err); errors.Is(err, event.ErrUnusable) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(longestBusy):
		}
	}
	return nil
}

// Run announces until ctx ends, then returns nil. Errors are logged and retried.
func (a *Announcer) Run(ctx context.Context) error {
	next := time.NewTimer(0) // at once: changes may have been committed before LISTEN
	defer next.Stop()
	for {
		waits := time.Now()
		select {
		case <-ctx.Done():
			return nil
		case <-a.Listener.Changed():
			a.Progress.hear()
			if a.pause > 0 || a.polling.isOn {
				continue // a retry is already scheduled
			}
		case <-next.C:
			a.Progress.hear()
			if a.polling.isDue(time.Now()) {
				a.Metrics.polls.Inc()
				a.Progress.suspect()
			}
			if a.pause > 0 && a.pause <= longestBusy && !a.Progress.hasWork() {
				a.pause, a.busySince = 0, time.Time{} // other gateways have announced everything
				next.Reset(a.idle())
				continue
			}
		}
		if a.pause == 0 {
			a.polling.idle += time.Since(waits)
		}
		if !a.Listener.Connected() {
			a.pause = 0 // announce as soon as LISTEN is back
			a.polling.end(a.Metrics)
			next.Reset(a.PollEvery)
			continue
		}
		a.announce(ctx)
		if a.pause > 0 {
			next.Reset(a.pause/2 + rand.N(a.pause/2+1))
		} else {
			next.Reset(a.idle())
		}
	}
}

// idle returns how long to wait for a hint.
func (a *Announcer) idle() time.Duration {
	return a.polling.wait(time.Now(), a.PollEvery-rand.N(a.PollEvery/4+1))
}

// announce asks for announcements until nothing is left or one fails, and sets pause to the time before the next attempt.
func (a *Announcer) announce(ctx context.Context) {
	for isMore := true; isMore && ctx.Err() == nil; {
		a.Progress.ask()
		began := time.Now()
		done, err := announce(ctx, a.Pool, a.atMost, a.isCareful, a.Feed.LastSeen(), a.limit, a.polling)
		if err == nil && !done.isFilled {
			err = a.fill(ctx)
			done.isMore = true
		}
		switch {
		case err == nil:
			a.succeeded(began, done)
			isMore = done.isMore
		case ctx.Err() != nil:
			return
		case sqlState(err) == lockNotAvailable:
			a.Metrics.announceBusy.Inc()
			a.busy(began)
			a.wait(busyPause, longestBusy)
			return
		default:
			a.failed(ctx, began, err)
			return
		}
	}
}

// fill fills the memory of announcements where it has to be computed anew.
func (a *Announcer) fill(ctx context.Context) error {
	a.Log.Info("the memory of announcements is being filled", "op", "fill")
	for ctx.Err() == nil {
		switch left, err := fill(ctx, a.Pool, longestLimit); {
		case err != nil:
			return err
		case left == 0:
			a.Log.Info("the memory of announcements is filled", "op", "fill")
			return nil
		}
	}
	return ctx.Err()
}

func (a *Announcer) succeeded(began time.Time, done announcement) {
	a.busySince = time.Time{}
	a.Metrics.announcements.Inc()
	a.Metrics.announceTime.Observe(time.Since(began).Seconds())
	a.Progress.announceResult(began, nil)
	if done.lastSeq > a.Feed.LastSeen() { // new rows or a new epoch
		a.Feed.wake(done.lastSeq, began)
	}
	if !done.isMore {
		a.Progress.covered()
	}
	a.polling.took(time.Now(), done, a.Metrics)
	a.pause, a.limit = 0, a.Limit
	if a.inVain++; done.announced > 0 || done.isMore || a.polling.isOn {
		a.inVain = 0
	}
	if a.inVain > vainLooks {
		a.pause = lookPause
	}
	if a.atMost = min(a.AtMost, 2*a.atMost); a.atMost == a.AtMost {
		a.isCareful = false
	}
}

// failed makes the next attempt smaller if a single object may have caused the failure.
func (a *Announcer) failed(ctx context.Context, began time.Time, err error) {
	a.Metrics.announceErrors.Inc()
	err = described("announce", err)
	a.Progress.announceResult(began, err)
	a.Log.Error("changes not announced, trying again", "op", "announce", "objects", a.atMost, "careful", a.isCareful, "err", err)
	state := sqlState(err)
	isLast := a.atMost == 1 && a.isCareful
	longest := longestBusy // a smaller one is likely to work: retry soon
	switch {
	case state == queryCanceled && time.Since(began) < a.limit:
		// canceled by somebody: says nothing about the objects
	case state == queryCanceled && isLast && a.limit < 4*a.Limit:
		a.limit *= 2 // its consequences may be many and cannot be divided
	case state == queryCanceled && isLast:
		a.setAside(ctx)
	case state == queryCanceled:
		a.atMost, a.isCareful = max(1, a.atMost/8), true // each attempt takes long
	case state == outOfMemory && a.atMost > 1:
		a.atMost /= 2 // large objects: fewer may fit, and none is set aside for it
	case isLast || !isOfObject(state):
		longest = longestFailure
	default:
		a.atMost, a.isCareful = max(1, a.atMost/2), true
	}
	a.wait(busyPause, longest)
}

// isOfObject reports whether a single object may have caused the error, rather than the server or the connection.
func isOfObject(state string) bool {
	switch {
	case state == "":
		return false
	case state[:2] == "08", state[:2] == "40", state[:2] == "53", state[:2] == "57", state[:2] == "58":
		return false
	}
	return true
}

// setAside sets aside the object whose announcement never ends.
func (a *Announcer) setAside(ctx context.Context) {
	if _, err := locked(ctx, a.Pool, "terasocket.set_aside_next()", a.Limit); err != nil && ctx.Err() == nil {
		a.Log.Error("object not set aside, trying again", "op", "set aside", "err", described("set aside", err))
		return
	}
	a.Log.Error("an object that cannot be announced is set aside until its next change: see terasocket doctor", "op", "set aside")
}

// busy logs once a minute that the lock has been held for long, which no gateway does.
func (a *Announcer) busy(now time.Time) {
	switch {
	case a.busySince.IsZero():
		a.busySince = now
	case now.Sub(a.busySince) > time.Minute:
		a.busySince = now
		a.Log.Warn("nothing announced for a minute: a session holds terasocket.announcer or a table that an announcement needs, look at pg_locks", "op", "announce")
	}
}

// wait doubles the pause.
func (a *Announcer) wait(shortest, longest time.Duration) {
	a.pause = min(max(shortest, 2*a.pause), longest)
}
