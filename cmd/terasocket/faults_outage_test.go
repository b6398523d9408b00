package main

import (
	"fmt"
	"net/http"
	"testing"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// The database is down. Connected clients stay, and receive everything afterwards, in order, up to the present state; new
// clients get 503 at once, at the websocket and at login.
func TestOutage(t *testing.T) {
	t.Parallel()
	direct := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, direct)
	proxy := gatewaytest.NewProxy(t, direct)
	gateway := serve(t, proxy.URL)
	gateway.dbURL = direct
	var clients []*socket
	for i := range 10 {
		query := ""
		if i%2 == 1 {
			query = "&since=0"
		}
		clients = append(clients, gateway.login(opentera.DemoProjectAdmin, query))
	}
	login := func() int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway.HTTP()+"/api/user/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(opentera.DemoSuperadmin, opentera.DemoPassword)
		response, err := (&http.Client{Timeout: gatewaytest.Limit, Transport: &http.Transport{TLSClientConfig: gatewaytest.Insecure, DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatalf("a login during the outage: %v", err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	var names []string
	for round := range 3 {
		token := gateway.token(direct)
		proxy.Cut()
		for range 5 {
			gateway.mustTurnAway(token) // before the gateway has noticed, too
			if code := login(); code != http.StatusServiceUnavailable {
				t.Errorf("a login during the outage got %d", code)
			}
		}
		gateway.waitReady(http.StatusServiceUnavailable, "")
		names = append(names, writes(t, pool, fmt.Sprint("outage ", round), 10)...)
		proxy.Restore()
		gateway.waitReady(http.StatusOK, "ready")
		names = append(names, writes(t, pool, fmt.Sprint("back ", round), 10)...)
	}
	for _, c := range clients {
		c.mustHearLast(names...)
	}
	if n := gateway.value("terasocket_closes_total", "code", "1006"); n != "0" {
		t.Errorf("%s clients were disconnected", n)
	}
	if code := login(); code != http.StatusOK {
		t.Errorf("a login afterwards got %d", code)
	}
}
