package doctor

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"

	"terasocket/api"
)

func TestPasswordRoutes(t *testing.T) {
	t.Parallel()
	router := chi.NewRouter()
	proxies, err := api.ParseProxies(nil)
	if err != nil {
		t.Fatal(err)
	}
	(&api.API{Proxies: proxies}).Routes(router)
	gateway := httptest.NewServer(router)
	t.Cleanup(gateway.Close)
	opentera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) }))
	t.Cleanup(opentera.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	d := newDoctor(Config{PublicURL: wsURL(gateway)})
	d.passwordRoutes(t.Context()).must(t, Warn, "led to the gateway", "change_password", "1.3.1")
	d.PublicURL = wsURL(opentera)
	d.passwordRoutes(t.Context()).must(t, OK, "405")
	d.PublicURL = wsURL(gone)
	d.passwordRoutes(t.Context()).must(t, Fail, "not reached")
	d.PublicURL = "ws://%zz"
	d.passwordRoutes(t.Context()).must(t, Fail, "wss://host:port")
	d.PublicURL = ""
	d.passwordRoutes(t.Context()).must(t, Skip)
	d.survives(t.Context()).must(t, Skip)
	d.routed(t.Context()).must(t, Warn, "--public-url", "Host")
}
