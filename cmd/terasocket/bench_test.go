package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/api"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// BenchmarkCommitToFrame is the whole way: an UPDATE of one row is sent to PostgreSQL, and its frame is read from a TLS
// socket of a user who may see it. One at a time: this is latency, not throughput.
func BenchmarkCommitToFrame(b *testing.B) {
	url := dbtest.New(b, migrated())
	dir := b.TempDir()
	cfg := &serveCmd{databaseFlags: databaseFlags{url}, Listen: "127.0.0.1:0", TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"),
		Encoding: "protobuf", LogRetention: time.Hour, LogMaxRows: 1_000_000, MaxBacklog: 256 << 10}
	if err := selfSigned(cfg.TLSCert, cfg.TLSKey); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	g, err := openGateway(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	stopped := make(chan error, 1)
	ready := make(chan struct{})
	go func() { stopped <- g.run(ctx, func() { close(ready) }) }()
	<-ready
	b.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			b.Error(err)
		}
		g.close()
	})
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
	conn := dbtest.Conn(b, url)
	if _, _, err := socket.ReadMessage(); err != nil { // its own USER_CONNECTED
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Exec(ctx, "UPDATE t_participants SET participant_name = clock_timestamp()::text WHERE id_participant = 1"); err != nil {
			b.Fatal(err)
		}
		if _, _, err := socket.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
}
