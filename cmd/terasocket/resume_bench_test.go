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

// statements counts what a pool sends, each statement of a batch for itself.
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

// paulsDoor lets everybody in as paul.
type paulsDoor struct{}

func (paulsDoor) Redeem(context.Context, access.Kind, string) (access.Identity, error) {
	return access.Identity{Principal: access.Principal{Kind: access.User, ID: opentera.DemoProjectUserID}}, nil
}

// BenchmarkResume is what a restart brings: so many clients come back at once, each with a cursor of its own some 10,000
// rows back, and read all that they missed.
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
	if _, err := pool.Exec(b.Context(), `DO $$ BEGIN FOR i IN 1..11000 LOOP
		UPDATE t_participants SET participant_name = i::text WHERE id_participant = 1 + i % 5; COMMIT; END LOOP; END $$`); err != nil {
		b.Fatal(err)
	}
	var last int64
	if err := pool.QueryRow(b.Context(), "SELECT max(seq) FROM terasocket.events").Scan(&last); err != nil {
		b.Fatal(err)
	}
	for _, clients := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			log, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
			metrics := ws.NewMetrics(registry)
			router := chi.NewRouter()
			ws.Handler{Door: paulsDoor{}, Hub: ws.NewHub(log, metrics), Log: log, Metrics: metrics, DefaultEncoding: event.Protobuf,
				History: &history{newDecoder(log, registry), &db.History{Pool: pool}}, Audience: &access.Rules{Pool: pool}}.Routes(router)
			server := httptest.NewUnstartedServer(router)
			server.Listener = &ws.Listener{Listener: server.Listener}
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
						for range gap + i%1000 {
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
