package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// For a connection of the pool that was idle, and for a new one, unless the URL says connect_timeout: pgx would wait for two
// minutes on a network that swallows everything.
const (
	pingTimeout    = 2 * time.Second
	connectTimeout = 5 * time.Second
)

// parseURL reads a database URL, with the pool_* parameters that only the pool heeds.
func parseURL(databaseURL string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	if !strings.Contains(databaseURL, "connect_timeout") {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	return config, nil
}

// Open makes the pool for everything but LISTEN and proves that the database can be reached. The URL's own pool_*
// parameters and connect_timeout hold; without them at most 8 connections are made, each within 5 s.
func Open(ctx context.Context, databaseURL string) (*pgxpool.Pool, error) {
	config, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "terasocket"
	}
	if !strings.Contains(databaseURL, "pool_max_conns") {
		config.MaxConns = max(config.MaxConns, 8)
	}
	// what is half-open never answers: who asks must not spend its own time on one after the other
	setDefault(&config.PingTimeout, pingTimeout)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("the database cannot be reached (does it run, is its URL right?): %w", crowded(err))
	}
	return pool, nil
}

// crowded says what to do when the server has no connection left.
func crowded(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "53300" {
		return fmt.Errorf("no connection left: raise max_connections, or the CONNECTION LIMIT of the role or the database, or lower pool_max_conns in the URL: %w", err)
	}
	return err
}
