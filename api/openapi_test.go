package api

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"terasocket/ws"
)

// openAPI is the part of docs/openapi.yaml that the code can be compared with.
type openAPI struct {
	Paths map[string]map[string]struct {
		Responses map[string]any
	}
}

var readOpenAPI = sync.OnceValue(func() (document openAPI) {
	content, err := os.ReadFile("../docs/openapi.yaml")
	if err == nil {
		err = yaml.Unmarshal(content, &document)
	}
	if err != nil {
		panic(err)
	}
	return document
})

// documents reports whether this status of an operation is described.
func (d openAPI) documents(method, path string, status int) bool {
	_, ok := d.Paths[path][strings.ToLower(method)].Responses[fmt.Sprint(status)]
	return ok
}

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	document := readOpenAPI()
	routes := map[string]bool{}
	walk := func(router chi.Routes) {
		err := chi.Walk(router, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			routes[method+" "+path] = true
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	router := chi.NewRouter()
	(&API{}).Routes(router)
	ws.Handler{}.Routes(router)
	walk(router)
	admin := (&Admin{Metrics: prometheus.NewRegistry()}).Handler()
	walk(admin.(chi.Routes))
	for route := range routes {
		method, path, _ := strings.Cut(route, " ")
		if path == "/metrics" && method != http.MethodGet { // chi's Handle serves every method
			delete(routes, route)
		} else if _, ok := document.Paths[path][strings.ToLower(method)]; !ok {
			t.Errorf("docs/openapi.yaml does not describe %s", route)
		}
	}
	for path, operations := range document.Paths {
		for method := range operations {
			if route := strings.ToUpper(method) + " " + path; !routes[route] {
				t.Errorf("docs/openapi.yaml describes %s, which does not exist", route)
			}
		}
	}
	if len(routes) < 25 {
		t.Errorf("only %d routes found", len(routes))
	}
}

// described fails the test if an answer is not described in docs/openapi.yaml. It sees every request of this package's tests.
func described(t testing.TB) func(http.Handler) http.Handler {
	document := readOpenAPI()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			next.ServeHTTP(seen, r)
			route := chi.RouteContext(r.Context())
			status := seen.Status()
			if route == nil || status == 0 || status == http.StatusNotFound || status == http.StatusMethodNotAllowed || r.Method == http.MethodOptions {
				return // not our route, or no handler
			}
			if !document.documents(r.Method, route.RoutePattern(), status) {
				t.Errorf("docs/openapi.yaml does not describe the answer %d of %s %s", status, r.Method, route.RoutePattern())
			}
		})
	}
}
