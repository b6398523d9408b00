package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db"
)

const (
	// openTimeout bounds the start, without --wait-for-database: a proxy that accepts connections and never answers must not
	// block it for ever.
	openTimeout = 30 * time.Second

	databaseRetry = time.Second
)

// sources returns the URLs of the pool and of the listener.
func (c *serveCmd) sources(databaseURL string) (pool, listener db.Source) {
	pool, listener = c.source, c.listenSource
	if pool == nil {
		pool = db.Fixed(databaseURL)
	}
	switch {
	case c.ListenDatabaseURL == "":
		listener = pool
	case listener == nil:
		listener = db.Fixed(c.ListenDatabaseURL)
	}
	return pool, listener
}

// openPool waits up to wait for a database that cannot be reached yet.
func openPool(ctx context.Context, source db.Source, wait time.Duration, log *slog.Logger) (*pgxpool.Pool, error) {
	for end := time.Now().Add(wait); ; {
		pool, err := db.OpenSource(ctx, source)
		if err == nil || ctx.Err() != nil || time.Until(end) <= 0 {
			return pool, err
		}
		log.Warn("waiting for the database", "op", "start", "err", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(min(databaseRetry, max(time.Until(end), 0))):
		}
	}
}

// whatWasSilent says what to check after a start that took too long.
func whatWasSilent(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the database did not answer in time: does it run, and is there a proxy before it that does not reach it? %w", err)
	}
	return err
}

// readAgain reloads at each SIGHUP what can be reloaded, until ctx ends. Password files need no signal: they are read at each
// new connection.
func (g *gateway) readAgain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.cfg.hangUp:
		}
		if g.certificate == nil {
			g.log.Info("SIGHUP: nothing to read again; files of database URLs are read at each new connection")
			continue
		}
		if err := g.certificate.readAgain(); err != nil {
			g.log.Error("SIGHUP: not read again, what there was stays in use", "op", "read again", "err", err)
			continue
		}
		g.log.Info("SIGHUP: certificate and --client-ca read again; files of database URLs are read at each new connection")
	}
}
