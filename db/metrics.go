package db

import (
	"sync/atomic"

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

	up atomic.Bool
}

// NewMetrics registers the metrics terasocket_listener_* and terasocket_log_*.
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
		Rows:          counter("terasocket_log_rows_total", "Rows read from the event log and handed out."),
	}
	r.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "terasocket_listener_up", Help: "1 while the LISTEN connection is up."},
		func() float64 {
			if m.up.Load() {
				return 1
			}
			return 0
		}))
	return m
}
