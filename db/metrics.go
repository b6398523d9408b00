package db

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the listener and the feed do.
type Metrics struct {
	Notifications prometheus.Counter
	Malformed     prometheus.Counter // notifications that terasocket did not send
	Ignored       prometheus.Counter // hints at rows that were handed out long ago
	Reconnects    prometheus.Counter
	CatchUps      prometheus.Counter
	Unannounced   prometheus.Counter // rows that no notification announced
	Rows          prometheus.Counter

	up     atomic.Bool
	queued atomic.Int64 // hints that wait for the feed
	lag    lag
}

// NewMetrics registers the metrics terasocket_listener_*, terasocket_log_*_total and terasocket_lag_seconds.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &Metrics{
		Notifications: counter("terasocket_listener_notifications_total", "Notifications received."),
		Malformed:     counter("terasocket_listener_malformed_total", "Notifications ignored because terasocket did not send them."),
		Ignored:       counter("terasocket_listener_ignored_total", "Notifications ignored because their rows were handed out before."),
		Reconnects:    counter("terasocket_listener_reconnects_total", "Times that the LISTEN connection was made again."),
		CatchUps:      counter("terasocket_log_catchups_total", "Times that missed rows were looked for in the event log."),
		Unannounced:   counter("terasocket_log_unannounced_total", "Rows found in the event log that no notification announced."),
		Rows:          counter("terasocket_log_rows_read_total", "Rows read from the event log and handed out."),
	}
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("terasocket_listener_up", "1 while the LISTEN connection is up.", func() float64 {
		if m.up.Load() {
			return 1
		}
		return 0
	})
	gauge("terasocket_listener_queue_hints", "Notifications heard, those of one transaction as one, whose rows are not read yet.",
		func() float64 { return float64(m.queued.Load()) })
	gauge("terasocket_lag_seconds", "How far behind the log this gateway may be: 0 while LISTEN is up and nothing waits, else the age of the oldest that is not delivered.",
		func() float64 { return m.lag.seconds(time.Now()) })
	return m
}
