package bridge

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
)

// BenchmarkMessages measures how many messages a second go from Redis into the log, published as fast as Redis accepts them:
// from the first PUBLISH to the commit of the last. Announcement is not included.
func BenchmarkMessages(b *testing.B) {
	url := dbtest.New(b, Migrated())
	conn := dbtest.Conn(b, url)
	dbtest.Announce(b, conn, 2000)
	server, err := standin.StartRedis(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer server.Stop()
	client, err := Open(func() (string, error) { return server.URL(), nil })
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	bridge := New(Config{Redis: client, Pool: dbtest.Pool(b, url), Gateway: "here", Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = bridge.Run(ctx) }()
	defer func() { cancel(); <-done }()
	dbtest.Eventually(b, "it holds the bridge", func() bool {
		bridge.stream.mu.Lock()
		defer bridge.stream.mu.Unlock()
		return bridge.stream.isLeader
	})
	const burst = 5000
	written := 0
	b.ReportAllocs()
	for b.Loop() {
		pipe := client.Pipeline()
		for n := range burst {
			if err := queue(ctx, pipe, topicOne, numbered(topicOne, n, n)); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
		written += burst
		for dbtest.One[int](b, conn, "SELECT count(*) FROM terasocket.changes") < written {
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64(written)/b.Elapsed().Seconds(), "messages/s")
}
