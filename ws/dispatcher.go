package ws

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// Dispatcher moves events from the log to the hub, in order. All fields are required. There is one per hub.
type Dispatcher struct {
	Source  Source
	Hub     *Hub
	Log     *slog.Logger
	Metrics *Metrics
}

// Run dispatches until ctx ends, then returns nil.
func (d *Dispatcher) Run(ctx context.Context) error {
	var cursors sync.WaitGroup
	cursors.Go(func() { d.Hub.sendCursors(ctx) })
	defer cursors.Wait()
	defer d.Hub.lookUps.Wait()
	isBegun := false
	var pause backoff
	for ctx.Err() == nil {
		err := d.next(ctx, &isBegun)
		switch {
		case err == nil:
			pause.reset()
			continue
		case ctx.Err() != nil:
		case errors.Is(err, ErrBroken):
			isBegun = false
			n := d.Hub.interrupt()
			if errors.Is(err, ErrRestarted) {
				d.Log.Warn("PostgreSQL was started again: all sockets are closed, and clients resume", "op", "next", "sockets", n)
			} else {
				d.Log.Error("events are missing, all sockets are closed to resume", "op", "next", "sockets", n, "err", err)
			}
		default:
			d.Metrics.sourceErrors.Inc()
			d.Log.Error("next events not read, trying again", "op", "next", "err", err)
		}
		pause.wait(ctx)
	}
	return nil
}

func (d *Dispatcher) next(ctx context.Context, isBegun *bool) error {
	if !*isBegun {
		b, err := d.Source.Begin(ctx)
		if err != nil {
			return err
		}
		d.Hub.begin(b)
		*isBegun = true
	}
	batch, err := d.Source.Next(ctx)
	if err != nil {
		return err
	}
	for i := range batch {
		d.Metrics.dispatched.WithLabelValues(sourceOf(&batch[i]), batch[i].TypeName()).Inc()
	}
	d.Hub.Dispatch(ctx, batch)
	return nil
}

// backoff doubles from firstPause to longestPause, with half of each pause random.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(firstPause, 2*b.next), longestPause)
	return sleep(ctx, b.next/2+rand.N(b.next/2+1))
}
