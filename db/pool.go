package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// For a connection of the pool that was idle, and for a new one.
const (
	pingTimeout    = 2 * time.Second
	connectTimeout = 5 * time.Second
)

// Open makes the pool for everything but LISTEN and proves that the database can be reached. The URL's own pool_*
// parameters and connect_timeout hold; without them at most 8 connections are made, each within 5 s.
func Open(ctx context.Context, databaseURL string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "terasocket"
	}
	if !strings.Contains(databaseURL, "pool_max_conns") {
		config.MaxConns = max(config.MaxConns, 8)
	}
	// what is half-open never answers: who asks must not spend its own time on one after the other
	setDefault(&config.PingTimeout, pingTimeout)
	if !strings.Contains(databaseURL, "connect_timeout") {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
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
