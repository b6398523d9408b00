package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Limits for an idle connection of the pool, and for a new one.
const (
	pingTimeout    = 2 * time.Second
	connectTimeout = 5 * time.Second
)

// openLimit bounds Open: a proxy that accepts connections and never answers must not hold it for ever.
const openLimit = 10 * time.Second

// Open makes the pool for everything but LISTEN and checks that the database can be reached, within 10 s. The URL's own pool_*
// parameters, connect_timeout and default_query_exec_mode apply; otherwise there are at most 8 connections, each made within 5 s, and
// statements are prepared unless there is a pooler such as PgBouncer in between. No statement takes longer than a minute.
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
	// a half-open connection never answers: a caller must not spend its time on one after the other
	setDefault(&config.PingTimeout, pingTimeout)
	config.BeforeConnect = source.renew
	isPooled, err := isPooled(ctx, config.ConnConfig)
	switch {
	case err != nil:
		return nil, err
	case !isPooled:
		config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
	case !config.has("default_query_exec_mode"): // the next transaction may not find the statements that this one has prepared
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	w := &watch{}
	config.ConnConfig.Tracer = w
	pool, err := pgxpool.NewWithConfig(ctx, config.Config)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	w.mu.Lock()
	w.pool = pool
	w.mu.Unlock()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("the database cannot be reached: %w", err)
	}
	return pool, nil
}

// isPooled says whether there is a pooler in between. What its connections share cannot be set for us: an error says what must be.
func isPooled(ctx context.Context, config *pgx.ConnConfig) (is bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, fmt.Errorf("the database cannot be reached: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	backend, err := backendPID(ctx, conn)
	if err != nil {
		return false, fmt.Errorf("the database cannot be reached: %w", err)
	}
	if backend == conn.PgConn().PID() {
		return false, nil
	}
	var level string
	if err := conn.QueryRow(ctx, "SHOW default_transaction_isolation", pgx.QueryExecModeExec).Scan(&level); err != nil {
		return false, fmt.Errorf("ask for default_transaction_isolation: %w", err)
	}
	if level != "read committed" {
		return false, fmt.Errorf("default_transaction_isolation is %q behind the connection pooler, and terasocket needs READ COMMITTED: "+
			"ALTER ROLE %s SET default_transaction_isolation = 'read committed'", level, pgx.Identifier{config.User}.Sanitize())
	}
	return true, nil
}
