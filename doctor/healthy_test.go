package doctor

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"terasocket/db/dbtest"
)

func TestHealthyDatabase(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("INSERT INTO terasocket.gateways (name, lease_until, public_url) VALUES ('here :4050 (7)', now() + interval '1 minute', 'wss://tera.example')")
	i.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1; SELECT terasocket.service_token_key()")
	var told []string
	i.Tell = func(f Finding) error {
		told = append(told, f.Name)
		return nil
	}
	findings, err := Examine(t.Context(), i.Config)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range findings {
		if seen[f.Name] {
			t.Errorf("two checks are named %s", f.Name)
		}
		seen[f.Name] = true
		switch f.Name {
		case "trusted-proxies", "certificate", "public-certificate", "password-routes", "redis", "ping", "client-addresses", "audit": // not asked for
			f.must(t, Skip)
		case "public-url":
			f.must(t, Warn)
		case "server-version": // the tests outlive the support of the server that they run on
			if f.Status != Warn || !strings.Contains(f.Found, "without security fixes") {
				f.must(t, OK)
			}
		default:
			f.must(t, OK)
		}
	}
	if len(told) != len(findings) {
		t.Errorf("told %d of %d findings", len(told), len(findings))
	}
	dbtest.Eventually(t, "no token and no session is left", func() bool { // a process takes a moment to end
		return dbtest.One[int](t, i.owner, `SELECT (SELECT count(*) FROM terasocket.connect_tokens) + (SELECT count(*) FROM pg_stat_activity
			WHERE application_name = 'terasocket doctor' AND datname = current_database())`) == 0
	})
}

func TestEveryNeedIsACheckBefore(t *testing.T) {
	t.Parallel()
	before := map[string]bool{}
	for _, c := range newDoctor(Config{}).checks() {
		for _, name := range c.needs {
			if !before[name] {
				t.Errorf("%s needs %s, which is not before it", c.name, name)
			}
		}
		before[c.name] = true
	}
}

// A database that is unreachable, missing, or has a bad URL still gives a report, without a password in it.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	_ = closed.Close()
	good := dbtest.New(t, migrated())
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"not given", Config{}, "set --database-url"},
		{"rubbish", Config{DatabaseURL: "postgres://u:hush%zz@h/d"}, "--database-url: the URL cannot be read"},
		{"a password with an at sign", Config{DatabaseURL: "postgres://u:hush@hush:x@h:port/d"}, "cannot be read"},
		{"closed", Config{DatabaseURL: "postgres://u:hush@" + address + "/d"}, "nothing listens on " + address},
		{"listener closed", Config{DatabaseURL: good, ListenDatabaseURL: "postgres://u:hush@" + address + "/d"}, "--listen-database-url: "},
		{"owner closed", Config{DatabaseURL: good, MigrationDatabaseURL: "postgres://u:hush@" + address + "/d"}, "--migration-database-url: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.cfg.Tell = func(f Finding) error {
				if strings.Contains(f.String(), "hush") {
					t.Errorf("%s\nshows the password", f)
				}
				return nil
			}
			named := findAll(t, test.cfg)
			named("database").must(t, Fail, test.want)
			for _, name := range []string{"primary", "migrations", "triggers", "listen", "log"} {
				named(name).must(t, Skip)
			}
			named("files").must(t, OK)
		})
	}
}

// A server that accepts connections and never answers costs a line, not a hang.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	d := newDoctor(Config{DatabaseURL: "postgres://u@" + silent.Addr().String() + "/d?sslmode=disable"})
	d.limit = 100 * time.Millisecond
	named := examine(t, d, d.checks())
	named("database").must(t, Fail, "no answer within 100ms")
	named("triggers").must(t, Skip)
}

// A server that stops answering in the middle is waited for twice, not once for each check.
func TestServerThatGoesSilent(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(dbtest.New(t, migrated()))
	if err != nil {
		t.Fatal(err)
	}
	between := newRelay(t, u.Host, time.Minute)
	u.Host = between.address
	failed := 0
	d := newDoctor(Config{DatabaseURL: u.String(), Tell: func(f Finding) error {
		switch {
		case f.Name == "primary":
			between.frozen.Store(true)
		case f.Status == Fail:
			failed++
			f.must(t, Fail, "no answer within 2s")
		}
		return nil
	}})
	d.limit = 2 * time.Second
	named := examine(t, d, d.checks())
	d.serving.close()
	if failed != 2 {
		t.Errorf("%d checks waited, want 2", failed)
	}
	named("transactions").must(t, Skip, "does not answer any more")
}

// A query that waits for a lock is abandoned, and the next check runs.
func TestLockedTable(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("BEGIN")
	i.exec("LOCK TABLE terasocket.capture_errors IN ACCESS EXCLUSIVE MODE")
	d := newDoctor(i.Config)
	d.limit = 2 * time.Second
	named := examine(t, d, d.checks())
	d.serving.close()
	named("capture-errors").must(t, Fail, "no answer within 2s")
	named("triggers").must(t, OK)
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := Config{DatabaseURL: dbtest.New(t, migrated()), Tell: func(Finding) error {
		cancel()
		return nil
	}}
	if _, err := Examine(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	broken := errors.New("broken pipe")
	cfg.Tell = func(Finding) error { return broken }
	if _, err := Examine(t.Context(), cfg); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
