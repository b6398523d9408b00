package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// What the end may take beyond --drain-time. Together this is at most stopWithin and, with the default drain time, less than
// the 10 s after which Docker and others kill.
const (
	stopTimeout     = time.Second // for clients that do not answer the close frame
	handoverTimeout = time.Second // these apply if the database is down
	shutdownTimeout = 500 * time.Millisecond
	poolTimeout     = 500 * time.Millisecond

	stopWithin = 3500 * time.Millisecond
)

// errStopTimeout means that something did not end. The process ends all the same.
var errStopTimeout = errors.New("not everything ended in time")

// stop drains: no new sockets, open ones closed with 1012 over --drain-time, events delivered until the last.
func (g *gateway) stop(ctx context.Context) error {
	g.log.Info("stopping", "sockets", g.hub.Len())
	limit, cancel := context.WithTimeout(ctx, g.cfg.DrainTime+stopTimeout)
	defer cancel()
	if err := g.hub.Drain(limit, g.cfg.DrainTime); err != nil {
		g.log.Warn("sockets cut off", "err", err)
	}
	limit, cancel = context.WithTimeout(ctx, handoverTimeout)
	defer cancel()
	var last errgroup.Group
	last.Go(func() error {
		if err := waitAtMost(limit, func() error { return g.presence.Handover(limit) }, 0); err != nil {
			g.log.Warn("presence not handed over: the lease runs out by itself", "err", err)
		}
		return nil
	})
	if g.audit != nil {
		if err := waitAtMost(limit, func() error { return g.audit.Flush(limit) }, 0); err != nil {
			g.log.Error("the audit is not whole: the last deliveries are not recorded", "op", "audit", "err", err)
		}
	}
	_ = last.Wait()
	var servers errgroup.Group
	servers.Go(func() error {
		limit, cancel := context.WithTimeout(ctx, shutdownTimeout)
		defer cancel()
		err := shutdown(g.server)
		g.api.Recorded(limit)
		return err
	})
	servers.Go(func() error { return shutdown(g.adminSrv) })
	return servers.Wait()
}

// waitAtMost returns the result of wait; once ctx has ended, it waits for limit at most.
func waitAtMost(ctx context.Context, wait func() error, limit time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return errStopTimeout
	}
}

// shutdown stops a server and, after a moment, its requests, including those waiting for the database.
func shutdown(server *http.Server) error {
	limit, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(limit); errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	} else {
		return err
	}
}

// closePool does not wait for half-open connections: pgx spends up to 15 s closing each.
func closePool(pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() { pool.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(poolTimeout):
	}
}
