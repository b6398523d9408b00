package ws

import (
	"github.com/prometheus/client_golang/prometheus"

	"terasocket/access"
	"terasocket/proto/event"
)

// Metrics counts sockets and events. No label names a person. Required by Hub, Handler and Dispatcher.
type Metrics struct {
	connections [len(access.Kinds) + 1]prometheus.Gauge
	delivered   [len(access.Kinds) + 1][encodings]prometheus.Counter

	accepted      [len(access.Kinds) + 1]prometheus.Counter
	refused       *prometheus.CounterVec // reason
	closes        *prometheus.CounterVec // code
	dispatched    *prometheus.CounterVec // source, type
	encodeErrors  *prometheus.CounterVec // encoding
	slowCloses    prometheus.Counter
	sourceErrors  prometheus.Counter
	commitToWrite prometheus.Histogram

	registerer prometheus.Registerer // nil: not exported
}

// NewMetrics registers the metrics with r; with a nil r they are not exported.
func NewMetrics(r prometheus.Registerer) *Metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		register(r, c)
		return c
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		register(r, c)
		return c
	}
	m := &Metrics{
		registerer:   r,
		refused:      vec("terasocket_handshakes_refused_total", "Websocket handshakes refused, by reason.", "reason"),
		closes:       vec("terasocket_closes_total", "Sockets that ended, by close code; 1006 is a broken socket or a missing pong.", "code"),
		dispatched:   vec("terasocket_events_total", "Events taken from the log for delivery, by class of topic and message type.", "source", "type"),
		encodeErrors: vec("terasocket_encode_errors_total", "Events that could not be encoded, by encoding.", "encoding"),
		slowCloses:   counter("terasocket_slow_closes_total", "Sockets closed because too much waited for them."),
		sourceErrors: counter("terasocket_source_errors_total", "Failed attempts to get the next events."),
		commitToWrite: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "terasocket_commit_to_write_seconds",
			Help:    "Time from the recording of an event to its write to the last of its sockets.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
	register(r, m.commitToWrite)

	connections := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "terasocket_connections", Help: "Sockets open now, by kind of principal."}, []string{"kind"})
	register(r, connections)
	delivered := vec("terasocket_deliveries_total", "Frames handed to sockets, by kind and encoding.", "kind", "encoding")
	accepted := vec("terasocket_handshakes_accepted_total", "Websocket handshakes answered with 101, by kind of principal.", "kind")
	for _, kind := range access.Kinds {
		m.accepted[kind] = accepted.WithLabelValues(kind.String())
		m.connections[kind] = connections.WithLabelValues(kind.String())
		for e := range event.Encoding(encodings) {
			m.delivered[kind][e] = delivered.WithLabelValues(kind.String(), encodingName(e))
		}
	}
	m.start()
	return m
}

// start exports the known label values at 0: a counter that appears with its first event has no rate.
func (m *Metrics) start() {
	for _, reason := range refusals {
		m.refused.WithLabelValues(reason)
	}
	for _, code := range closeCodes {
		m.closes.WithLabelValues(code.label())
	}
	m.closes.WithLabelValues("other")
	for source, types := range eventTypes {
		for _, name := range types {
			m.dispatched.WithLabelValues(source, name)
		}
	}
	for e := range event.Encoding(encodings) {
		m.encodeErrors.WithLabelValues(encodingName(e))
	}
}

// watch exports the backlog of h and the size of its index.
func (m *Metrics) watch(h *Hub) {
	gauge := func(name, help string, value func() int) {
		register(m.registerer, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	gauge("terasocket_backlog_bytes", "Bytes that wait for all sockets together.", h.backlog)
	gauge("terasocket_index_principals", "Principals in the rights index: those with a socket.",
		func() int { n, _ := h.indexSize(); return n })
	gauge("terasocket_index_tags", "Different tags that the principals in the rights index hold.",
		func() int { _, n := h.indexSize(); return n })
}

func register(r prometheus.Registerer, c prometheus.Collector) {
	if r != nil {
		r.MustRegister(c)
	}
}
