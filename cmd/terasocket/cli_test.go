package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

// result is a command's output and exit code.
type result struct {
	code           int
	stdout, stderr string
}

func command(ctx context.Context, env map[string]string, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, func(name string) string { return env[name] }, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// migrated uses passwords of 4 rounds: with 12, one takes seconds under the race detector.
func migrated() dbtest.Template {
	return dbtest.OpenTera("migrated", migrations.Up, dbtest.QuickPasswords)
}

func TestServeRefusesWithOneClearSentence(t *testing.T) {
	t.Parallel()
	good, empty := dbtest.New(t, migrated()), dbtest.New(t, dbtest.Empty())
	altered := func(sql string) string {
		url := dbtest.New(t, migrated())
		psql(t, url, sql)
		return url
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, test := range map[string]struct{ args, databaseURL, want string }{
		"no database":       {"--plain-http", "", "no database given: set --database-url or DATABASE_URL"},
		"unreachable":       {"--plain-http", "postgres://127.0.0.1:1/x", "cannot be reached"},
		"rubbish URL":       {"--plain-http", "postgres://u:secret@%zz", "--database-url, or a parameter in it, cannot be read"},
		"SQLAlchemy's URL":  {"--plain-http", "postgresql+psycopg2://u:secret:x@h/x", "write postgres://user:password@host"},
		"spaced password":   {"--plain-http", "host=h password = 'secret x' port=x", "cannot be read"},
		"no root file":      {"--plain-http", "postgres://u:secret@h/x?sslmode=verify-full&sslrootcert=/nonexistent", "/nonexistent"},
		"read-only":         {"--plain-http --listen 127.0.0.1:0", readOnly(good), "turn default_transaction_read_only off"},
		"listens nowhere":   {"--plain-http --listen-database-url postgres://u:secret@127.0.0.1:1/x", good, "--listen-database-url: connect"},
		"bad listen URL":    {"--plain-http --listen-database-url postgres://u:secret@%zz", good, "--listen-database-url, or"},
		"listens elsewhere": {"--plain-http --listen-database-url " + empty, good, "another database than --database-url"},
		"not OpenTera":      {"--plain-http", empty, "not an OpenTera database"},
		"not migrated":      {"--plain-http", dbtest.New(t, dbtest.OpenTera("bare")), "run `terasocket migrate up`"},
		"behind":            {"--plain-http", altered("UPDATE terasocket.functions SET compatibility = 0"), "older than this binary: run `terasocket migrate up`"},
		"ahead":             {"--plain-http", altered("UPDATE terasocket.functions SET compatibility = 999"), "newer than this binary"},
		"dirty":             {"--plain-http", altered("UPDATE terasocket.schema_migrations SET dirty = true"), "terasocket migrate force"},
		"missing cert":      {"--tls-cert /nonexistent --tls-key /nonexistent", good, "--tls-cert /nonexistent"},
		"address in use":    {"--plain-http --listen " + taken.Addr().String(), good, "is taken, perhaps by another gateway"},
		"no such address":   {"--plain-http --listen 256.0.0.1:1", good, "--listen"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := command(t.Context(), map[string]string{"DATABASE_URL": test.databaseURL}, append([]string{"serve", "--admin-listen", ""}, strings.Fields(test.args)...)...)
			if got.code != 1 || !strings.Contains(got.stderr, test.want) {
				t.Errorf("exit code %d, %q; want 1 and %q", got.code, got.stderr, test.want)
			}
			if strings.Count(strings.TrimSpace(got.stderr), "\n") > 0 || strings.Contains(got.stderr, "secret") {
				t.Errorf("not one clear sentence: %q", got.stderr)
			}
		})
	}
}

// readOnly returns a URL of the same database for read-only sessions.
func readOnly(databaseURL string) string {
	separator := "?"
	if strings.Contains(databaseURL, "?") {
		separator = "&"
	}
	return databaseURL + separator + "default_transaction_read_only=on"
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, try string }{
		{"nonsense", "terasocket --help"},
		{"serve --nonsense", "terasocket serve --help"},
		{"serve --encoding xml", "terasocket serve --help"},
		{"serve --encoding xml", `one of "protobuf","json" but got "xml"`},
		{"serve --log-level loud", `"loud" is not debug, info, warn or error`},
		{"serve --listen", "terasocket: --listen: its value is missing\n"},
		{"serve --max-sockets viele", `"viele" is no whole number` + "\n"},
		{"serve --status-rate viele", `"viele" is no number` + "\n"},
		{"serve --drain-time 5", `"5" is no duration: write a number and its unit, such as 500ms, 5s or 24h` + "\n"},
		{"serve", "terasocket: TLS needs --tls-cert and --tls-key"},
		{"serve --plain-http --tls-cert x", "exclude each other"},
		{"serve --plain-http --client-ca x", "--client-ca needs TLS here"},
		{"serve --plain-http --public-url https://x", "--public-url must be wss://host or wss://host:port"},
		{"serve --plain-http --public-url wss://u:secret@x", "--public-url must be wss://host or wss://host:port"},
		{"serve --plain-http --public-url wss://", "--public-url must be"},
		{"serve --plain-http --allowed-origins https://a,tera.example", `"tera.example" must be an origin`},
		{"serve --plain-http --trusted-proxies nginx", "neither an address nor a network"},
		{"serve --plain-http --proxy-certificates", "--proxy-certificates needs --trusted-proxies"},
		{"serve --plain-http --presence-lease 10ms", "--presence-lease must be 1s or more"},
		{"serve --plain-http --status-rate 0", "--status-rate must be positive\n"},
		{"serve --plain-http --console-password-file /nonexistent", "--console-password-file: open /nonexistent: no such file or directory\n"},
		{"serve --plain-http --console-password-file /dev/null", "--console-password-file: the password in it must have 12 characters or more\n"},
		{"serve --plain-http --max-backlog=-1", "--max-backlog must be positive\n"},
		{"serve --plain-http --max-sockets=-1", "--max-sockets must not be negative\n"},
		{"serve --plain-http --listen 4150", `--listen: "4150" is no address: write host:port, or :port`},
		{"token robot x", "terasocket token --help"},
		{"token --public-url https://x user x", "--public-url must be"},
		{"migrate down x", "terasocket migrate down --help"},
		{"busy end session abc", `"abc" is no UUID`},
		{"busy end user 00000000000040008000000000000001", "is no UUID"}, // OpenTera writes hyphens
		{"audit", "say what to look for"},
		{"tail", "say who to be"},
		{"tail --as user:x --username y", "exclude each other"},
		{"tail --as x", "is not KIND:UUID"},
		{"tail --as robot:x", "unknown kind"},
		{"tail 127.0.0.1:4050 --username x --password secret", "the gateway must be wss://host"},
		{"tail wss://u:secret@127.0.0.1:1 --username x --password secret", "the gateway must be wss://host"},
		{"tail wss://127.0.0.1:1 --username x", "no password given"},
	} {
		got := command(t.Context(), nil, strings.Fields(test.args)...)
		if got.code != 2 || !strings.Contains(got.stderr, test.try) || strings.Contains(got.stderr, "secret") {
			t.Errorf("%q: exit code %d, %q; want 2 and %q", test.args, got.code, got.stderr, test.try)
		}
	}
}

func TestAnErrorIsOneLine(t *testing.T) {
	t.Parallel()
	refused := &pgconn.PgError{Severity: "ERROR", Code: "42501", Message: "permission denied"}
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("connect:\n\tno answer\n\tno answer"), "connect: no answer"},
		{fmt.Errorf("ask: %w", refused), "ask: ERROR: permission denied (SQLSTATE 42501): `terasocket migrate grants ROLE` prints what serve needs; " +
			"other commands are for the owner of OpenTera's tables"},
	} {
		if got := oneLine(test.err); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	got := command(t.Context(), nil, "serve", "--help")
	if got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	for _, flag := range []string{"--database-url", "--listen-database-url", "--listen", "--admin-listen", "--plain-http", "--tls-cert", "--tls-key",
		"--public-url", "--encoding", "--trusted-proxies", "--log-retention", "--log-max-rows"} {
		if !strings.Contains(got.stdout, flag) {
			t.Errorf("serve --help does not list %s", flag)
		}
	}
	for _, args := range []string{"--help", "", "help"} {
		if got := command(t.Context(), nil, strings.Fields(args)...); got.code != 0 || !strings.Contains(got.stdout, "TERASOCKET_") {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if of := command(t.Context(), nil, "help", "serve"); of != got {
		t.Errorf("help serve: %+v", of)
	}
}

func TestSettingsComeFromFlagsThenEnvironmentThenFiles(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const wrong = "postgres://127.0.0.1:1/x"
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
	}{
		"flag before all":         {map[string]string{"TERASOCKET_DATABASE_URL": wrong, "DATABASE_URL": wrong}, []string{"--database-url", url}},
		"environment":             {map[string]string{"TERASOCKET_DATABASE_URL": url, "DATABASE_URL": wrong}, nil},
		"its file":                {map[string]string{"TERASOCKET_DATABASE_URL_FILE": file}, nil},
		"DATABASE_URL":            {map[string]string{"DATABASE_URL": url}, nil},
		"file of DATABASE_URL":    {map[string]string{"DATABASE_URL_FILE": file}, nil},
		"migration's own address": {map[string]string{"DATABASE_URL": wrong, "TERASOCKET_MIGRATION_DATABASE_URL": url}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := command(t.Context(), test.env, append([]string{"migrate", "version", "--json"}, test.args...)...)
			var answer struct{ Version, Latest uint }
			if err := json.Unmarshal([]byte(got.stdout), &answer); got.code != 0 || err != nil || answer.Version != migrations.Latest() {
				t.Errorf("%+v", got)
			}
		})
	}
	got := command(t.Context(), map[string]string{"DATABASE_URL_FILE": "/nonexistent"}, "migrate", "version")
	if got.code != 2 || !strings.Contains(got.stderr, "DATABASE_URL_FILE") {
		t.Errorf("a missing file: %+v", got)
	}
}

func TestTokenPrintsOneLine(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DATABASE_URL": dbtest.New(t, migrated())}
	got := command(t.Context(), env, "token", "user", opentera.DemoProjectAdminUUID)
	if got.code != 0 || !strings.HasPrefix(got.stdout, "wss://localhost:4050/wss/user?id=") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("%+v", got)
	}
	got = command(t.Context(), env, "token", "--public-url", "wss://tera.example:443", "--json", "device", opentera.DemoDeviceUUID)
	var answer map[string]string
	if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil || !strings.HasPrefix(answer["websocket_url"], "wss://tera.example:443/wss/device?id=") {
		t.Errorf("%+v, %v", got, err)
	}
	conn := dbtest.Conn(t, env["DATABASE_URL"])
	dbtest.Exec(t, conn, "INSERT INTO terasocket.gateways (name, lease_until, public_url) VALUES ('vm :4150 (7)', now() + interval '1 minute', 'ws://127.0.0.1:1/')")
	if got := command(t.Context(), env, "token", "user", opentera.DemoProjectAdminUUID); got.code != 0 || !strings.HasPrefix(got.stdout, "ws://127.0.0.1:1/wss/user?id=") {
		t.Errorf("%+v; want the address of the running gateway", got)
	}
	if got := command(t.Context(), env, "tail", "--as", "user:"+opentera.DemoProjectAdminUUID); got.code != 1 ||
		!strings.Contains(got.stderr, "give its address as the last argument, wss://host:port; gateways of this database: vm :4150 (7)") {
		t.Errorf("%+v", got)
	}
	if got := command(t.Context(), env, "token", "--public-url", "https://x", "user", opentera.DemoProjectAdminUUID); got.code != 2 || got.stdout != "" {
		t.Errorf("%+v; want no token for a bad URL", got)
	}
	for _, args := range [][]string{{"user", "no-such"}, {"user", opentera.DemoDisabledUUID}, {"user", opentera.DemoDeletedUUID},
		{"participant", opentera.DemoProjectAdminUUID}, {"participant", opentera.DemoDisabledParticipantUUID}, {"user", "'; DROP TABLE t_users; --"}} {
		if got := command(t.Context(), env, append([]string{"token"}, args...)...); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "may connect") {
			t.Errorf("%q: %+v; want a refusal", args, got)
		}
	}
}
