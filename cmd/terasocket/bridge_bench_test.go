package main

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// benchGateway returns a gateway in this process beside a Redis, and the socket of user 1.
func benchGateway(b *testing.B) (service standin.Service, socket *websocket.Conn, who string, conn *pgx.Conn) {
	b.Helper()
	url := dbtest.New(b, migrated())
	conn = dbtest.Conn(b, url)
	server, err := standin.StartRedis(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	g := inThisProcess(b, &serveCmd{databaseFlags: databaseFlags{DatabaseURL: url}, redisFlags: redisFlags{RedisURL: server.URL()}, PlainHTTP: true,
		MaxBacklog: 64 << 20, PresenceLease: 10 * time.Second, DrainTime: time.Millisecond})
	dbtest.Eventually(b, "it holds the bridge", func() bool {
		return dbtest.One[bool](b, conn, "SELECT lease_until > now() FROM terasocket.bridge")
	})
	who = dbtest.One[string](b, conn, "SELECT user_uuid FROM t_users WHERE user_username = $1", opentera.DemoProjectAdmin)
	token := dbtest.One[string](b, conn, "SELECT terasocket.create_connect_token('user', $1)", who)
	socket, _, err = websocket.DefaultDialer.DialContext(b.Context(), g.url()+"/wss/user?id="+token, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = socket.Close() })
	client := redis.NewClient(&redis.Options{Addr: server.Address(), Protocol: 2, DisableIdentity: true})
	b.Cleanup(func() { _ = client.Close() })
	return standin.Service{Redis: client}, socket, who, conn
}

// invite returns the n-th invitation of a user.
func invite(who string, n int) *pb.JoinSessionEvent {
	return &pb.JoinSessionEvent{SessionUrl: "https://127.0.0.1:40075/webrtc/8080/users", SessionUuid: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), SessionUsers: []string{who},
		JoinMsg: "Join me!", SessionParameters: "{}"}
}

// hearInvitations reads until n invitations have arrived.
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

// BenchmarkPublishToFrame measures the time from a service's PUBLISH to the frame on the socket, one at a time, alternating
// with that of terasocket.publish() in the database.
func BenchmarkPublishToFrame(b *testing.B) {
	service, socket, who, conn := benchGateway(b)
	ways := map[string]func(n int) error{
		"redis": func(n int) error { return service.Direct(b.Context(), "user", who, invite(who, n)) },
		"sql": func(n int) error {
			event, err := anypb.New(invite(who, n))
			if err != nil {
				return err
			}
			text, err := protojson.Marshal(event)
			if err == nil {
				_, err = conn.Exec(b.Context(), "SELECT terasocket.publish($1, $2::text::jsonb)", "websocket.user."+who+".events", string(text))
			}
			return err
		},
	}
	times := map[string][]time.Duration{}
	for b.Loop() {
		for way, publish := range ways {
			began := time.Now()
			if err := publish(len(times[way])); err != nil {
				b.Fatal(err)
			}
			hearInvitations(b, socket, 1)
			times[way] = append(times[way], time.Since(began))
		}
	}
	for way, list := range times {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, way+"-ms/median")
	}
}

// BenchmarkPublishedFrames measures how many messages a second go from Redis to a socket, 5,000 published at once.
func BenchmarkPublishedFrames(b *testing.B) {
	service, socket, who, _ := benchGateway(b)
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
