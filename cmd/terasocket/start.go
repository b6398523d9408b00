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
	// openTimeout bounds the start, beside --wait-for-database: a proxy that takes connections and says nothing must not
	// hold it for ever.
	openTimeout = 30 * time.Second

	databaseRetry = time.Second
)

// sources give the URLs of the pool and of the listener.
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

// openPool waits for a database that cannot be reached yet, for that long.
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

// whatWasSilent says of a start that took too long what to look at.
func whatWasSilent(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the database did not answer in time: does it run, and is there a proxy before it that does not reach it? %w", err)
	}
	return err
}

// readAgain reads at each SIGHUP what can be read while the gateway runs, until ctx ends. Files of passwords need none: they
// are read at each new connection.
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
