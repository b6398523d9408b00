package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"terasocket/access"
	"terasocket/api"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// BenchmarkCommitToFrame measures the whole way: an UPDATE of one row is sent to PostgreSQL, and its frame is read from the TLS
// socket of a user who may see it. One at a time: this is latency, not throughput. postgres-us/event is the CPU time of all
// backends but the writer's: the cost of an event to the server after its commit.
func BenchmarkCommitToFrame(b *testing.B) {
	b.Run("few people", func(b *testing.B) { commitToFrame(b, 0) })
	b.Run("10,000 more who may see it", func(b *testing.B) { commitToFrame(b, 10_000) })
}

// inThisProcess runs a gateway in the benchmark's own process.
func inThisProcess(b *testing.B, cfg *serveCmd) *gateway {
	b.Helper()
	cfg.Listen, cfg.LogRetention, cfg.LogMaxRows = "127.0.0.1:0", time.Hour, 1_000_000
	ctx, cancel := context.WithCancel(b.Context())
	g, err := openGateway(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	stopped, ready := make(chan error, 1), make(chan struct{})
	go func() { stopped <- g.run(ctx, func() { close(ready) }) }()
	<-ready
	b.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			b.Error(err)
		}
		g.close()
	})
	return g
}

func commitToFrame(b *testing.B, more int) {
	url := dbtest.New(b, migrated())
	conn := dbtest.Conn(b, url)
	if _, err := conn.Exec(b.Context(), fmt.Sprintf(`
		INSERT INTO t_users (id_user, user_enabled, user_firstname, user_lastname, user_username, user_email, user_password, user_profile, user_superadmin, user_uuid,
		                     user_2fa_enabled, user_2fa_otp_enabled, user_2fa_email_enabled, user_force_password_change, version_id)
		SELECT 100000 + i, true, 'First', 'Last', 'many-' || i, 'many-' || i, 'x', '', false, 'many-' || i, false, false, false, false, 1 FROM generate_series(1, %[1]d) i;
		INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id)
		SELECT 100000 + i, 100000 + i, m.id_user_group, 1
		FROM   generate_series(1, %[1]d) i, (SELECT m.id_user_group FROM t_users_users_groups m JOIN t_users u ON u.id_user = m.id_user
		                                     WHERE u.user_uuid = '%[2]s' AND m.deleted_at IS NULL LIMIT 1) m`, more, opentera.DemoProjectAdminUUID)); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	cfg := &serveCmd{databaseFlags: databaseFlags{url}, TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"), Encoding: "protobuf", MaxBacklog: 256 << 10}
	if err := selfSigned(cfg.TLSCert, cfg.TLSKey); err != nil {
		b.Fatal(err)
	}
	ctx, g := b.Context(), inThisProcess(b, cfg)
	token, err := g.tokens.Create(ctx, access.User, opentera.DemoProjectAdminUUID)
	if err != nil {
		b.Fatal(err)
	}
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	socket, _, err := dialer.DialContext(ctx, api.WebsocketURL(g.url(), access.User, token), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = socket.Close() })
	if _, _, err := socket.ReadMessage(); err != nil { // its own USER_CONNECTED
		b.Fatal(err)
	}
	backends := func() (pids []uint32) {
		rows, err := conn.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if err != nil {
			b.Fatal(err)
		}
		if pids, err = pgx.CollectRows(rows, pgx.RowTo[uint32]); err != nil {
			b.Fatal(err)
		}
		return pids
	}
	var took []time.Duration
	began := dbtest.CPU(b, backends()...)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if _, err := conn.Exec(ctx, "UPDATE t_participants SET participant_name = clock_timestamp()::text WHERE id_participant = 1"); err != nil {
			b.Fatal(err)
		}
		if _, _, err := socket.ReadMessage(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-us")
	b.ReportMetric(float64((dbtest.CPU(b, backends()...)-began).Microseconds())/float64(len(took)), "postgres-us/event")
}
