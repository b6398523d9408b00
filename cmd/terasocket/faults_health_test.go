package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/api"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// mustTurnAway checks that new clients get 503 with Retry-After.
func (s *served) mustTurnAway(token string) {
	s.t.Helper()
	conn, response, err := gatewaytest.Dial(s.t.Context(), api.WebsocketURL(s.URL, access.User, token))
	if err == nil {
		_ = conn.Close()
		s.t.Fatal("a client was accepted")
	}
	if response == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		s.t.Errorf("a new client got %v %v, want 503 with Retry-After", err, response)
	}
}

// token returns a connect token for paul, created in the database.
func (s *served) token(databaseURL string) (token string) {
	s.t.Helper()
	if err := dbtest.Conn(s.t, databaseURL).QueryRow(s.t.Context(), "SELECT terasocket.create_connect_token('user', $1)", opentera.DemoProjectAdminUUID).Scan(&token); err != nil {
		s.t.Fatal(err)
	}
	return token
}

// A gateway whose schema is gone reports it in one sentence, not for everything that fails.
func TestTheSchemaIsGone(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)
	gateway.login(opentera.DemoProjectAdmin, "")
	dbtest.Eventually(t, "the schema is dropped: the gateway's statements may deadlock with it", func() bool {
		_, err := pool.Exec(t.Context(), "DROP SCHEMA terasocket CASCADE")
		return err == nil
	})
	gateway.waitReady(http.StatusServiceUnavailable, "terasocket is not installed in this database")
	dbtest.Eventually(t, "it says so", func() bool { return gateway.Log.Count("terasocket was taken out of this database") > 0 })
	time.Sleep(5 * time.Second) // a poll, and a renewal of its lease
	if gateway.Log.Count("level=ERROR") != 1 || gateway.Log.Count("does not exist") > 0 {
		t.Errorf("its log:\n%s", &gateway.Log)
	}
}

func TestNotReadyWithoutListen(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, direct)
	proxy := gatewaytest.NewProxy(t, direct)
	gateway := serve(t, direct, "--listen-database-url", proxy.URL)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	gateway.waitReady(http.StatusOK, "ready")
	reconnects := gateway.value("terasocket_listener_reconnects_total")

	proxy.Cut()
	gateway.waitReady(http.StatusServiceUnavailable, "the LISTEN connection is down")
	gateway.waitFor(is("0"), "terasocket_listener_up")
	gateway.waitFor(after("0"), "terasocket_lag_seconds")
	token := gateway.token(direct)
	gateway.mustTurnAway(token)
	rename(t, pool, 1, "missed")
	proxy.Restore()
	gateway.waitReady(http.StatusOK, "ready")
	paul.mustHearNames("missed")
	dial(t, api.WebsocketURL(gateway.URL, access.User, token)) // it was not used up
	gateway.waitFor(after(reconnects), "terasocket_listener_reconnects_total")
	gateway.waitFor(is("0"), "terasocket_lag_seconds")
}

func TestNotReadyWithoutPool(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, direct)
	for _, fault := range []struct {
		name   string
		inject func(*gatewaytest.Proxy)
	}{
		{"cut", (*gatewaytest.Proxy).Cut},
		{"half-open", (*gatewaytest.Proxy).HalfOpen},
	} {
		proxy := gatewaytest.NewProxy(t, direct)
		gateway := serve(t, proxy.URL, "--listen-database-url", direct)
		gateway.dbURL = direct // to log in with, if necessary
		paul := gateway.login(opentera.DemoProjectAdmin, "")
		rename(t, pool, 1, "before "+fault.name)
		paul.mustHearNames("before " + fault.name)

		token := gateway.token(direct)
		fault.inject(proxy)
		gateway.waitReady(http.StatusServiceUnavailable, "look at the database")
		gateway.mustTurnAway(token)
		rename(t, pool, 1, "one "+fault.name)
		gateway.waitFor(after("0"), "terasocket_announce_errors_total") // it was notified, and cannot announce
		gateway.waitFor(after("0"), "terasocket_lag_seconds")
		rename(t, pool, 1, "two "+fault.name)
		rename(t, pool, 1, "three "+fault.name)
		proxy.Restore()
		gateway.waitReady(http.StatusOK, "ready")
		paul.mustHearLast("one "+fault.name, "two "+fault.name, "three "+fault.name)
		gateway.waitFor(is("0"), "terasocket_lag_seconds")
	}
}

func TestNotReadyWithAnotherSchema(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url)
	for _, tt := range []struct{ change, undo, reason string }{
		{"UPDATE terasocket.functions SET compatibility = compatibility + 1", "UPDATE terasocket.functions SET compatibility = compatibility - 1", "newer than this binary"},
		{"UPDATE terasocket.functions SET compatibility = compatibility - 1", "UPDATE terasocket.functions SET compatibility = compatibility + 1", "older than this binary"},
		{"UPDATE terasocket.schema_migrations SET dirty = true", "UPDATE terasocket.schema_migrations SET dirty = false", "interrupted"},
		{"ALTER TABLE terasocket.schema_migrations RENAME TO elsewhere", "ALTER TABLE terasocket.elsewhere RENAME TO schema_migrations", "not installed in this database"},
	} {
		gateway.waitReady(http.StatusOK, "ready")
		psql(t, url, tt.change)
		gateway.waitReady(http.StatusServiceUnavailable, tt.reason)
		psql(t, url, tt.undo)
	}
	gateway.waitReady(http.StatusOK, "ready")
}

func TestNotReadyWhileDraining(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url, "--drain-time", "10s")
	gateway.login(opentera.DemoProjectAdmin, "") // it never answers the close frame: that takes until CloseWait
	gateway.login(opentera.DemoSuperadmin, "")
	token := gateway.token(url)
	gateway.waitReady(http.StatusOK, "ready")
	gateway.signal(syscall.SIGTERM)
	gateway.waitReady(http.StatusServiceUnavailable, "draining")
	gateway.mustTurnAway(token)
	gateway.mustExit()
}

// A gateway that cannot begin repeats why, and begins as soon as it can.
func TestAGatewayThatWaitsToBeginSaysWhy(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	tx, err := dbtest.Conn(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, tx.Conn(), "LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE") // an announcement that does not end
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	path, err := gatewaytest.Program()
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan error, 1)
	go func() {
		gateway, err := gatewaytest.Start(t.Context(), gatewaytest.Config{Program: path, Database: url, Args: []string{"--plain-http"}, Stderr: log})
		if err == nil {
			gateway.Kill()
		}
		began <- err
	}()
	dbtest.Eventually(t, "it says that it is not ready, and why", func() bool {
		said, err := os.ReadFile(log.Name())
		return err == nil && bytes.Contains(said, []byte("not ready yet")) && bytes.Contains(said, []byte("no announcer has begun an epoch"))
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-began; err != nil {
		t.Error(err)
	}
}
