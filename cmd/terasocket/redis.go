package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
	"terasocket/bridge"
	"terasocket/ws"
)

// redisFlags are for commands that work beside a running OpenTera.
type redisFlags struct {
	RedisURL string `name:"redis-url" placeholder:"URL" help:"The Redis of a running OpenTera, redis://user:password@host:port/db, or rediss:// for TLS: its login's websocket URLs open sockets here."`
}

// besideOpenTera holds a gateway's side of a running OpenTera.
type besideOpenTera struct {
	redis  *redis.Client
	health *bridge.Health
	bridge *bridge.Bridge // nil until connect
}

// openRedis opens the connection pool for OpenTera's Redis. A wrong setting is an error; an unreachable Redis is not, since
// sockets and database events need none. The caller closes it.
func openRedis(ctx context.Context, source func() (string, error), log *slog.Logger) (*besideOpenTera, error) {
	client, err := bridge.Open(source)
	if err != nil {
		return nil, fmt.Errorf("--redis-url: %w", err)
	}
	health := bridge.NewHealth(client, log)
	if err := health.Start(ctx); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("--redis-url: %w", err)
	}
	return &besideOpenTera{redis: client, health: health}, nil
}

// redisAddress returns the source of the Redis URL.
func (c *serveCmd) redisAddress() func() (string, error) {
	if c.redisSource == nil {
		return func() (string, error) { return c.RedisURL, nil }
	}
	return c.redisSource
}

// redeemer accepts connect tokens, and, with OpenTera's Redis, tickets of OpenTera's login.
func (g *gateway) redeemer() ws.TokenRedeemer {
	if g.openTera == nil {
		return g.tokens
	}
	return &bridge.Tickets{Redis: g.openTera.redis, Tokens: g.tokens}
}

// connect creates the bridge between Redis and the database, for a gateway of that name.
func (o *besideOpenTera) connect(pool *pgxpool.Pool, name string, log *slog.Logger, registry prometheus.Registerer) {
	o.bridge = bridge.New(bridge.Config{Redis: o.redis, Pool: pool, Gateway: name, Log: log, Metrics: bridge.NewMetrics(registry)})
}

// sharedKeys returns OpenTera's keys, if its Redis is known.
func (g *gateway) sharedKeys() access.SharedKeys {
	if g.openTera == nil {
		return nil
	}
	return &bridge.Keys{Redis: g.openTera.redis}
}

// run runs the bridge and the health checks until ctx ends.
func (o *besideOpenTera) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return o.health.Run(ctx) })
	group.Go(func() error { return o.bridge.Run(ctx) })
	return group.Wait()
}

func (o *besideOpenTera) close() { _ = o.redis.Close() }

// degraded returns what does not work although clients can connect, "" for nothing.
func (o *besideOpenTera) degraded() string {
	if o == nil {
		return ""
	}
	if err := o.health.Err(); err != nil {
		return "OpenTera's Redis: " + oneLine(err)
	}
	if err := o.bridge.Err(); err != nil {
		return "what OpenTera publishes is not heard: " + oneLine(err)
	}
	return ""
}
