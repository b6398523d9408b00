package access_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
	"terasocket/proto/event"
	protocol "terasocket/proto/opentera"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

// demo is the demo installation, migrated.
func demo() dbtest.Template { return dbtest.OpenTera("migrated", migrations.Up) }

// bare is OpenTera's tables without a row, migrated; then runs on top.
func bare(name string, then ...func(context.Context, *pgx.Conn) error) dbtest.Template {
	return dbtest.Template{Name: name, Fill: func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if err := opentera.LoadSchema(ctx, conn); err != nil {
			return err
		}
		if err := migrations.Up(ctx, url); err != nil {
			return err
		}
		for _, f := range then {
			if err := f(ctx, conn); err != nil {
				return err
			}
		}
		return nil
	}}
}

// fixture is the database of one test, a connection of OpenTera's role and the rules on it.
type fixture struct {
	testing.TB
	conn  *pgx.Conn
	rules *access.Rules
	mark  int64 // seq of the last event that heard has read
}

// setup makes one. When the test ends, nothing may be pending and no capture may have failed.
func setup(t testing.TB, template dbtest.Template) *fixture {
	t.Helper()
	url := dbtest.New(t, template)
	f := &fixture{TB: t, conn: dbtest.Conn(t, url), rules: &access.Rules{Pool: dbtest.Pool(t, url)}}
	t.Cleanup(f.verify)
	f.skip()
	return f
}

func (f *fixture) verify() {
	if f.conn.IsClosed() || f.Failed() {
		return
	}
	var pending int
	var failures []string
	err := f.conn.QueryRow(context.Background(), `SELECT (SELECT count(*) FROM terasocket.pending),
		(SELECT coalesce(array_agg(concat_ws(' ', op, table_name, message, context)), '{}') FROM terasocket.capture_errors)`).Scan(&pending, &failures)
	if err != nil || pending > 0 || len(failures) > 0 {
		f.Errorf("%d rows pending, capture errors %q, %v", pending, failures, err)
	}
}

// do runs statements as one transaction.
func (f *fixture) do(statements ...string) {
	f.Helper()
	if err := f.try(statements...); err != nil {
		f.Fatalf("%.400s: %v", strings.Join(statements, ";\n"), err)
	}
}

func (f *fixture) try(statements ...string) error {
	sql := "BEGIN;\n" + strings.Join(statements, ";\n") + ";\nCOMMIT"
	_, err := f.conn.PgConn().Exec(f.Context(), sql).ReadAll()
	if err != nil {
		f.conn.PgConn().Exec(f.Context(), "ROLLBACK").ReadAll()
	}
	return err
}

// one is the single value of a query.
func one[T any](f *fixture, sql string, args ...any) T {
	f.Helper()
	var v T
	if err := f.conn.QueryRow(f.Context(), sql, args...).Scan(&v); err != nil {
		f.Fatalf("%.200s: %v", sql, err)
	}
	return v
}

// audiences is Rules.Audiences, as ids of users in order.
func (f *fixture) audiences(keys []string) [][]int32 {
	f.Helper()
	principals, err := f.rules.Audiences(f.Context(), keys)
	if err != nil {
		f.Fatal(err)
	}
	users := make([][]int32, len(keys))
	for i := range principals {
		for _, p := range principals[i] {
			if p.Kind != access.User {
				f.Errorf("%v in the audience of %s: participants and devices get no database event", p, keys[i])
			}
			users[i] = append(users[i], p.ID)
		}
		slices.Sort(users[i])
		if len(slices.Compact(slices.Clone(users[i]))) != len(users[i]) {
			f.Errorf("somebody is twice in the audience %v of %s", users[i], keys[i])
		}
	}
	return users
}

// audience is who holds these keys.
func (f *fixture) audience(keys string) []int32 {
	f.Helper()
	return f.audiences([]string{keys})[0]
}

// message is one DatabaseEvent that somebody has received.
type message struct {
	op, objectType string // op: create, update, delete; gone is an update with deleted_at
	id             int64
	keys           []string // of object_value, in order
}

func (m message) String() string { return fmt.Sprintf("%s %s %d", m.op, m.objectType, m.id) }

// deleteKeys is what a DB_DELETE may hold, by OpenTera's sheet database-events.
var deleteKeys = map[string][]string{
	"asset": {"asset_uuid", "id_asset"}, "device": {"device_uuid", "id_device"},
	"participant": {"id_participant", "participant_uuid"}, "participant_group": {"id_participant_group"},
	"project": {"id_project"}, "session": {"id_session", "session_uuid"},
	"session_type": {"id_service", "id_session_type"}, "site": {"id_site"}, "user": {"id_user", "user_uuid"},
	"user_group": {"id_user_group"}, "test_type": {"id_test_type", "test_type_uuid"}, "test": {"id_test", "test_uuid"},
	"test_invitation": {"id_test_invitation", "test_invitation_key"}, "service": {"id_service", "service_key"},
	"session_type_site": {"id_session_type_site"}, "session_type_service": {"id_session_type_service"},
	"session_type_project": {"id_session_type_project"}, "server_settings": {"id_server_settings"},
}

// skip forgets what has been recorded so far.
func (f *fixture) skip() {
	f.mark = one[int64](f, "SELECT coalesce(max(seq), 0) FROM terasocket.events")
}

// heard is what each user has received since the last call, in order: the recorded rows, decoded, routed.
func (f *fixture) heard() map[int32][]message {
	f.Helper()
	rows, err := f.conn.Query(f.Context(), `SELECT seq, 0::bigint, at, topic, type, coalesce(op, ''), coalesce(object_type, ''),
		coalesce(object_id, 0), body::text, audience::text, CASE WHEN former_body IS NULL THEN '' ELSE former::text END, coalesce(former_body::text, '')
		FROM terasocket.events WHERE seq > $1 ORDER BY seq`, f.mark)
	if err != nil {
		f.Fatal(err)
	}
	records, err := pgx.CollectRows(rows, pgx.RowToStructByPos[event.Record])
	if err != nil {
		f.Fatal(err)
	}
	var events []event.Event
	var keys []string
	for _, r := range records {
		f.mark = r.Seq
		es, err := event.Decode(r)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range es {
			events = append(events, e)
			keys = append(keys, e.To, e.NotTo)
		}
	}
	users := f.audiences(keys)
	heard := map[int32][]message{}
	for i, e := range events {
		m := f.message(e.Message.(*protocol.DatabaseEvent))
		for _, user := range users[2*i] {
			if !slices.Contains(users[2*i+1], user) {
				heard[user] = append(heard[user], m)
			}
		}
	}
	return heard
}

func (f *fixture) message(e *protocol.DatabaseEvent) message {
	f.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(e.ObjectValue), &value); err != nil {
		f.Fatal(err)
	}
	m := message{objectType: e.ObjectType}
	id, ok := value["id_"+e.ObjectType].(float64)
	if !ok {
		f.Errorf("object_value of %v has no id", e)
	}
	m.id = int64(id)
	for k := range value {
		m.keys = append(m.keys, k)
	}
	slices.Sort(m.keys)
	switch e.Type {
	case protocol.DatabaseEvent_DB_CREATE:
		m.op = "create"
	case protocol.DatabaseEvent_DB_UPDATE:
		m.op = "update"
		if value["deleted_at"] != nil {
			m.op = "gone"
		}
	case protocol.DatabaseEvent_DB_DELETE:
		m.op = "delete"
		if !slices.Equal(m.keys, deleteKeys[m.objectType]) {
			f.Errorf("DB_DELETE of %s holds %v, want only %v", m.objectType, m.keys, deleteKeys[m.objectType])
		}
	}
	return m
}
