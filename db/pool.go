package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// For a connection of the pool that was idle, and for a new one.
const (
	pingTimeout    = 2 * time.Second
	connectTimeout = 5 * time.Second
)

// openLimit bounds what Open may take: a proxy that takes connections and says nothing must not hold it for ever.
const openLimit = 10 * time.Second

// Open makes the pool for everything but LISTEN and proves that the database can be reached, within 10 s. The URL's own
// pool_* parameters, connect_timeout and default_query_exec_mode hold; without them at most 8 connections are made, each
// within 5 s, and statements are prepared unless there is a pooler such as PgBouncer in between. No statement takes longer
// than a minute.
func Open(ctx context.Context, databaseURL string) (*pgxpool.Pool, error) {
	return OpenSource(ctx, Fixed(databaseURL))
}

// OpenSource is Open with a URL that may change.
func OpenSource(ctx context.Context, source Source) (*pgxpool.Pool, error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	config, err := source.read()
	if err != nil {
		return nil, err
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "terasocket"
	}
	if !config.has("pool_max_conns") {
		config.MaxConns = max(config.MaxConns, 8)
	}
	// what is half-open never answers: who asks must not spend its own time on one after the other
	setDefault(&config.PingTimeout, pingTimeout)
	config.BeforeConnect = source.renew
	pool, isPooled, err := open(ctx, config.Config)
	if err != nil || !isPooled || config.has("default_query_exec_mode") {
		return pool, err
	}
	// the next transaction may not find what this one has prepared
	pool.Close()
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, _, err = open(ctx, config.Config)
	return pool, err
}

// open makes a pool, and says whether there is a pooler between it and the server.
func open(ctx context.Context, config *pgxpool.Config) (pool *pgxpool.Pool, isPooled bool, err error) {
	config = config.Copy()
	w := &watch{}
	config.ConnConfig.Tracer = w
	if pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, false, fmt.Errorf("open pool: %w", err)
	}
	w.mu.Lock()
	w.pool = pool
	w.mu.Unlock()
	err = pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		backend, err := backendPID(ctx, c.Conn())
		isPooled = backend != c.Conn().PgConn().PID()
		return err
	})
	if err != nil {
		pool.Close()
		return nil, false, fmt.Errorf("the database cannot be reached: %w", err)
	}
	return pool, isPooled, nil
}
