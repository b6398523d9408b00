package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// asProgram in the environment makes the test binary the program, so that it need not be built twice.
const asProgram = "TEST_BINARY_IS_TERASOCKET"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(gatewaytest.Main(m))
}

// served is a gateway under test, in its own process.
type served struct {
	*gatewaytest.Gateway
	t         *testing.T
	dbURL     string
	cert, key string
	db        *pgx.Conn // of conn
}

// serve starts a gateway with TLS.
func serve(t *testing.T, databaseURL string, args ...string) *served {
	t.Helper()
	cert, key, err := gatewaytest.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, gatewaytest.Config{Database: databaseURL, Args: append([]string{"--tls-cert", cert, "--tls-key", key, "--drain-time", "200ms"}, args...)})
	s.cert, s.key = cert, key
	return s
}

// part runs a subtest on a gateway that serves several, one after the other.
func (s *served) part(name string, test func(t *testing.T, gateway *served)) {
	s.t.Run(name, func(t *testing.T) {
		gateway := *s
		gateway.t = t
		test(t, &gateway)
	})
}

// servePlain starts a gateway as operators do, with no more flags than it needs, at debug level.
func servePlain(t *testing.T, c gatewaytest.Config) *served {
	t.Helper()
	c.Args = append([]string{"--plain-http", "--log-level", "debug", "--presence-grace", "0"}, c.Args...)
	return start(t, c)
}

func start(t *testing.T, c gatewaytest.Config) *served {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), gatewaytest.Limit)
	defer cancel()
	c.Program, c.Env = must(os.Executable()), append(c.Env, asProgram+"=1")
	g, err := gatewaytest.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", &g.Log)
		}
		if g.Log.Count("DATA RACE") > 0 {
			t.Errorf("data race in the gateway:\n%s", &g.Log)
		}
	})
	return &served{Gateway: g, t: t, dbURL: c.Database}
}

// mustStop stops it with SIGTERM.
func (s *served) mustStop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.mustExit()
}

func (s *served) mustExit() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), gatewaytest.Limit)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		s.t.Errorf("exit: %v", err)
	}
}

func (s *served) signal(signal os.Signal) {
	s.t.Helper()
	if err := s.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// waitReady polls until /readyz answers with this code; reason is a part of its text.
func (s *served) waitReady(code int, reason string) {
	s.t.Helper()
	dbtest.Eventually(s.t, fmt.Sprintf("/readyz answers %d %q", code, reason), func() bool {
		got, body := s.Ask(s.t.Context(), "/readyz")
		if got != code || !strings.Contains(body, reason) {
			return false
		}
		if alive, _ := s.Ask(s.t.Context(), "/healthz"); alive != http.StatusOK {
			s.t.Errorf("/healthz: %d while /readyz says %q", alive, body)
		}
		return true
	})
}

// login connects as a user, by HTTP Basic over TLS. A user that is online gets no websocket URL there, as in OpenTera: then a
// token is created in the database.
func (s *served) login(username, query string) *socket {
	s.t.Helper()
	url, err := login(s.t.Context(), s.HTTP(), "with_websocket=true", username, opentera.DemoPassword, gatewaytest.Insecure)
	if err != nil && strings.Contains(err.Error(), "User already logged in.") {
		uuid := dbtest.One[string](s.t, s.conn(), "SELECT user_uuid FROM t_users WHERE user_username = $1", username)
		url, err = s.address("user", uuid), nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return dial(s.t, url+query)
}

// conn returns a connection to its database, for this test alone.
func (s *served) conn() *pgx.Conn {
	s.t.Helper()
	if s.db == nil {
		s.db = dbtest.Conn(s.t, s.dbURL)
	}
	return s.db
}

// exec changes the database, as OpenTera or an operator would.
func (s *served) exec(sql string, args ...any) {
	s.t.Helper()
	dbtest.Exec(s.t, s.conn(), sql, args...)
}

// address returns a websocket URL that works once, by a token from the database.
func (s *served) address(kind, uuid string) string {
	s.t.Helper()
	return s.URL + "/wss/" + kind + "?id=" + dbtest.One[string](s.t, s.conn(), "SELECT terasocket.create_connect_token($1, $2)", kind, uuid)
}

// psql changes a database in a session of its own.
func psql(t *testing.T, url, statements string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, conn, statements)
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
