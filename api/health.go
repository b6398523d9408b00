package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Admin answers on the address for operators, without a password (the console beside it has its own rules):
//
//	/healthz  200 while the process runs; when it fails, restart it
//	/readyz   200 if new clients can connect, with a second line if something else is degraded; otherwise 503 with one line
//	          that says why; connected clients stay
//	/metrics  Prometheus
type Admin struct {
	Ready    func(*http.Request) error // why clients cannot connect now, or nil
	Degraded func() string             // what is degraded though clients can connect, "" for nothing; may be nil
	Metrics  prometheus.Gatherer
}

func (a *Admin) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.NoCache, middleware.GetHead) // HEAD is answered like GET
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	r.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.Ready(r); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		text := "ready\n"
		if a.Degraded != nil {
			if what := a.Degraded(); what != "" {
				text += "degraded: " + what + "\n"
			}
		}
		_, _ = w.Write([]byte(text))
	})
	r.Handle("/metrics", promhttp.HandlerFor(a.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return r
}
