package access_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
)

// Whatever a service publishes in SQL, as JSON or serialized: it is taken, or refused with one of the documented errors,
// and nothing remains of what was refused.
func FuzzPublish(f *testing.F) {
	for _, seed := range []struct{ topic, messageType, event string }{
		{"module.TeraServer.UserManagerModule.events", "opentera.protobuf.StopSessionEvent", `{"@type": "type.googleapis.com/opentera.protobuf.StopSessionEvent", "sessionUuid": "0badcafe-0000-4000-8000-000000009000"}`},
		{"service.FileTransferService.events", "opentera.protobuf.ArchiveEvent", "\x0a\x240badcafe-0000-4000-8000-000000009000\x12\x240badcafe-0000-4000-8000-000000009000\x18\x02"},
		{"module.TeraServer.UserManagerModule.messages", "opentera.protobuf.JoinSessionEvent", `{"@type": "type.googleapis.com/opentera.protobuf.JoinSessionEvent", "sessionUsers": ["x", 1, null], "session_users": []}`},
		{"module.TeraServer.TwistedModule.events.0badcafe-0000-4000-8000-000000009000", "opentera.protobuf.ServerCommand", `{"@type": "type.googleapis.com/opentera.protobuf.ServerCommand", "type": 1e400}`},
		{"websocket.user.x.events", "x", "\xff\xff\xff\xff\xff\xff\xff"},
		{"", "", "[]"},
	} {
		f.Add(seed.topic, seed.messageType, []byte(seed.event))
	}
	conn := dbtest.Conn(f, dbtest.New(f, demo()))
	refusals := []string{
		"22023", "54000", // documented
		"22P02", "22P05", "22021", "22003", // not JSON, or not text, at all: PostgreSQL's, before it is ours
	}
	f.Fuzz(func(t *testing.T, topic, messageType string, event []byte) {
		var before, after int
		count := "SELECT count(*) FROM terasocket.events"
		for name, publish := range map[string]func() error{
			"json": func() error {
				_, err := conn.Exec(t.Context(), "SELECT terasocket.publish($1, $2::text::jsonb)", topic, string(event))
				return err
			},
			"bytes": func() error {
				_, err := conn.Exec(t.Context(), "SELECT terasocket.publish($1, $2, $3::bytea)", topic, messageType, event)
				return err
			},
		} {
			if err := conn.QueryRow(t.Context(), count).Scan(&before); err != nil {
				t.Fatal(err)
			}
			err := publish()
			if scanErr := conn.QueryRow(t.Context(), count).Scan(&after); scanErr != nil {
				t.Fatal(scanErr)
			}
			var refused *pgconn.PgError
			switch {
			case err == nil:
				if after == before && topic != "module.TeraServer.UserManagerModule.messages" {
					t.Errorf("%s: taken, but not in the log", name)
				}
			case !errors.As(err, &refused):
				t.Errorf("%s: %v", name, err)
			case !slices.Contains(refusals, refused.Code):
				t.Errorf("%s: SQLSTATE %s: %s", name, refused.Code, refused.Message)
			case after != before:
				t.Errorf("%s: refused, but %d rows are in the log", name, after-before)
			}
			if after > 5000 { // to count them takes time
				if _, err := conn.Exec(t.Context(), "TRUNCATE terasocket.events"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
