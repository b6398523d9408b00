package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// While the database refuses connections, connected clients stay, new ones get 503 at once, and a token is not used up by that.
// Afterwards everybody receives everything.
func TestAnOutageOfTheDatabase(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	writer := dbtest.Conn(t, url) // stays connected, so that there is something to miss
	do := func(conn *pgx.Conn, sql string, args ...any) {
		t.Helper()
		dbtest.Exec(t, conn, sql, args...)
	}
	rename := func(name string) {
		t.Helper()
		do(writer, "UPDATE t_participants SET participant_name = $1 WHERE id_participant = 1", name)
		dbtest.Announce(t, writer, 2000) // an event of its own
	}
	rename("before")
	cursor := paul.mustHearNames("before").Seq
	var token string
	if err := writer.QueryRow(t.Context(), "SELECT terasocket.create_connect_token('user', $1)", opentera.DemoProjectAdminUUID).Scan(&token); err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	name := pgx.Identifier{config.Database}.Sanitize()
	config.Database = "postgres"
	admin, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(t.Context()) })

	do(admin, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
	do(writer, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	rename("meanwhile 1")
	connect := func(query string) (*websocket.Conn, *http.Response) {
		conn, answer, err := gatewaytest.Dial(t.Context(), fmt.Sprintf("%s/wss/user?id=%s%s", gateway.URL, token, query))
		if answer == nil {
			t.Fatalf("no answer: %v", err)
		}
		return conn, answer
	}
	for range 5 {
		if _, answer := connect(""); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Fatalf("%s, Retry-After %q during the outage", answer.Status, answer.Header.Get("Retry-After"))
		}
	}
	rename("meanwhile 2")
	do(admin, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true")
	rename("after")
	paul.mustHearNames("meanwhile 1", "meanwhile 2", "after")

	dbtest.Eventually(t, "the gateway lets somebody in", func() bool {
		conn, answer := connect(fmt.Sprintf("&since=%d", cursor))
		if conn == nil {
			if answer.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("%s after the outage", answer.Status)
			}
			return false
		}
		t.Cleanup(func() { _ = conn.Close() })
		(&socket{t: t, conn: conn}).mustHearNames("meanwhile 1", "meanwhile 2", "after")
		return true
	})
}
