package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/doctor"
	pb "terasocket/proto/opentera"
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

func TestDoctorOfAHealthyInstallation(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t, migrated())
	gateway := serve(t, database)
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
func tlsProxy(t *testing.T, gateway *served, change func(*http.Request)) (url string) {
	t.Helper()
	to := must(urlOf(gateway))
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

func urlOf(gateway *served) (*url.URL, error) {
	return url.Parse(gateway.HTTP())
}

func TestDoctorFindsAProxyThatDropsUpgrade(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t, migrated())
	gateway := serve(t, database)
	_, byName := examine(t, 1, "--database-url", database, "--insecure", "--public-url",
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

// The grants that doctor prints are enough: a gateway serves as a role without other rights.
func TestTheRightsThatDoctorNamesAreEnoughToServe(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t, migrated())
	role := fmt.Sprintf("terasocket_test_role_%d", rand.Uint64())
	psql(t, database, "CREATE ROLE "+role+" LOGIN PASSWORD 'hush-hush'")
	owner := dbtest.Conn(t, database)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := owner.PgConn().Exec(ctx, "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role).ReadAll(); err != nil {
			t.Errorf("drop role: %v", err)
		}
	})
	u := must(url.Parse(database))
	u.User = url.UserPassword(role, "hush-hush")
	lesser := u.String()

	_, byName := examine(t, 1, "--database-url", lesser, "--migration-database-url", database)
	f := byName["rights"]
	if f.Status != doctor.Fail || !strings.Contains(f.Todo, "`terasocket migrate grants "+role+"`") || strings.Contains(f.String(), "hush") {
		t.Fatalf("%s", f)
	}
	grants := command(t.Context(), map[string]string{"DATABASE_URL": database}, "migrate", "grants", role)
	psql(t, database, grants.stdout)
	examine(t, 0, "--database-url", lesser, "--migration-database-url", database)

	gateway := serve(t, lesser)
	admin := gateway.login(opentera.DemoSuperadmin, "&snapshot=1")
	psql(t, database, "UPDATE t_sites SET site_name = 'heard' WHERE id_site = 1")
	admin.mustHear(pb.DatabaseEvent_DB_UPDATE, "site", "heard")
	if status := gateway.call("GET", "/api/user/users/online", "", basic(opentera.DemoSuperadmin)); !strings.HasPrefix(status, "200") {
		t.Errorf("who is online: %s", status)
	}
	gateway.signal(os.Interrupt)
	gateway.mustExit()
	if log := gateway.Log.String(); strings.Contains(log, "permission denied") {
		t.Errorf("the role lacked a right:\n%s", log)
	}
}
