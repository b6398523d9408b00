package main

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// bridge.md 2 and 9: a ticket of OpenTera's login opens one socket on one of two gateways, with JSON frames; a kick closes it,
// but not the next; while Redis hangs, new tickets get 503 and the socket stays.
func TestTicketsOfOpenTera(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	address, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(address)
	t.Cleanup(func() { _ = client.Close() })
	url := dbtest.New(t, migrated())
	gateways := [2]*served{serve(t, url, "--redis-url", server.URL(), "--audit-deliveries"), serve(t, url, "--redis-url", server.URL())}
	gateways[0].part("deploy/ knows the metrics", deployKnowsTheMetrics)
	db := dbtest.Conn(t, url)
	logins := 0
	login := func() (ticket string) {
		t.Helper()
		logins++
		sum := sha512.Sum512(fmt.Append(nil, "192.0.2.1|", logins))
		ticket = hex.EncodeToString(sum[:])
		if err := client.Set(t.Context(), ticket, opentera.DemoProjectAdminUUID, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	connect := func(gateway *served, ticket string) (*websocket.Conn, *http.Response) {
		conn, answer, err := gatewaytest.Dial(t.Context(), gateway.URL+"/wss/user?id="+ticket)
		if answer == nil {
			t.Error(err)
			answer = &http.Response{}
		}
		if conn != nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
		return conn, answer
	}
	both := func(ticket string) (open *websocket.Conn) {
		t.Helper()
		var statuses [2]int
		var conns [2]*websocket.Conn
		var all sync.WaitGroup
		for i, gateway := range gateways {
			all.Go(func() {
				var answer *http.Response
				conns[i], answer = connect(gateway, ticket)
				statuses[i] = answer.StatusCode
			})
		}
		all.Wait()
		if statuses[0]+statuses[1] != http.StatusSwitchingProtocols+http.StatusForbidden {
			t.Fatalf("%v, want one 101 and one 403", statuses)
		}
		if conns[0] != nil {
			return conns[0]
		}
		return conns[1]
	}
	hears := func(conn *websocket.Conn, name string) {
		t.Helper()
		dbtest.Exec(t, db, "UPDATE t_participants SET participant_name = $1 WHERE id_participant = 1", name)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			kind, data, err := conn.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if kind != websocket.TextMessage || !json.Valid(data) {
				t.Fatalf("not JSON: %q", data)
			}
			if strings.Contains(string(data), name) {
				return
			}
		}
	}
	kick := func() {
		t.Helper()
		dbtest.Exec(t, db, "SELECT terasocket.kick($1)", opentera.DemoProjectAdminUUID)
	}
	mustEnd := func(conn *websocket.Conn) {
		t.Helper()
		if closed := (&socket{t: t, conn: conn}).closed(); closed.Code != 4000 {
			t.Fatal(closed)
		}
	}

	first := both(login())
	hears(first, "before the kick")
	stale := login()
	kick()
	mustEnd(first)
	if _, answer := connect(gateways[0], stale); answer.StatusCode != http.StatusForbidden {
		t.Errorf("%s for a login before the kick", answer.Status)
	}
	second := both(login())
	hears(second, "after the kick")

	ticket := login()
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if _, answer := connect(gateways[0], ticket); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q while Redis hangs", answer.Status, answer.Header.Get("Retry-After"))
	}
	hears(second, "while Redis hangs")
	gateways[0].waitReady(http.StatusOK, "degraded: OpenTera's Redis")
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	conn, answer := connect(gateways[0], ticket)
	if conn == nil {
		t.Fatalf("%s when Redis is back", answer.Status)
	}
	hears(conn, "afterwards")
	hears(second, "both")
	kick()
	mustEnd(second)
	mustEnd(conn)
}
