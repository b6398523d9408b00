package console

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func buckets(counts ...uint64) (all []*dto.Bucket) {
	for i, bound := range []float64{1, 2, 4, math.Inf(1)} {
		all = append(all, &dto.Bucket{UpperBound: &bound, CumulativeCount: &counts[i]})
	}
	return all
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		q             float64
		before, after []*dto.Bucket
		want          float64 // -1: nil
	}{
		{0.5, nil, nil, -1},
		{0.5, nil, buckets(0, 0, 0, 0), -1},
		{0.5, buckets(5, 5, 5, 5), buckets(5, 5, 5, 5), -1},
		{0.5, nil, buckets(10, 10, 10, 10), 0.5},
		{0.5, buckets(100, 100, 100, 100), buckets(100, 110, 110, 110), 1.5},
		{0.99, nil, buckets(0, 0, 100, 100), 3.98},
		{0.99, nil, buckets(0, 0, 0, 10), 4}, // beyond the last bound: at least that
		{0.5, nil, buckets(5, 5, 10, 10), 1},
	} {
		got := quantile(test.q, test.before, test.after)
		if (got == nil) != (test.want < 0) || got != nil && math.Abs(*got-test.want) > 1e-9 {
			t.Errorf("%v of %v after %v: %v, want %v", test.q, test.after, test.before, got, test.want)
		}
	}
}

func TestSamples(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "terasocket_events_total"}, []string{"source"})
	sockets := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "terasocket_connections"}, []string{"kind"})
	registry.MustRegister(events, sockets)
	gauge := func(name string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
		registry.MustRegister(g)
		return g
	}
	gauge("other").Set(7)
	s, now := samples{}, time.Unix(1000, 0)
	s.take(registry, now)
	if points, gauges := s.after(0); len(points) != 1 || points[0].LogRows != nil || len(gauges) != 0 {
		t.Errorf("%+v %v", points, gauges)
	}
	events.WithLabelValues("database").Add(8)
	events.WithLabelValues("gateway").Add(100) // no client receives them
	sockets.WithLabelValues("device").Set(3)
	s.take(registry, now.Add(2*time.Second))
	if points, _ := s.after(1000); points[0].Events != 4 || points[0].Device != 3 || points[0].User != 0 {
		t.Errorf("%+v", points)
	}
	now = now.Add(2 * time.Second)
	gauge("terasocket_log_rows").Set(12)
	gauge("terasocket_log_oldest_seconds").Set(34)
	for range samplesKept {
		now = now.Add(sampleEvery)
		s.take(registry, now)
	}
	points, gauges := s.after(0)
	if last := points[len(points)-1]; len(points) != samplesKept || *last.LogRows != 12 || *last.LogAge != 34 || gauges["log_rows"] != 12 || last.P50 != nil {
		t.Errorf("%d points, the last %+v, %v", len(points), last, gauges)
	}
	if points, _ := s.after(points[len(points)-2].At); len(points) != 1 {
		t.Errorf("%d points after the last but one", len(points))
	}
	if points, _ := s.after(9e12); points == nil || len(points) != 0 {
		t.Errorf("%v", points)
	}
}
