package eventlog

import (
	"context"
	_ "embed"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Gauges exports what only the database knows. It queries at most every 10 s and waits at most 2 s; without an answer the values are
// absent, and terasocket_database_up is 0.
type Gauges struct {
	pool *pgxpool.Pool

	up, usage, rows, oldest, waiting, waitingOldest, aside, errors *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	last  []prometheus.Metric // the last answer
}

const (
	gaugesEvery = 10 * time.Second
	gaugesWait  = 2 * time.Second
)

//go:embed sql/gauges.sql
var gaugesSQL string

// NewGauges returns the collector; the caller registers it.
func NewGauges(pool *pgxpool.Pool) *Gauges {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &Gauges{
		pool:          pool,
		up:            desc("terasocket_database_up", "1 when the database answered the question for the gauges, asked every 10 s at most."),
		usage:         desc("terasocket_notify_queue_usage_ratio", "Used part of PostgreSQL's queue of notifications, 0 to 1."),
		rows:          desc("terasocket_log_rows", "Rows of the event log, by their numbers."),
		oldest:        desc("terasocket_log_oldest_seconds", "Age of the oldest row of the event log; clients can resume that far back."),
		waiting:       desc("terasocket_changes_waiting", "Changes that are not announced yet, counted up to 10,000. The same in every gateway."),
		waitingOldest: desc("terasocket_changes_oldest_seconds", "Age of the oldest change that is not announced yet."),
		aside:         desc("terasocket_set_aside_objects", "Objects that cannot be announced: see table terasocket.set_aside."),
		errors:        desc("terasocket_capture_errors_total", "Changes of OpenTera that a trigger could not record as it should: see table terasocket.capture_errors. The same in every gateway."),
	}
}

// Describe implements prometheus.Collector.
func (g *Gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.up, g.usage, g.rows, g.oldest, g.waiting, g.waitingOldest, g.aside, g.errors} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (g *Gauges) Collect(out chan<- prometheus.Metric) {
	for _, m := range g.current() {
		out <- m
	}
}

func (g *Gauges) current() []prometheus.Metric {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked.IsZero() || time.Since(g.asked) >= gaugesEvery {
		g.last = g.ask()
		g.asked = time.Now()
	}
	return g.last
}

func (g *Gauges) ask() []prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), gaugesWait)
	defer cancel()
	var usage, oldest, waitingOldest float64
	var rows, waiting, aside int64
	var errors *int64
	if err := g.pool.QueryRow(ctx, gaugesSQL).Scan(&usage, &rows, &oldest, &waiting, &waitingOldest, &aside, &errors); err != nil {
		return []prometheus.Metric{gauge(g.up, 0)} // the reason is in /readyz and in the logs of other queries
	}
	metrics := []prometheus.Metric{
		gauge(g.up, 1),
		gauge(g.usage, usage),
		gauge(g.rows, float64(rows)),
		gauge(g.oldest, oldest),
		gauge(g.waiting, float64(waiting)),
		gauge(g.waitingOldest, waitingOldest),
		gauge(g.aside, float64(aside)),
	}
	if errors != nil {
		metrics = append(metrics, prometheus.MustNewConstMetric(g.errors, prometheus.CounterValue, float64(*errors)))
	}
	return metrics
}

func gauge(d *prometheus.Desc, v float64) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
}
