package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ListenerConfig configures a Listener. Zero values stand for the defaults given.
type ListenerConfig struct {
	DatabaseURL string        // a direct connection: LISTEN does not work through a transaction pooler
	Source      Source        // of the same URL, asked at each new connection; nil: DatabaseURL
	PingEvery   time.Duration // how long to wait for a notification before pinging the server (10 s)
	PingTimeout time.Duration // time limit of a ping, or of a new connection (5 s)
	RetryMin    time.Duration // first pause before reconnecting (100 ms); it doubles
	RetryMax    time.Duration // longest pause (5 s); each is reduced by a random part, up to half
	Log         *slog.Logger
	Metrics     *Metrics
}

// Listener receives the notifications of both channels on a connection of its own, and keeps them until they are taken.
type Listener struct {
	cfg   ListenerConfig
	conn  *pgx.Conn   // of Run or Close, whichever is called first
	owned atomic.Bool // one of them was called
	heard *heard

	database string // of the first connection, see whichDatabase
}

// Listen connects and LISTENs, so that a bad setting fails at start; call Run afterwards.
func Listen(ctx context.Context, cfg ListenerConfig) (*Listener, error) {
	setDefault(&cfg.PingEvery, 10*time.Second)
	setDefault(&cfg.PingTimeout, 5*time.Second)
	setDefault(&cfg.RetryMin, 100*time.Millisecond)
	setDefault(&cfg.RetryMax, 5*time.Second)
	if cfg.Source == nil {
		cfg.Source = Fixed(cfg.DatabaseURL)
	}
	l := &Listener{cfg: cfg, heard: newHeard()}
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	if err := l.conn.QueryRow(ctx, whichDatabase, pgx.QueryExecModeExec).Scan(&l.database); err != nil {
		l.disconnect()
		return nil, fmt.Errorf("ask for the listener's database: %w", err)
	}
	return l, nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Run receives until ctx ends, reconnecting whenever the connection is lost, and closes the connection. It returns nil.
func (l *Listener) Run(ctx context.Context) error {
	if !l.owned.CompareAndSwap(false, true) {
		return nil
	}
	defer l.disconnect()
	pause := l.cfg.RetryMin
	for {
		if l.conn != nil {
			pause = l.cfg.RetryMin
			err := l.receive(ctx)
			l.disconnect()
			if ctx.Err() != nil {
				return nil
			}
			l.cfg.Log.Warn("listener lost its connection", "err", err)
		}
		jittered := pause - time.Duration(rand.Int64N(int64(pause)/2+1))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jittered):
		}
		pause = min(2*pause, l.cfg.RetryMax)
		if err := l.connect(ctx); err != nil {
			if ctx.Err() == nil {
				l.cfg.Log.Warn("listener cannot connect", "err", err)
			}
			continue
		}
		l.cfg.Metrics.Reconnects.Inc()
		l.cfg.Log.Info("listener is back")
	}
}

// Close closes the connection unless Run was called, which may still be using it at the end of a process.
func (l *Listener) Close() {
	if l.owned.CompareAndSwap(false, true) {
		l.disconnect()
	}
}

func (l *Listener) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.PingTimeout)
	defer cancel()
	config, err := l.cfg.Source.read()
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	config.ConnConfig.RuntimeParams["application_name"] = "terasocket listener"
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return fmt.Errorf("connect the listener: %w", err)
	}
	if _, err := conn.PgConn().Exec(ctx, "LISTEN "+ChangeChannel+"; LISTEN "+LogChannel).ReadAll(); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return fmt.Errorf("listen: %w", err)
	}
	// a listener is mostly idle; this limit exists only since PostgreSQL 14
	if _, err := conn.Exec(ctx, "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return fmt.Errorf("listen without idle_session_timeout: %w", err)
	}
	if err := mustOwnSession(ctx, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return err
	}
	l.conn = conn
	l.heard.connected()
	l.cfg.Metrics.up.Store(true)
	return nil
}

func (l *Listener) disconnect() {
	l.cfg.Metrics.up.Store(false)
	l.heard.disconnected()
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.Close(ctx)
	l.conn = nil
}

// receive receives notifications until the connection fails.
func (l *Listener) receive(ctx context.Context) error {
	for {
		waitCtx, cancel := context.WithTimeout(ctx, l.cfg.PingEvery)
		n, err := l.conn.WaitForNotification(waitCtx)
		isIdle := errors.Is(waitCtx.Err(), context.DeadlineExceeded)
		cancel()
		switch {
		case err == nil:
			l.hear(n)
		case ctx.Err() != nil:
			return ctx.Err()
		case isIdle && !l.conn.IsClosed():
			pingCtx, cancel := context.WithTimeout(ctx, l.cfg.PingTimeout)
			err := l.conn.Ping(pingCtx)
			cancel()
			if err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		default:
			return fmt.Errorf("wait for a notification: %w", err)
		}
	}
}

// hear records a notification. Its text is not logged: anyone may have written it.
func (l *Listener) hear(n *pgconn.Notification) {
	l.cfg.Metrics.Notifications.Inc()
	ok, complain := l.heard.hear(n.Channel, n.Payload)
	if !ok {
		l.cfg.Metrics.Malformed.Inc()
	}
	if complain > 0 {
		l.cfg.Log.Warn("notifications that terasocket did not send", "count", complain)
	}
}
