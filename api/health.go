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
//	/readyz   200 when new clients can be taken, with a second line when something else does not work; 503 with one line
//	          that says why not; clients that are connected stay
//	/metrics  Prometheus
type Admin struct {
	Ready    func(*http.Request) error // why the gateway cannot take clients now, or nil
	Degraded func() string             // what does not work though clients can be taken, "" for nothing; nil: nothing
	Metrics  prometheus.Gatherer
}

// Handler gives the routes.
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
