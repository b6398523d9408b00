package audit

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

const (
	flushEvery    = 5 * time.Second  // what a gateway loses that dies without a word
	keepEvery     = time.Hour        // weeks are created two weeks ahead
	statementWait = 10 * time.Second // time limit of a statement
	maxBatch      = 1000             // rows per statement
	maxRuns       = 50_000           // runs per statement, and per row

	// mostHeld bounds what waits to be recorded, in runs of 16 bytes: some 60 MB, or at least 150,000 rows.
	mostHeld = 4 << 20
)

// Config configures a Recorder.
type Config struct {
	Pool      *pgxpool.Pool
	Gateway   string        // as in terasocket.gateways
	Retention time.Duration // weeks that ended longer ago are dropped; at least a day
	Log       *slog.Logger
}

// Recorder records what is sent to the sockets of this gateway. Call Start first, then Run, and Flush at the end.
type Recorder struct {
	Config
	metrics *metrics

	held     atomic.Int64 // runs in trails and rows
	numbers  atomic.Int64 // the last one given to a row
	lost     atomic.Int64 // frames not noted since the last flush
	mostHeld int64
	flushing sync.Mutex // one flush at a time
	rows     []Row      // to be written; guarded by flushing, as is batch
	batch    int        // rows of the next statement: half as many after a failure, then slowly more

	mu     sync.Mutex
	trails []*trail // those that are not empty
}

// New returns a recorder; its metrics are registered with r.
func New(c Config, r prometheus.Registerer) *Recorder {
	recorder := &Recorder{Config: c, mostHeld: mostHeld, batch: maxBatch}
	recorder.metrics = newMetrics(r)
	return recorder
}

// take reserves memory for so many runs; it returns false if there is none.
func (r *Recorder) take(runs int64) bool {
	if r.held.Add(runs) > r.mostHeld {
		r.held.Add(-runs)
		return false
	}
	return true
}

func (r *Recorder) lose(frames int64) {
	r.lost.Add(frames)
	r.metrics.lost.Add(float64(frames))
}

// follow adds a trail that was empty.
func (r *Recorder) follow(t *trail) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trails = append(r.trails, t)
}

// Run records deliveries, and creates and drops weeks, until ctx ends. It returns nil: errors are logged and retried.
func (r *Recorder) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		every(ctx, flushEvery, func() {
			if err := r.Flush(ctx); err != nil && ctx.Err() == nil {
				r.Log.Error("deliveries not recorded, trying again", "op", "audit", "err", err)
			}
		})
		return nil
	})
	group.Go(func() error {
		every(ctx, keepEvery, func() {
			if err := r.Keep(ctx); err != nil && ctx.Err() == nil {
				r.Log.Error("weeks of terasocket.deliveries not made or dropped, trying again in an hour", "op", "audit", "err", err)
			}
		})
		return nil
	})
	return group.Wait()
}

func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}
