package audit

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics show whether the audit is complete.
type metrics struct {
	rows, errors, lost prometheus.Counter
	oldest             atomic.Pointer[time.Time] // zero time: nothing waits
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		rows:   counter("terasocket_audit_rows_total", "Rows of terasocket.deliveries that were written."),
		errors: counter("terasocket_audit_errors_total", "Failed attempts to write them; they are repeated."),
		lost:   counter("terasocket_audit_lost_total", "Frames that were sent and are not recorded, since too much waited."),
	}
	m.oldest.Store(&time.Time{})
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "terasocket_audit_oldest_seconds",
		Help: "Age of the oldest delivery that could not be recorded yet; 0 when the last flush recorded all."}, func() float64 {
		if oldest := m.oldest.Load(); !oldest.IsZero() {
			return time.Since(*oldest).Seconds()
		}
		return 0
	}))
	return m
}
