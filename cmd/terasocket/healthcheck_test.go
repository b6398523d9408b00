package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func healthcheck(t *testing.T, s *served) {
	address := strings.TrimPrefix(s.Admin, "http://")
	if got := command(t.Context(), nil, "healthcheck", "--admin-listen", address); got.code != 0 || got.stdout != "ready\n" {
		t.Errorf("%+v", got)
	}
	// as in a container: serve's own setting, on every address
	for _, everywhere := range []string{"", "0.0.0.0"} {
		env := map[string]string{"TERASOCKET_ADMIN_LISTEN": everywhere + address[strings.LastIndex(address, ":"):]}
		if got := command(t.Context(), env, "healthcheck", "--live"); got.code != 0 || got.stdout != "ok\n" {
			t.Errorf("%q: %+v", everywhere, got)
		}
	}
	if got := (&healthcheckCmd{AdminListen: "[::]:1"}); must(got.address()) != "[::1]:1" {
		t.Errorf("%+v", got)
	}
}

func TestHealthcheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	draining := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			http.Error(w, "draining", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(draining.Close)
	torn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("rea"))
	}))
	t.Cleanup(torn.Close)
	silent := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	t.Cleanup(func() { close(silent); hangs.Close() })
	for name, test := range map[string]struct{ address, want string }{
		"draining":  {strings.TrimPrefix(draining.URL, "http://"), "/readyz: 503 Service Unavailable: draining"},
		"torn":      {strings.TrimPrefix(torn.URL, "http://"), "read the answer of /readyz"},
		"no answer": {"127.0.0.1:1", "does `terasocket serve` run"},
		"hangs":     {strings.TrimPrefix(hangs.URL, "http://"), "does `terasocket serve` run"},
		"empty":     {"", "--admin-listen must be host:port"},
		"no port":   {"%zz:x y", "--admin-listen"},
	} {
		got := command(t.Context(), nil, "healthcheck", "--timeout", "100ms", "--admin-listen", test.address)
		if got.code != 1 || !strings.Contains(got.stderr, test.want) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: %+v, want %q", name, got, test.want)
		}
	}
}
