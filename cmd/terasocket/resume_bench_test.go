package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	"terasocket/ws"
)

// statements counts the statements that a pool sends, each one of a batch.
type statements struct{ n atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.n.Add(1)
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (s *statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) { s.n.Add(1) }
func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// paulsDoor admits everybody as paul.
type paulsDoor struct{}

func (paulsDoor) Redeem(context.Context, access.Kind, string) (access.Identity, error) {
	return access.Identity{Principal: access.Principal{Kind: access.User, ID: opentera.DemoProjectUserID}}, nil
}

// BenchmarkResume measures what follows a restart: many clients return at once, each with its own cursor some 10,000 rows back,
// and read everything that they missed.
func BenchmarkResume(b *testing.B) {
	const gap = 10_000
	url := dbtest.New(b, migrated())
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	counted := new(statements)
	config.MaxConns, config.ConnConfig.Tracer = 8, counted
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	registry := prometheus.NewRegistry()
	log, metrics := slog.New(slog.DiscardHandler), ws.NewMetrics(registry)
	listener, err := db.Listen(b.Context(), db.ListenerConfig{DatabaseURL: url, Log: log, Metrics: db.NewMetrics(registry)})
	if err != nil {
		b.Fatal(err)
	}
	events := newEvents(&serveCmd{LogRetention: time.Hour, LogMaxRows: 1_000_000}, pool, listener, log, registry)
	if err := events.announcer.First(b.Context()); err != nil {
		b.Fatal(err)
	}
	hub := ws.NewHub(events.history, log, metrics)
	running, stop := context.WithCancel(context.Background())
	var gateway errgroup.Group
	gateway.Go(func() error { return listener.Run(running) })
	gateway.Go(func() error { return events.run(running) })
	gateway.Go(func() error {
		return (&ws.Dispatcher{Source: events.feed, Hub: hub, Log: log, Metrics: metrics}).Run(running)
	})
	b.Cleanup(func() { stop(); _ = gateway.Wait() })
	var first int64
	for !hub.Ready() {
		time.Sleep(time.Millisecond)
	}
	first = int64(events.feed.LastSeen())
	if _, err := pool.Exec(b.Context(), `SELECT terasocket.publish('websocket.user.' || u.user_uuid || '.events', jsonb_build_object(
		'@type', 'type.googleapis.com/opentera.protobuf.UserEvent', 'userUuid', u.user_uuid, 'userFullname', i::text))
		FROM t_users u, generate_series(1, 11000) i WHERE u.id_user = $1`, opentera.DemoProjectUserID); err != nil {
		b.Fatal(err)
	}
	last := first + 11_000
	for int64(events.feed.LastSeen()) < last {
		time.Sleep(time.Millisecond)
	}
	for _, clients := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			router := chi.NewRouter()
			ws.Handler{Tokens: paulsDoor{}, Hub: hub, Log: log, Metrics: metrics, DefaultEncoding: event.Protobuf, Replays: events.history}.Routes(router)
			server := httptest.NewUnstartedServer(router)
			server.Listener = &ws.SocketListener{Listener: server.Listener}
			server.Start()
			defer server.Close()
			base := "ws" + strings.TrimPrefix(server.URL, "http")
			before := counted.n.Load()
			for b.Loop() {
				var group errgroup.Group
				for i := range clients {
					group.Go(func() error {
						socket, _, err := websocket.DefaultDialer.Dial(fmt.Sprintf("%s/wss/user?id=x&since=%d", base, last-gap-int64(i%1000)), nil)
						if err != nil {
							return err
						}
						defer socket.Close()
						for range 1 + gap + i%1000 { // a Cursor first
							_ = socket.SetReadDeadline(time.Now().Add(time.Minute))
							if _, _, err := socket.ReadMessage(); err != nil {
								return err
							}
						}
						return nil
					})
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(counted.n.Load()-before)/float64(b.N), "statements/op")
		})
	}
}
