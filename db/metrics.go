package db

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the listener's work.
type Metrics struct {
	Notifications prometheus.Counter
	Malformed     prometheus.Counter // notifications that terasocket did not send
	Reconnects    prometheus.Counter

	up atomic.Bool
}

// NewMetrics registers the metrics terasocket_listener_*.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &Metrics{
		Notifications: counter("terasocket_listener_notifications_total", "Notifications received."),
		Malformed:     counter("terasocket_listener_malformed_total", "Notifications that terasocket did not send."),
		Reconnects:    counter("terasocket_listener_reconnects_total", "Times that the LISTEN connection was made again."),
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "terasocket_listener_up", Help: "1 while the LISTEN connection is up."}, func() float64 {
		if m.up.Load() {
			return 1
		}
		return 0
	}))
	return m
}
