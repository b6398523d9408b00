package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// broken is a collector that fails.
type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}

func (broken) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(errors.New("broken")), errors.New("broken"))
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "terasocket_test_total", Help: "x"})
	registry.MustRegister(counter)
	var notReady error
	degraded := ""
	handler := (&Admin{Ready: func(*http.Request) error { return notReady }, Degraded: func() string { return degraded }, Metrics: registry}).Handler()
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if cached := w.Header().Get("Cache-Control"); !strings.Contains(cached, "no-store") && !strings.Contains(cached, "no-cache") {
			t.Errorf("%s may be cached: %q", path, cached)
		}
		return w.Code, w.Body.String()
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if code, body := get("/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
	degraded = "Redis is away"
	if code, body := get("/readyz"); code != 200 || body != "ready\ndegraded: Redis is away\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "terasocket_test_total 0") {
		t.Errorf("/metrics: %d %q", code, body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/nonsense": 404} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodHead, path, nil))
		if w.Code != want {
			t.Errorf("HEAD %s: %d, want %d", path, w.Code, want)
		}
	}
	// a failing collector does not take the other metrics away
	registry.MustRegister(broken{})
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "terasocket_test_total 0") {
		t.Errorf("/metrics with a broken collector: %d %q", code, body)
	}
	notReady = errors.New("draining")
	if code, body := get("/readyz"); code != 503 || body != "draining\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz while not ready: %d", code)
	}
}
