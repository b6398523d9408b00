package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
	"terasocket/api"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
)

// leftRows counts the rows in each of our tables, except the log, which is trimmed by age.
func leftRows(t *testing.T, pool *pgxpool.Pool) map[string]int {
	t.Helper()
	tables, err := pgx.CollectRows(must(pool.Query(t.Context(), `SELECT c.relname::text FROM pg_class c
		WHERE c.relnamespace = 'terasocket'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ('events', 'announcements')`)), pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]int{}
	for _, table := range tables {
		var n int
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM terasocket."+pgx.Identifier{table}.Sanitize()).Scan(&n); err != nil {
			t.Fatal(err)
		}
		left[table] = n
	}
	return left
}

// comeAndGo connects n clients in different ways, and ends them in different ways: orderly, with the socket closed, reset,
// during a handshake, with a bad token; some resume, some ask for a snapshot.
func comeAndGo(ctx context.Context, t *testing.T, gateway *served, pool *pgxpool.Pool, n int) {
	t.Helper()
	tokens, err := pgx.CollectRows(must(pool.Query(ctx, `SELECT terasocket.create_connect_token('participant', participant_uuid)
		FROM generate_series(1, 500) i, t_participants WHERE participant_enabled AND deleted_at IS NULL ORDER BY i, id_participant LIMIT $1`, n)), pgx.RowTo[string])
	if err != nil || len(tokens) != n {
		t.Fatal(len(tokens), err)
	}
	var group errgroup.Group
	group.SetLimit(32)
	for i, token := range tokens {
		group.Go(func() error {
			if i%50 == 7 { // half a handshake
				raw, err := net.Dial("tcp", strings.TrimPrefix(gateway.URL, "wss://"))
				if err != nil {
					return err
				}
				_, _ = raw.Write([]byte{22, 3, 1})
				_ = raw.Close()
			}
			url := api.WebsocketURL(gateway.URL, access.Participant, token)
			switch i % 4 {
			case 1:
				url += "&encoding=json&since=1"
			case 2:
				url += "&snapshot=1"
			}
			if i%50 == 9 {
				if _, _, err := gatewaytest.Dial(ctx, url+"x"); err == nil {
					return fmt.Errorf("a bad token was accepted")
				}
			}
			conn, _, err := gatewaytest.Dial(ctx, url)
			if err != nil {
				return err
			}
			if i%3 == 0 { // it may have received something, for example its own connect
				_ = conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
				_, _, _ = conn.ReadMessage()
			}
			switch i % 5 {
			case 0, 1: // orderly
				_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
				_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
				for err == nil {
					_, _, err = conn.ReadMessage()
				}
			case 2:
				_ = gatewaytest.Raw(conn).SetLinger(0)
			}
			return conn.Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsLeftBehindAfterManyConnects(t *testing.T) {
	t.Parallel()
	few, many := dbtest.Many(100, 50), dbtest.Many(500, 150)
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url, "--presence-grace", "1s", "--presence-lease", "30s")
	isQuiet := func() bool {
		return dbtest.One[int64](t, pool, "SELECT (SELECT count(*) FROM terasocket.connections) + (SELECT count(*) FROM terasocket.online) + (SELECT count(*) FROM terasocket.changes)") == 0
	}
	comeAndGo(t.Context(), t, gateway, pool, few) // to fill the pool and other one-time allocations
	var goroutines, descriptors float64
	same := 0
	dbtest.Eventually(t, "the gateway is at rest", func() bool {
		g, d := gateway.gauge("go_goroutines"), gateway.gauge("process_open_fds")
		if same++; g != goroutines || d != descriptors || !isQuiet() {
			same = 0
		}
		goroutines, descriptors = g, d
		return same == 5
	})
	before := leftRows(t, pool)
	comeAndGo(t.Context(), t, gateway, pool, many)
	const slack = 4 // connections of the pool and metrics requests come and go
	var g, d float64
	defer func() {
		t.Logf("after %d connects: %v goroutines (%v before), %v descriptors (%v)", many, g, goroutines, d, descriptors)
	}()
	dbtest.Eventually(t, "as little as before", func() bool {
		g, d = gateway.gauge("go_goroutines"), gateway.gauge("process_open_fds")
		return g <= goroutines+slack && d <= descriptors+slack && isQuiet()
	})
	for table, n := range leftRows(t, pool) {
		if n > before[table] {
			t.Errorf("%d rows in %s, %d before", n, table, before[table])
		}
	}
}
