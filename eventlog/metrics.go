package eventlog

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the work of announcer, feed and history.
type Metrics struct {
	announcements, announceErrors, announceBusy prometheus.Counter
	announceTime                                prometheus.Histogram
	polls, skipped                              prometheus.Counter
	polling                                     prometheus.Gauge
	rows                                        prometheus.Counter // handed out
	refused                                     prometheus.Counter // undecodable rows
	different                                   prometheus.Counter // principals whose rights were changed without a trigger
}

// NewMetrics registers the metrics terasocket_announce*, terasocket_poll*, terasocket_notifications_skipped_total,
// terasocket_log_rows_read_total and terasocket_events_refused_total.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &Metrics{
		announcements:  counter("terasocket_announcements_total", "Announcements that this gateway made."),
		announceErrors: counter("terasocket_announce_errors_total", "Announcements that failed and were tried again."),
		announceBusy:   counter("terasocket_announce_busy_total", "Announcements that were left to another gateway, which held the lock."),
		announceTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "terasocket_announce_seconds", Help: "How long an announcement took.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}}),
		polls:   counter("terasocket_polls_total", "Looks for changes that nobody had notified of: while this gateway polls, and some after any has."),
		skipped: counter("terasocket_notifications_skipped_total", "Changes that were recorded while this gateway polled, without a NOTIFY."),
		polling: prometheus.NewGauge(prometheus.GaugeOpts{Name: "terasocket_polling",
			Help: "1 while this gateway looks for changes every few milliseconds, and nobody notifies."}),
		rows:      counter("terasocket_log_rows_read_total", "Rows read from the event log and handed out."),
		refused:   counter("terasocket_events_refused_total", "Rows of the event log that are no event."),
		different: counter("terasocket_rights_differences_total", "Principals whose rights were changed without a trigger; their rights were announced then."),
	}
	r.MustRegister(m.announceTime, m.polling)
	return m
}

// Register registers terasocket_lag_seconds.
func (p *Progress) Register(r prometheus.Registerer) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "terasocket_lag_seconds",
		Help: "Age of the oldest change that may not be delivered: 0 while LISTEN is up, announcing and reading work and nothing waits.",
	}, func() float64 { return p.Lag().Seconds() }))
}
