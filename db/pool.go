package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout is for a connection whose URL says nothing of connect_timeout: pgx would wait for two minutes on a network
// that swallows everything.
const connectTimeout = 5 * time.Second

// parseURL reads a database URL, with the pool_* parameters that only the pool heeds.
func parseURL(databaseURL string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	if config.ConnConfig.ConnectTimeout > time.Minute { // pgx's own default
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	return config, nil
}

// Open makes the pool for everything but LISTEN and proves that the database can be reached. The URL's own pool_*
// parameters hold; without them at most 8 connections are made.
func Open(ctx context.Context, databaseURL string) (*pgxpool.Pool, error) {
	config, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "terasocket"
	}
	config.MaxConns = max(config.MaxConns, 8)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("the database cannot be reached (does it run, is its URL right?): %w", err)
	}
	return pool, nil
}
