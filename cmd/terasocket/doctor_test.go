package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/doctor"
)

// examined is the output of doctor --json.
type examined struct {
	OK     bool             `json:"ok"`
	Checks []doctor.Finding `json:"checks"`
}

func examine(t *testing.T, code int, args ...string) (all examined, byName map[string]doctor.Finding) {
	t.Helper()
	got := command(t.Context(), nil, append([]string{"doctor", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil {
		t.Fatalf("%v: %+v", err, got)
	}
	if got.code != code || all.OK != (code == 0) {
		t.Errorf("exit code %d, ok %t, want %d: %+v", got.code, all.OK, code, got)
	}
	byName = map[string]doctor.Finding{}
	for _, f := range all.Checks {
		byName[f.Name] = f
	}
	return all, byName
}

func healthy(t *testing.T, gateway *served) {
	database := gateway.dbURL
	proxied := tlsProxy(t, gateway, nil)
	args := []string{"--database-url", database, "--migration-database-url", database, "--tls-cert", gateway.cert, "--tls-key", gateway.key,
		"--trusted-proxies", "127.0.0.1", "--quick"}
	for name, more := range map[string][]string{
		"direct": {"--ca", gateway.cert, "--public-url", gateway.URL},
		"proxy":  {"--insecure", "--public-url", proxied},
	} {
		all, _ := examine(t, 0, append(args, more...)...)
		for _, f := range all.Checks {
			want := doctor.OK
			switch f.Name {
			case "password-routes", "login-url": // all of /api goes to the gateway, which has no --public-url
				want = doctor.Warn
			case "ping", "redis", "client-addresses", "audit":
				want = doctor.Skip
			case "server-version": // the tests outlive the support of the server that they run on
				if strings.Contains(f.Found, "without security fixes") {
					want = doctor.Warn
				}
			}
			if f.Status != want {
				t.Errorf("%s: %s\nwant %s", name, f, want)
			}
		}
	}
	got := command(t.Context(), map[string]string{"TERASOCKET_PUBLIC_URL": gateway.URL, "DATABASE_URL": database}, "doctor", "--quick", "--insecure")
	for _, line := range strings.Split(strings.TrimSpace(got.stdout), "\n") {
		if status, _, _ := strings.Cut(line, " "); status != "ok" && status != "warn" && status != "skip" {
			t.Errorf("%q", line)
		}
	}
	if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, "ok    public-url          a gateway answers on /wss/user") {
		t.Errorf("%+v", got)
	}
}

// tlsProxy stands before a gateway, as nginx does.
func tlsProxy(t *testing.T, gateway *served, change func(*http.Request)) (address string) {
	t.Helper()
	to := must(url.Parse(gateway.HTTP()))
	server := httptest.NewTLSServer(&httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: gatewaytest.Insecure},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			if change != nil {
				change(r.Out)
			}
		},
	})
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "https://", "wss://", 1)
}

func upgradeIsDropped(t *testing.T, gateway *served) {
	_, byName := examine(t, 1, "--database-url", gateway.dbURL, "--insecure", "--public-url",
		tlsProxy(t, gateway, func(r *http.Request) { r.Header.Del("Upgrade") }), "--as", "user:"+opentera.DemoProjectAdminUUID)
	if f := byName["public-url"]; f.Status != doctor.Fail || !strings.Contains(f.Todo, "proxy_set_header Upgrade") {
		t.Errorf("%s", f)
	}
	if f := byName["ping"]; f.Status != doctor.Skip {
		t.Errorf("%s", f)
	}
}

func TestDoctorFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string // in stdout or stderr
	}{
		"no database":      {[]string{}, 1, "\n\nFAIL  database            no database given - set --database-url or DATABASE_URL\n"},
		"its skips":        {[]string{}, 1, " checks wait for: database\n"},
		"one check":        {[]string{"--database-url", dbtest.New(t, dbtest.OpenTera("bare"))}, 1, "1 check failed: migrations"},
		"several":          {[]string{"--public-url", "https://x"}, 1, "2 checks failed: database, public-url"},
		"not a principal":  {[]string{"--as", "robot:x", "--public-url", "wss://x"}, 2, "unknown kind"},
		"nowhere to go":    {[]string{"--as", "user:x"}, 2, "--as needs --public-url"},
		"no such CA":       {[]string{"--ca", "/nonexistent"}, 1, "--ca"},
		"an unknown flag":  {[]string{"--nonsense"}, 2, "--nonsense"},
		"not migrated yet": {[]string{"--database-url", dbtest.New(t, dbtest.OpenTera("bare"))}, 1, "not installed in this database - run `terasocket migrate up`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := command(t.Context(), nil, append([]string{"doctor"}, test.args...)...)
			if got.code != test.code || !strings.Contains(got.stdout+got.stderr, test.want) {
				t.Errorf("%+v, want %d and %q", got, test.code, test.want)
			}
		})
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	defer func() { _ = full.Close() }()
	var stderr strings.Builder
	if code := run(t.Context(), []string{"doctor"}, func(string) string { return "" }, full, &stderr); code != 1 || !strings.Contains(stderr.String(), "print") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}
