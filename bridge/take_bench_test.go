package bridge

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/proto/opentera"
)

// BenchmarkTake measures PostgreSQL's CPU time for one message in full batches: to take it, and to announce it.
func BenchmarkTake(b *testing.B) {
	for name, event := range map[string]func(session string) proto.Message{
		"stop": func(session string) proto.Message { return &opentera.StopSessionEvent{SessionUuid: session} },
		"join": func(session string) proto.Message {
			return &opentera.JoinSessionEvent{SessionUuid: session, SessionUrl: "https://127.0.0.1:40075/webrtc/8080/users", SessionUsers: []string{userOne}, SessionParameters: "{}"}
		},
		"user": func(string) proto.Message {
			return &opentera.UserEvent{UserUuid: userOne, Type: opentera.UserEvent_USER_JOINED_SESSION, UserFullname: "Somebody"}
		},
	} {
		b.Run(name, func(b *testing.B) {
			conn := dbtest.Conn(b, dbtest.New(b, Migrated()))
			dbtest.Announce(b, conn, 2000)
			term := dbtest.One[int](b, conn, "SELECT now_term FROM terasocket.bridge_lead('here', 0, '1 hour')")
			var what, places, contents []string
			for n := range batchSize {
				bytes, err := proto.Marshal(standin.TeraEvent(topicOne, event(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))))
				if err != nil {
					b.Fatal(err)
				}
				for _, i := range decode(heard{topic: topicOne, payload: string(bytes)}).items {
					what, places, contents = append(what, i.what), append(places, i.place), append(contents, i.content)
				}
			}
			pid := conn.PgConn().PID()
			var taken, announced time.Duration
			nth := 0
			for b.Loop() {
				began := dbtest.CPU(b, pid)
				for range 10 {
					dbtest.Exec(b, conn, takeSQL, term, nth, []byte("x"), 0, what, places, contents)
					nth += len(what)
				}
				between := dbtest.CPU(b, pid)
				if n := dbtest.Announce(b, conn, 2000); n != 10*batchSize {
					b.Fatal(n, "announced")
				}
				taken, announced = taken+between-began, announced+dbtest.CPU(b, pid)-between
			}
			b.ReportMetric(float64(taken.Nanoseconds())/1e3/float64(nth), "µs/taken")
			b.ReportMetric(float64(announced.Nanoseconds())/1e3/float64(nth), "µs/announced")
		})
	}
}
