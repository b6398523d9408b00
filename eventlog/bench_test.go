package eventlog_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
	"terasocket/eventlog"
	"terasocket/migrations"
)

// BenchmarkWriters has concurrent sessions update a row each, one transaction per update, while a gateway announces: without triggers
// (plain), with notifications, and while the gateway polls; in turn, each compared with the plain run of its turn. fsync is on; with
// "flush 5 ms" each flush takes 5 ms more (commit_delay).
//
//	go test ./eventlog -run '^$' -bench Writers
func BenchmarkWriters(b *testing.B) {
	for _, flush := range []string{"", "5000"} {
		settings := map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_prepared_transactions": "0", "max_wal_size": "1GB"}
		counts := []int{1, 4, 16}
		name := "%d writers"
		if flush != "" {
			settings["commit_delay"], settings["commit_siblings"] = flush, "0"
			counts, name = []int{8}, "%d writers, flush 5 ms"
		}
		server, err := embedded.Start(b.Context(), embedded.Config{Settings: settings})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = server.Stop() })
		url := server.URL("postgres")
		if err := dbtest.OpenTera("writers", migrations.Up).Fill(b.Context(), url); err != nil {
			b.Fatal(err)
		}
		conn := dbtest.Conn(b, url)
		dbtest.Exec(b, conn, `INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_token_enabled, participant_enabled,
			participant_login_enabled, id_project, version_id) SELECT 100000 + i, 'many-' || i, 'Participant ' || i, false, true, false, 1, 1 FROM generate_series(0, 15) i`)
		dbtest.Exec(b, conn, "VACUUM ANALYZE")
		for _, writers := range counts {
			b.Run(fmt.Sprintf(name, writers), func(b *testing.B) { benchWriters(b, url, writers) })
		}
	}
}

func benchWriters(b *testing.B, url string, writers int) {
	const turns, turn = 4, 2 * time.Second
	plain := dbtest.NewWriters(b, url, writers, "SET session_replication_role = replica")
	captured := dbtest.NewWriters(b, url, writers, "SET jit = off")
	var without, notified, polled float64
	rounds := 0
	for b.Loop() {
		for ; rounds < turns; rounds++ {
			without += plain.Write(b, turn)
			for setting, sum := range map[string]*float64{"off": &notified, "": &polled} {
				isPolling, stop := announcing(b, url, setting)
				for end := time.Now().Add(10 * time.Second); ; {
					captured.Write(b, 500*time.Millisecond)
					if isPolling() == (setting == "") {
						break
					}
					if time.Now().After(end) {
						b.Error("it does not poll")
						break
					}
				}
				*sum += captured.Write(b, turn)
				stop()
			}
		}
	}
	n := float64(rounds)
	b.ReportMetric(without/n, "plain/s")
	b.ReportMetric(notified/n, "notified/s")
	b.ReportMetric(polled/n, "polled/s")
	b.ReportMetric(notified/without, "notified/plain")
	b.ReportMetric(polled/without, "polled/plain")
	b.ReportMetric(0, "ns/op")
}

// announcing runs a gateway without sockets until stop is called.
func announcing(b *testing.B, url, poll string) (isPolling func() bool, stop func()) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["terasocket.poll"] = poll
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	registry, log := prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil))
	metrics := eventlog.NewMetrics(registry)
	listener, err := db.Listen(b.Context(), db.ListenerConfig{DatabaseURL: url, Log: log, Metrics: db.NewMetrics(registry)})
	if err != nil {
		b.Fatal(err)
	}
	progress := eventlog.NewProgress(listener)
	feed := eventlog.NewFeed(eventlog.FeedConfig{Pool: pool, Listener: listener, Progress: progress, Log: log, Metrics: metrics})
	announcer := eventlog.NewAnnouncer(eventlog.AnnouncerConfig{Pool: pool, Listener: listener, Progress: progress, Feed: feed, Log: log, Metrics: metrics})
	if err := announcer.First(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := feed.Begin(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	group.Go(func() error { return listener.Run(ctx) })
	group.Go(func() error { return announcer.Run(ctx) })
	group.Go(func() error {
		for ctx.Err() == nil {
			_, _ = feed.Next(ctx)
		}
		return nil
	})
	isPolling = func() bool {
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "terasocket_polling" {
				return f.GetMetric()[0].GetGauge().GetValue() == 1
			}
		}
		return false
	}
	return isPolling, func() {
		cancel()
		_ = group.Wait()
		pool.Close()
	}
}
