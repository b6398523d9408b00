package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// For a connection of the pool that was idle, and for a new one.
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
// parameters, connect_timeout and default_query_exec_mode hold; without them at most 8 connections are made, each within
// 5 s, and statements are prepared unless there is a pooler such as PgBouncer in between.
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
	pool, isPooled, err := open(ctx, config)
	if err != nil || !isPooled || strings.Contains(databaseURL, "default_query_exec_mode") {
		return pool, err
	}
	// the next transaction may not find what this one has prepared
	pool.Close()
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, _, err = open(ctx, config)
	return pool, err
}

// open makes a pool, and says whether there is a pooler between it and the server.
func open(ctx context.Context, config *pgxpool.Config) (pool *pgxpool.Pool, isPooled bool, err error) {
	if pool, err = pgxpool.NewWithConfig(ctx, config.Copy()); err != nil {
		return nil, false, fmt.Errorf("open pool: %w", err)
	}
	err = pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		backend, err := backendPID(ctx, c.Conn())
		isPooled = backend != c.Conn().PgConn().PID()
		return err
	})
	if err != nil {
		pool.Close()
		return nil, false, fmt.Errorf("the database cannot be reached (does it run, is its URL right?): %w", crowded(err))
	}
	return pool, isPooled, nil
}

// crowded says what to do when the server has no connection left.
func crowded(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "53300" {
		return fmt.Errorf("no connection left: raise max_connections, or the CONNECTION LIMIT of the role or the database, or lower pool_max_conns in the URL: %w", err)
	}
	return err
}
