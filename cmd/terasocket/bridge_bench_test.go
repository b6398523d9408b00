package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// benchGateway is a gateway in this process beside a Redis, and the socket of user 1.
func benchGateway(b *testing.B) (standin.Service, *websocket.Conn, string) {
	b.Helper()
	url := dbtest.New(b, migrated())
	conn := dbtest.Conn(b, url)
	server, err := standin.StartRedis(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	cfg := &serveCmd{databaseFlags: databaseFlags{DatabaseURL: url}, redisFlags: redisFlags{RedisURL: server.URL()}, Listen: "127.0.0.1:0", PlainHTTP: true,
		LogRetention: time.Hour, LogMaxRows: 1 << 20, MaxBacklog: 64 << 20, PresenceLease: 10 * time.Second, DrainTime: time.Millisecond}
	g, err := openGateway(b.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); _ = g.run(ctx, func() { close(ready) }) }()
	b.Cleanup(func() { cancel(); <-done; g.close() })
	<-ready
	dbtest.Eventually(b, "it holds the bridge", func() bool {
		return dbtest.One[bool](b, conn, "SELECT lease_until > now() FROM terasocket.bridge")
	})
	who := dbtest.One[string](b, conn, "SELECT user_uuid FROM t_users WHERE user_username = $1", opentera.DemoProjectAdmin)
	token := dbtest.One[string](b, conn, "SELECT terasocket.create_connect_token('user', $1)", who)
	socket, _, err := websocket.DefaultDialer.DialContext(b.Context(), g.url()+"/wss/user?id="+token, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = socket.Close() })
	client := redis.NewClient(&redis.Options{Addr: server.Address(), Protocol: 2, DisableIdentity: true})
	b.Cleanup(func() { _ = client.Close() })
	return standin.Service{Redis: client}, socket, who
}

// invite is the n-th invitation of a user.
func invite(who string, n int) *pb.JoinSessionEvent {
	return &pb.JoinSessionEvent{SessionUrl: "https://127.0.0.1:40075/webrtc/8080/users", SessionUuid: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), SessionUsers: []string{who},
		JoinMsg: "Join me!", SessionParameters: "{}"}
}

// hearInvitations reads until n invitations were heard.
func hearInvitations(b *testing.B, socket *websocket.Conn, n int) {
	b.Helper()
	for n > 0 {
		_, data, err := socket.ReadMessage()
		if err != nil {
			b.Fatal(err)
		}
		if bytes.Contains(data, []byte(".JoinSessionEvent")) {
			n--
		}
	}
}

// BenchmarkPublishToFrame is the time from a service's PUBLISH to the frame on the socket, one at a time.
func BenchmarkPublishToFrame(b *testing.B) {
	service, socket, who := benchGateway(b)
	var times []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := service.Direct(b.Context(), "user", who, invite(who, len(times))); err != nil {
			b.Fatal(err)
		}
		hearInvitations(b, socket, 1)
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "ms/p99")
}

// BenchmarkPublishedFrames is how many messages a second come from Redis to a socket, 5,000 published at once.
func BenchmarkPublishedFrames(b *testing.B) {
	service, socket, who := benchGateway(b)
	const burst = 5000
	total := 0
	for b.Loop() {
		go func() {
			for n := range burst {
				if service.Direct(b.Context(), "user", who, invite(who, n)) != nil {
					return
				}
			}
		}()
		hearInvitations(b, socket, burst)
		total += burst
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "frames/s")
}
