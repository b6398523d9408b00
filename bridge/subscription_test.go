package bridge

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
)

// go-redis resubscribes by itself when a Ping fails: while the receiver waits for room, that would be an unnoticed outage.
func TestOutageWhileTheStreamIsFull(t *testing.T) {
	t.Parallel()
	for name, silence := range map[string]time.Duration{"a sign of life fails": 100 * time.Millisecond, "catching up fails": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := standin.StartRedis(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer server.Stop()
			client, err := Open(func() (string, error) { return server.URL(), nil })
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			metrics := NewMetrics(prometheus.NewRegistry())
			full := newStream()
			full.lead(place{})
			for !full.isFull() {
				full.must(t, full.put(t.Context(), heard{}))
			}
			s := newSubscription(Config{Redis: client, Log: slog.New(slog.DiscardHandler), Metrics: metrics, Silence: silence}, full)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { s.run(ctx) })
			defer func() { cancel(); running.Wait() }()
			dbtest.Eventually(t, "it is subscribed", func() bool { return s.err() == nil })
			full.must(t, client.Publish(ctx, eventsTopic, "waits for room").Err())
			full.must(t, client.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err())
			if silence == time.Hour {
				dbtest.Eventually(t, "it cannot ask", func() bool {
					short, end := context.WithTimeout(ctx, 50*time.Millisecond)
					defer end()
					err := s.catchUp(short)
					return err != nil && short.Err() == nil
				})
				full.follow() // makes room
			}
			dbtest.Eventually(t, "the outage is counted", func() bool { return testutil.ToFloat64(metrics.outages) == 1 })
			dbtest.Eventually(t, "it is subscribed again", func() bool { return s.err() == nil })
		})
	}
}

// A connection that was resubscribed silently counts as another one.
func TestSubscribedAnew(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.bridge(nil)
	b.sub.mu.Lock()
	sub := b.sub.sub
	b.sub.mu.Unlock()
	s.must(sub.Subscribe(t.Context(), eventsTopic))
	s.eventually("it is an outage", func() bool { return testutil.ToFloat64(b.metrics.outages) == 1 })
	s.eventually("it is subscribed again", func() bool { return b.Err() == nil })
}
