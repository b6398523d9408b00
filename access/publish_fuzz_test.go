package access_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
)

// Whatever a service publishes in SQL is accepted, or refused with one of the documented errors and without a trace.
func FuzzPublish(f *testing.F) {
	for _, seed := range [][2]string{
		{"module.TeraServer.UserManagerModule.events", `{"@type": "type.googleapis.com/opentera.protobuf.StopSessionEvent", "sessionUuid": "0badcafe-0000-4000-8000-000000009000"}`},
		{"service.FileTransferService.events", `{"@type": "type.googleapis.com/opentera.protobuf.ArchiveEvent", "owner_uuid": "0badcafe-0000-4000-8000-000000009000", "status": 2}`},
		{"module.TeraServer.UserManagerModule.messages", `{"@type": "type.googleapis.com/opentera.protobuf.JoinSessionEvent", "sessionUsers": ["x", 1, null], "session_users": []}`},
		{"module.TeraServer.TwistedModule.events.0badcafe-0000-4000-8000-000000009000", `{"@type": "type.googleapis.com/opentera.protobuf.ServerCommand", "type": 1e400}`},
		{"websocket.user.x.events", "\xff\xff\xff\xff\xff\xff\xff"},
		{"", "[]"},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	conn := dbtest.Conn(f, dbtest.New(f, demo()))
	refusals := []string{
		"22023", "54000", // documented
		"22P02", "22P05", "22021", "22003", // PostgreSQL's own for text that is no JSON, or no text at all
	}
	f.Fuzz(func(t *testing.T, topic string, event []byte) {
		var captured int
		_, err := conn.Exec(t.Context(), "SELECT terasocket.publish($1, $2::text::jsonb)", topic, string(event))
		if scanErr := conn.QueryRow(t.Context(), "WITH taken AS (DELETE FROM terasocket.changes RETURNING 1) SELECT count(*) FROM taken").Scan(&captured); scanErr != nil {
			t.Fatal(scanErr)
		}
		var refused *pgconn.PgError
		switch {
		case err == nil:
			if captured == 0 && topic != "module.TeraServer.UserManagerModule.messages" {
				t.Error("taken, but not captured")
			}
		case !errors.As(err, &refused):
			t.Error(err)
		case !slices.Contains(refusals, refused.Code):
			t.Errorf("SQLSTATE %s: %s", refused.Code, refused.Message)
		case captured != 0:
			t.Errorf("refused, but %d are captured", captured)
		}
	})
}
