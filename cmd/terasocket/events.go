package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"terasocket/db"
	"terasocket/eventlog"
)

// events is the part of package eventlog that a gateway runs.
type events struct {
	pool       *pgxpool.Pool
	progress   *eventlog.Progress
	feed       *eventlog.Feed
	history    *eventlog.History
	announcer  *eventlog.Announcer
	trimmer    *eventlog.Trimmer
	reconciler *eventlog.Reconciler
	triggers   *eventlog.Triggers
}

const (
	trimEvery      = time.Minute
	reconcileEvery = time.Minute
	reconcileSlice = 1000
	triggersEvery  = time.Minute
	lagLimit       = 30 * time.Second // a gateway further behind is not ready
)

func newEvents(cfg *serveCmd, pool *pgxpool.Pool, listener *db.Listener, log *slog.Logger, registry prometheus.Registerer) *events {
	metrics, progress := eventlog.NewMetrics(registry), eventlog.NewProgress(listener)
	progress.Register(registry)
	feed := eventlog.NewFeed(eventlog.FeedConfig{Pool: pool, Listener: listener, Progress: progress, Log: log, Metrics: metrics})
	triggers := &eventlog.Triggers{Pool: pool, Every: triggersEvery, Log: log}
	triggers.Register(registry)
	return &events{
		pool:     pool,
		progress: progress,
		feed:     feed,
		history:  eventlog.NewHistory(pool, feed, log, metrics),
		announcer: eventlog.NewAnnouncer(eventlog.AnnouncerConfig{
			Pool: pool, Listener: listener, Progress: progress, Feed: feed, Log: log, Metrics: metrics}),
		trimmer:    &eventlog.Trimmer{Pool: pool, Retention: cfg.LogRetention, MaxRows: cfg.LogMaxRows, Every: trimEvery, Log: log},
		reconciler: &eventlog.Reconciler{Pool: pool, Every: reconcileEvery, Slice: reconcileSlice, Log: log, Metrics: metrics},
		triggers:   triggers,
	}
}

// run announces, trims, compares and checks the triggers until ctx ends. (The dispatcher reads.)
func (e *events) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.announcer.Run(ctx) })
	group.Go(func() error { return e.trimmer.Run(ctx) })
	group.Go(func() error { return e.reconciler.Run(ctx) })
	group.Go(func() error { return e.triggers.Run(ctx) })
	return group.Wait()
}

// ready returns why changes would not be delivered now.
func (e *events) ready(ctx context.Context) error {
	var isFilled bool
	if err := e.pool.QueryRow(ctx, "SELECT terasocket.is_filled()").Scan(&isFilled); err != nil {
		return fmt.Errorf("ask whether changes can be announced: %w", err)
	}
	if !isFilled {
		return errors.New("the memory of announcements is being filled")
	}
	return e.progress.Err(lagLimit)
}
