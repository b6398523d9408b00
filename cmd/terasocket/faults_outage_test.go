package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// wires are a gateway's connections to PostgreSQL, which break in every way. The test's own are not affected.
type wires struct {
	pool           *pgxpool.Pool
	queries, hints *gatewaytest.Proxy
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	w := &wires{dbtest.Pool(t, direct), gatewaytest.NewProxy(t, direct), gatewaytest.NewProxy(t, direct)}
	gateway := serve(t, w.queries.URL, "--listen-database-url", w.hints.URL)
	gateway.dbURL = direct
	gateway.part("not ready without LISTEN", w.withoutListen)
	gateway.part("cut", func(t *testing.T, g *served) { w.outage(t, g, w.queries.Cut, w.queries.Restore) })
	gateway.part("half-open", func(t *testing.T, g *served) { w.outage(t, g, w.queries.HalfOpen, w.queries.Restore) })
	gateway.part("connections refused", func(t *testing.T, g *served) {
		begin, end := w.refused(t)
		w.outage(t, g, begin, end)
	})
	near := serve(t, direct)
	gateway.part("an announcer with half-open connections", func(t *testing.T, g *served) { w.announcerHalfOpen(t, g, near) })
	gateway.part("LISTEN is lost while others announce", func(t *testing.T, g *served) { w.deafAnnouncer(t, g, near) })
}

func (w *wires) withoutListen(t *testing.T, gateway *served) {
	paul := gateway.login(opentera.DemoProjectAdmin, "").keepReading()
	gateway.waitReady(http.StatusOK, "ready")
	reconnects := gateway.value("terasocket_listener_reconnects_total")

	w.hints.Cut()
	gateway.waitReady(http.StatusServiceUnavailable, "the LISTEN connection is down")
	gateway.waitFor(is("0"), "terasocket_listener_up")
	gateway.waitFor(after("0"), "terasocket_lag_seconds")
	address := gateway.address("user", opentera.DemoProjectAdminUUID)
	gateway.mustTurnAway(address)
	rename(t, w.pool, 1, "missed")
	w.hints.Restore()
	gateway.waitReady(http.StatusOK, "ready")
	paul.mustHearNames("missed")
	dial(t, address) // it was not used up
	gateway.waitFor(after(reconnects), "terasocket_listener_reconnects_total")
	gateway.waitFor(is("0"), "terasocket_lag_seconds")
}

// The database is away. Connected clients stay, and receive everything afterwards, in order; new clients get 503 at once, at the
// websocket and at login, and their token is not used up by that.
func (w *wires) outage(t *testing.T, gateway *served, begin, end func()) {
	paul := gateway.login(opentera.DemoProjectAdmin, "").keepReading()
	renameAlone(t, w.pool, 1, t.Name())
	cursor := paul.mustHearNames(t.Name()).Seq
	address := gateway.address("user", opentera.DemoProjectAdminUUID)
	errors, disconnected := gateway.value("terasocket_announce_errors_total"), gateway.value("terasocket_closes_total", "code", "1006")

	begin()
	isSilent := strings.HasSuffix(t.Name(), "half-open")
	if !isSilent {
		gateway.mustTurnAway(address) // before the gateway has noticed, too
	}
	gateway.waitReady(http.StatusServiceUnavailable, "look at the database")
	gateway.mustTurnAway(address)
	if !isSilent {
		if answer := gateway.call(http.MethodGet, "/api/user/login", "", basic(opentera.DemoSuperadmin)); !strings.HasPrefix(answer, "503") {
			t.Errorf("a login during the outage got %s", answer)
		}
	}
	rename(t, w.pool, 1, "one")
	gateway.waitFor(after(errors), "terasocket_announce_errors_total") // it was notified, and cannot announce
	gateway.waitFor(after("0"), "terasocket_lag_seconds")
	renameAlone(t, w.pool, 1, "two")
	renameAlone(t, w.pool, 1, "three")
	end()
	gateway.waitReady(http.StatusOK, "ready")
	paul.mustHearNames("two", "three")
	if n := gateway.value("terasocket_closes_total", "code", "1006"); n != disconnected {
		t.Errorf("%s clients were disconnected, %s before", n, disconnected)
	}
	dial(t, fmt.Sprintf("%s&since=%d", address, cursor)).mustHearNames("two", "three")
	gateway.waitFor(is("0"), "terasocket_lag_seconds")
	if answer := gateway.call(http.MethodGet, "/api/user/login", "", basic(opentera.DemoSuperadmin)); !strings.HasPrefix(answer, "200") {
		t.Errorf("a login afterwards got %s", answer)
	}
}

// refused returns what makes the database end the gateway's connections and refuse new ones, and what undoes that.
func (w *wires) refused(t *testing.T) (begin, end func()) {
	config := w.pool.Config().ConnConfig.Copy()
	name := pgx.Identifier{config.Database}.Sanitize()
	config.Database = "postgres"
	admin := must(pgx.ConnectConfig(t.Context(), config))
	t.Cleanup(func() { _ = admin.Close(t.Context()) })
	allow := func(isAllowed bool) {
		dbtest.Exec(t, admin, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, isAllowed))
	}
	return func() {
		allow(false)
		dbtest.Exec(t, w.pool, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terasocket' AND datname = current_database()")
	}, func() { allow(true) }
}

// Another gateway announces, and this one receives that once it is back.
func (w *wires) announcerHalfOpen(t *testing.T, gateway, near *served) {
	far, other := gateway.login(opentera.DemoProjectAdmin, "").keepReading(), near.login(opentera.DemoProjectAdmin, "").keepReading()
	rename(t, w.pool, 1, "before")
	far.mustHearNames("before")
	other.mustHearNames("before")
	w.queries.HalfOpen()
	names := writes(t, w.pool, "beside it", 20)
	other.mustHearLast(names...)
	gateway.waitReady(http.StatusServiceUnavailable, "")
	w.queries.Restore()
	gateway.waitReady(http.StatusOK, "ready")
	far.mustHearLast(names...)
}

// A gateway without LISTEN does not announce, but reads what others announced.
func (w *wires) deafAnnouncer(t *testing.T, deaf, near *served) {
	far, other := deaf.login(opentera.DemoProjectAdmin, "").keepReading(), near.login(opentera.DemoProjectAdmin, "").keepReading()
	w.hints.Cut()
	deaf.waitFor(is("0"), "terasocket_listener_up")
	rename(t, w.pool, 1, "quiet")
	other.mustHearNames("quiet") // what the other had begun has ended
	before := deaf.value("terasocket_announcements_total")
	names := []string{"quiet"}
	for i := range 5 {
		names = append(names, fmt.Sprint("deaf ", i))
		rename(t, w.pool, 1, names[i+1])
		other.mustHearNames(names[i+1]) // each is announced alone
	}
	far.mustHearNames(names...)
	if n := deaf.value("terasocket_announcements_total"); n != before {
		t.Errorf("%s announcements, %s before", n, before)
	}
	w.hints.Restore()
	deaf.waitReady(http.StatusOK, "ready")
	rename(t, w.pool, 1, "back")
	far.mustHearNames("back")
}
