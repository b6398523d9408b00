package console

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	sampleEvery = 2 * time.Second
	samplesKept = 450 // 15 minutes
)

// point is one sample of the plots; rates are since the sample before.
type point struct {
	At          float64  `json:"t"` // seconds since 1970
	User        float64  `json:"user"`
	Participant float64  `json:"participant"`
	Device      float64  `json:"device"`
	Events      float64  `json:"events"`     // taken from the log for clients, a second
	Deliveries  float64  `json:"deliveries"` // frames, a second
	P50         *float64 `json:"p50"`        // commit to write, seconds; nil: nothing was written
	P99         *float64 `json:"p99"`
	LogRows     *float64 `json:"log_rows"` // nil: the database did not answer
	LogAge      *float64 `json:"log_age"`  // seconds
}

// samples keeps the points of the last quarter of an hour.
type samples struct {
	mu     sync.Mutex
	points []point
	gauges map[string]float64 // the latest, of those without labels

	events, deliveries float64
	written            []*dto.Bucket
}

func (s *samples) run(ctx context.Context, metrics prometheus.Gatherer) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		s.take(metrics, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// take adds a point. Metrics that cannot be gathered are missing from it.
func (s *samples) take(metrics prometheus.Gatherer, now time.Time) {
	families, _ := metrics.Gather()
	p := point{At: float64(now.UnixMilli()) / 1000}
	gauges := map[string]float64{}
	var events, deliveries float64
	var written []*dto.Bucket
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "terasocket_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			switch {
			case name == "connections":
				switch label(m, "kind") {
				case "user":
					p.User = m.GetGauge().GetValue()
				case "participant":
					p.Participant = m.GetGauge().GetValue()
				case "device":
					p.Device = m.GetGauge().GetValue()
				}
			case name == "events_total" && label(m, "source") != "gateway": // no client receives those
				events += m.GetCounter().GetValue()
			case name == "deliveries_total":
				deliveries += m.GetCounter().GetValue()
			case name == "commit_to_write_seconds":
				written = m.GetHistogram().GetBucket()
			case m.GetGauge() != nil && len(m.GetLabel()) == 0:
				gauges[name] = m.GetGauge().GetValue()
			}
		}
	}
	if rows, ok := gauges["log_rows"]; ok {
		age := gauges["log_oldest_seconds"]
		p.LogRows, p.LogAge = &rows, &age
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.points); n > 0 {
		seconds := p.At - s.points[n-1].At
		p.Events, p.Deliveries = (events-s.events)/seconds, (deliveries-s.deliveries)/seconds
		p.P50, p.P99 = quantile(0.5, s.written, written), quantile(0.99, s.written, written)
	}
	s.events, s.deliveries, s.written, s.gauges = events, deliveries, written, gauges
	if s.points = append(s.points, p); len(s.points) > samplesKept {
		s.points = s.points[1:]
	}
}

// after returns the points after a time, and the latest gauges. Neither may be modified.
func (s *samples) after(at float64) ([]point, map[string]float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.points {
		if p.At > at {
			return append([]point{}, s.points[i:]...), s.gauges
		}
	}
	return []point{}, s.gauges
}

// quantile returns that of the observations between two snapshots of a histogram, as Prometheus' histogram_quantile computes
// it, assuming an even distribution within a bucket. nil: no observations.
func quantile(q float64, before, after []*dto.Bucket) *float64 {
	count := func(i int) float64 {
		n := float64(after[i].GetCumulativeCount())
		if i < len(before) {
			n -= float64(before[i].GetCumulativeCount())
		}
		return n
	}
	if len(after) == 0 || count(len(after)-1) <= 0 {
		return nil
	}
	rank, below, lower := q*count(len(after)-1), 0.0, 0.0
	for i, b := range after {
		upper := b.GetUpperBound()
		if n := count(i); n >= rank && n > below {
			if math.IsInf(upper, 1) {
				return &lower
			}
			value := lower + (upper-lower)*(rank-below)/(n-below)
			return &value
		}
		below, lower = count(i), upper
	}
	return &lower
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
