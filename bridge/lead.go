package bridge

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

//go:embed sql/lead.sql
var leadSQL string

//go:embed sql/leave.sql
var leaveSQL string

// errLost means that another gateway holds the bridge.
var errLost = errors.New("another gateway has taken the bridge")

// goodbye bounds the end of a reign: telling of the last sockets that ended, and giving the bridge back.
const goodbye = 800 * time.Millisecond

// reign is one term in which this gateway holds the bridge.
type reign struct {
	*Bridge
	term int64
	held atomic.Int64 // until when, UnixNano by our own clock
	gap  atomic.Bool  // not held for a while: check everybody
	asking

	// of write
	nth        int64     // items written
	mark       []byte    // of the last message with items written
	part       int       // how many of them; 0: all
	skip       int       // items of the first message that are already written
	complained time.Time // when a refusal was last logged

	// of keep
	manager
}

// place is how far messages are written.
type place struct {
	mark    []byte // of the last message with items written; nil: none
	part    int    // how many of them; 0: all
	isAgain bool   // nobody else has held the bridge since this gateway did
}

// elect takes the bridge whenever it is free, until ctx ends.
func (b *Bridge) elect(ctx context.Context) {
	for {
		wait := b.Lease / 3
		if b.Err() != nil {
			wait = b.Look
		} else if r, from, err := b.takeOver(ctx); err == nil {
			b.reign(ctx, r, from)
		} else if !errors.Is(err, errLost) && ctx.Err() == nil {
			b.Log.Debug("the bridge cannot be taken, trying again", "op", "bridge", "err", err)
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// takeOver takes the bridge, or returns errLost.
func (b *Bridge) takeOver(ctx context.Context) (r *reign, from place, err error) {
	now := time.Now()
	term, from, err := b.lead(ctx, 0)
	if err != nil {
		return nil, place{}, err
	}
	r = &reign{Bridge: b, term: term, mark: from.mark, part: from.part, manager: manager{listened: now}}
	r.held.Store(now.Add(b.Lease).UnixNano())
	return r, from, nil
}

// lead takes the bridge (term 0) or keeps it.
func (b *Bridge) lead(ctx context.Context, term int64) (now int64, from place, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.Lease/2)
	defer cancel()
	err = b.Pool.QueryRow(ctx, leadSQL, b.Gateway, term, b.Lease).Scan(&now, &from.mark, &from.part, &from.isAgain)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, place{}, errLost
	case err != nil:
		return 0, place{}, fmt.Errorf("take or keep the bridge: %w", err)
	}
	return now, from, nil
}

// isHeld reports whether, by our own clock, nobody else can hold the bridge now.
func (r *reign) isHeld() bool { return time.Now().UnixNano() < r.held.Load() }

// reign holds the bridge until it is lost, or ctx ends.
func (b *Bridge) reign(ctx context.Context, r *reign, from place) {
	b.Log.Info("this gateway is the bridge to OpenTera's Redis", "op", "bridge", "term", r.term)
	b.Metrics.leader.Set(1)
	b.Metrics.reconciled.CompareAndSwap(0, time.Now().UnixNano())
	defer b.Metrics.leader.Set(0)
	gone := b.sub.ends()
	limit, cancel := context.WithTimeout(ctx, b.Lease/2)
	err := b.sub.catchUp(limit)
	cancel()
	if err == nil {
		skip, passed := b.stream.lead(from)
		if r.skip = skip; passed > 0 {
			b.Metrics.passed.Add(float64(passed))
			b.Log.Info("what was heard before Redis was lost is passed over: another gateway has held the bridge since", "op", "bridge", "messages", passed)
		}
		group, running := errgroup.WithContext(ctx)
		group.Go(func() error { return r.renew(running) })
		group.Go(func() error { return r.write(running) })
		group.Go(func() error { return r.keep(running) })
		group.Go(func() error {
			select {
			case <-running.Done():
				return running.Err()
			case <-gone: // another gateway may have received what this one has not
				return errors.New("the subscription to Redis is lost")
			}
		})
		err = group.Wait()
		b.stream.follow()
	}
	b.Metrics.managerUp.Set(0)
	if errors.Is(err, errLost) {
		b.Log.Warn("the bridge is lost to another gateway", "op", "bridge", "term", r.term)
		return
	}
	limit, cancel = context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if ctx.Err() != nil {
		if err := r.farewell(limit); err != nil {
			b.Log.Warn("OpenTera was not told of the last sockets that ended: the next bridge does", "op", "bridge", "err", err)
		}
	} else {
		b.Log.Warn("the bridge is given back", "op", "bridge", "term", r.term, "err", err)
	}
	if _, err := b.Pool.Exec(limit, leaveSQL, r.term); err != nil {
		b.Log.Warn("the bridge is not given back: its lease runs out by itself", "op", "bridge", "err", err)
	}
}

// renew keeps the lease. Without the database nobody else can take the bridge, so it keeps trying.
func (r *reign) renew(ctx context.Context) error {
	for sleep(ctx, r.Lease/3) {
		now := time.Now()
		switch _, _, err := r.lead(ctx, r.term); {
		case errors.Is(err, errLost):
			return err
		case err == nil:
			if !r.isHeld() { // changes of sockets may not have been recorded
				r.gap.Store(true)
			}
			r.held.Store(now.Add(r.Lease).UnixNano())
		case ctx.Err() == nil:
			r.Log.Warn("the lease of the bridge is not renewed, trying again", "op", "bridge", "err", err)
		}
	}
	return ctx.Err()
}
