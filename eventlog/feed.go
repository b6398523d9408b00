package eventlog

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db"
	"terasocket/proto/event"
)

// FeedConfig configures a Feed. Zero values stand for the defaults given.
type FeedConfig struct {
	Pool      *pgxpool.Pool
	Listener  *db.Listener
	Progress  *Progress
	Log       *slog.Logger
	Metrics   *Metrics
	PollEvery time.Duration // interval of reads without a notification (5 s)
	PageRows  int           // maximum number of rows that Next returns (256)
}

// Feed hands out the rows of the log after its starting point, each once, in order.
type Feed struct {
	FeedConfig
	log     eventLog
	decoder decoder

	lastSeen atomic.Uint64 // the highest seq handed out, or present at Begin
	epoch    atomic.Uint64

	ours    chan struct{} // capacity 1: this gateway has announced something
	newest  atomic.Uint64 // the highest seq of those; 0: nothing unread
	hasMore bool          // read before waiting
	polled  time.Time     // the last successful read
	inVain  int           // consecutive reads that found nothing
}

// NewFeed returns a feed; call Begin first.
func NewFeed(c FeedConfig) *Feed {
	setDefault(&c.PollEvery, 5*time.Second)
	setDefault(&c.PageRows, pageRows)
	return &Feed{FeedConfig: c, log: eventLog{pool: c.Pool}, decoder: decoder{c.Log, c.Metrics}, ours: make(chan struct{}, 1)}
}

// LastSeen is the highest seq that was handed out, or was in the log at Begin.
func (f *Feed) LastSeen() uint64 { return f.lastSeen.Load() }

// Epoch is the epoch that this gateway began in.
func (f *Feed) Epoch() uint64 { return f.epoch.Load() }

// wake tells the feed that this gateway has announced rows up to seq.
func (f *Feed) wake(seq uint64, at time.Time) {
	f.newest.Store(seq)
	f.Progress.unread(at)
	select {
	case f.ours <- struct{}{}:
	default:
	}
}

var (
	errNoState    = errors.New("the tables announcer and trimmed are empty")
	errNotSettled = errors.New("an announcement of rights is not complete yet")
	errNoEpoch    = errors.New("no announcer has begun an epoch since the server was started")
	errNotFilled  = errors.New("the memory of announcements is being filled")
)

//go:embed sql/begin.sql
var beginSQL string

// Begin returns the starting state; Next continues after it. It waits for an announcement in progress.
func (f *Feed) Begin(ctx context.Context) (event.Beginning, error) {
	for {
		began := time.Now()
		b, err := f.begin(ctx)
		switch {
		case err == nil:
			f.Progress.feedResult(began, nil)
			f.Progress.upToDate()
			f.Progress.delivered()
			f.epoch.Store(b.Epoch)
			f.lastSeen.Store(b.Seq)
			f.hasMore = true // read at once what was appended since
			return b, nil
		case ctx.Err() == nil:
			f.Progress.feedResult(began, err)
		}
		if !errors.Is(err, errNotSettled) && !errors.Is(err, errNoEpoch) && !errors.Is(err, errNotFilled) {
			return event.Beginning{}, err
		}
		if !f.await(ctx, 200*time.Millisecond) {
			return event.Beginning{}, ctx.Err()
		}
	}
}

func (f *Feed) begin(ctx context.Context) (event.Beginning, error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	var b event.Beginning
	var isSettled, isFilled bool
	var tags, keys []string
	if err := f.Pool.QueryRow(ctx, beginSQL).Scan(&b.Epoch, &b.Seq, &isSettled, &isFilled, &tags, &keys); err != nil {
		return event.Beginning{}, described("begin with the event log", err)
	}
	switch {
	case b.Epoch == 0:
		return event.Beginning{}, described("begin with the event log", errNoEpoch)
	case !isFilled:
		return event.Beginning{}, described("begin with the event log", errNotFilled)
	case !isSettled:
		return event.Beginning{}, described("begin with the event log", errNotSettled)
	}
	b.Aliases = make(map[string]string, len(tags))
	for i, tag := range tags {
		b.Aliases[tag] = keys[i]
	}
	return b, nil
}

// await waits for an announcement, at most for d; it returns false if ctx ended.
func (f *Feed) await(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-f.ours:
	case <-f.Listener.Announced():
	case <-timer.C:
	}
	return true
}

// Next waits for events and returns them in the order of seq, each once. After an error of the database or of ctx nothing is lost: call
// it again. After ErrBroken, call Begin.
func (f *Feed) Next(ctx context.Context) ([]event.Event, error) {
	f.Progress.delivered()
	for {
		if !f.hasMore && !f.isAnnounced() {
			if !f.await(ctx, max(0, time.Until(f.polled.Add(f.PollEvery)))) {
				return nil, ctx.Err()
			}
			if !f.isAnnounced() && time.Since(f.polled) < f.PollEvery {
				continue
			}
		}
		began := time.Now()
		f.hasMore = true // until a read succeeds
		events, err := f.read(ctx)
		if ctx.Err() == nil {
			f.Progress.feedResult(began, err)
		}
		if err != nil {
			return nil, err
		}
		f.polled = began
		if len(events) > 0 {
			f.inVain = 0
			return events, nil
		}
		if f.inVain++; f.inVain > vainLooks {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(lookPause):
			}
		}
	}
}

// isAnnounced reports whether the feed was told of an announcement that it has not read.
func (f *Feed) isAnnounced() bool {
	seq, isGap := f.Listener.TakeAnnounced()
	if !isGap && max(seq, f.newest.Swap(0)) <= f.LastSeen() {
		return false
	}
	f.Progress.unread(time.Now())
	return true
}

//go:embed sql/restarted.sql
var restartedSQL string

// broken returns why the log continues in another epoch.
func (f *Feed) broken(ctx context.Context, epoch uint64) error {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	err := fmt.Errorf("%w: the epoch is %d, not %d", event.ErrBroken, epoch, f.Epoch())
	var isRestarted bool
	if f.Pool.QueryRow(ctx, restartedSQL, int64(f.Epoch())).Scan(&isRestarted) == nil && isRestarted {
		return fmt.Errorf("%w: %w", event.ErrRestarted, err)
	}
	return err
}

func (f *Feed) read(ctx context.Context) ([]event.Event, error) {
	last := f.LastSeen()
	r, err := f.log.read(ctx, last, math.MaxInt64, f.PageRows)
	switch {
	case err != nil:
		return nil, err
	case r.epoch != f.Epoch():
		return nil, f.broken(ctx, r.epoch)
	case r.trimmed > last:
		return nil, fmt.Errorf("%w: it is trimmed up to %d, but was read only up to %d", event.ErrBroken, r.trimmed, last)
	}
	f.hasMore = r.isMore
	if !f.hasMore && r.snapshot != "" {
		if snapshot, err := db.ParseSnapshot(r.snapshot); err == nil {
			f.Progress.sees(snapshot)
		}
	}
	if len(r.rows) == 0 {
		f.Progress.upToDate()
		return nil, nil
	}
	if first := uint64(r.rows[0].Seq); first != last+1 {
		return nil, fmt.Errorf("%w: %d follows %d", event.ErrBroken, first, last)
	}
	events, err := f.decoder.events(r.rows)
	if err != nil {
		return nil, err
	}
	f.Metrics.rows.Add(float64(len(r.rows)))
	f.Progress.handOut(f.hasMore)
	f.lastSeen.Store(uint64(r.rows[len(r.rows)-1].Seq))
	return events, nil
}
