package bridge

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type Metrics struct {
	up, leader, managerUp  prometheus.Gauge
	received, sent         *prometheus.CounterVec
	refused                *prometheus.CounterVec
	outages, outageSeconds prometheus.Counter
	passed                 prometheus.Counter
	reconciliations        prometheus.Counter
	reconcileErrors        prometheus.Counter
	differences            *prometheus.CounterVec

	reconciled atomic.Int64 // time of the last one, or when this gateway first held the bridge, UnixNano; 0: it never did
}

// Reasons why a message does not become rows.
const (
	malformed  = "malformed"  // not protobuf, empty, or not the envelope of its topic
	version    = "version"    // not OpenTera's version, 1
	unknown    = "type"       // a type that OpenTera does not have on this topic
	notAllowed = "refused"    // by the database, which says why: unknown or invalid UUIDs
	tooBig     = "too_big"    // over terasocket.max_event_bytes, a message over payloadBytes or access.MaxEvents, or one slower than Config.Write
	notTaken   = "blocked"    // a join or leave that waited for another transaction's lock for Config.Blocked
	broken     = "unexpected" // any other error
)

var (
	topicLabels  = []string{"direct", "user_manager_messages", "user_manager_events", "archive", "command"}
	sentTypes    = []string{"UserEvent", "ParticipantEvent", "DeviceEvent"}
	refusals     = []string{malformed, version, unknown, notAllowed, tooBig, notTaken, broken}
	differenceOf = []string{"online", "busy", "status"}
)

// NewMetrics registers the metrics terasocket_bridge_*.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "terasocket_bridge_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "terasocket_bridge_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "terasocket_bridge_" + name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	m := &Metrics{
		up:              gauge("up", "1 while this gateway is subscribed to OpenTera's Redis."),
		leader:          gauge("leader", "1 on the gateway that holds the bridge; the others only listen."),
		managerUp:       gauge("user_manager_up", "1 while OpenTera's user manager listens, on the gateway that holds the bridge; 0 on the others."),
		received:        vec("received_total", "Events from OpenTera's Redis, on the gateway that holds the bridge.", "topic", "type"),
		sent:            vec("sent_total", "Events that OpenTera's user manager was sent: who comes and goes.", "type"),
		refused:         vec("refused_total", "Events from Redis that became no rows of the log.", "reason"),
		outages:         counter("outages_total", "Times that the subscription to Redis was lost: what was published meanwhile is lost, unless another gateway heard it."),
		outageSeconds:   counter("outage_seconds_total", "How long this gateway was not subscribed, counted when it is again."),
		passed:          counter("passed_over_total", "Messages heard before an outage and not written, since another gateway has held the bridge meanwhile: it has written them, unless it had not heard them."),
		reconciliations: counter("reconciliations_total", "Comparisons with what OpenTera's user manager knows."),
		reconcileErrors: counter("reconciliation_errors_total", "Those that failed, since it did not answer in time or the database did not; they are tried again."),
		differences:     vec("differences_total", "Differences found: people online, sessions they are in, statuses of devices. They were set right.", "of"),
	}
	for _, topic := range topicLabels {
		for _, name := range typesOn(topic) {
			m.received.WithLabelValues(topic, name)
		}
		m.received.WithLabelValues(topic, otherType)
	}
	for _, name := range sentTypes {
		m.sent.WithLabelValues(name)
	}
	for _, reason := range refusals {
		m.refused.WithLabelValues(reason)
	}
	for _, of := range differenceOf {
		m.differences.WithLabelValues(of)
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "terasocket_bridge_reconciliation_age_seconds",
		Help: "Time since this gateway last reconciled with OpenTera's user manager, or since it first held the bridge; 0: it never did.",
	}, m.age))
	return m
}

// age is the time since the last reconciliation, in seconds.
func (m *Metrics) age() float64 {
	at := m.reconciled.Load()
	if at == 0 {
		return 0
	}
	return time.Since(time.Unix(0, at)).Seconds()
}
