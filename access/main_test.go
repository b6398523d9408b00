package access_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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

// bare is OpenTera's schema without rows, migrated.
func bare() dbtest.Template {
	return dbtest.Template{Name: "bare", Fill: func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if err := opentera.LoadSchema(ctx, conn); err != nil {
			return err
		}
		return migrations.Up(ctx, url)
	}}
}

// with derives a template by running then and announcing everything.
func with(name string, from dbtest.Template, then func(context.Context, *pgx.Conn) error) dbtest.Template {
	return dbtest.Template{Name: name, From: &from, Fill: func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if err := then(ctx, conn); err != nil {
			return err
		}
		_, err = dbtest.AnnounceAll(ctx, conn, 2000)
		return err
	}}
}

// fixture is the database of one test, a connection of OpenTera's role, and an index in which everybody is connected.
type fixture struct {
	testing.TB
	conn  *pgx.Conn
	pool  *pgxpool.Pool
	index *access.Index
	mark  uint64 // seq of the last event read by heard

	atMost int // maximum number of objects announced in one step
}

// setup makes a fixture. At the end of the test the announcer's memory must equal the tables, and no capture may have failed.
func setup(t testing.TB, template dbtest.Template) *fixture {
	t.Helper()
	_, pool := dbtest.LendPool(t, template)
	f := &fixture{TB: t, conn: dbtest.Acquire(t, pool), pool: pool, atMost: 2000}
	t.Cleanup(f.verify)
	f.skip()
	return f
}

// do runs statements in one transaction.
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

// one returns the single value of a query.
func one[T any](f *fixture, sql string, args ...any) T {
	f.Helper()
	return dbtest.One[T](f, f.conn, sql, args...)
}

// audiences asks PostgreSQL who satisfies routing keys now, as ordered ids of users: a second opinion on the index.
func (f *fixture) audiences(keys []string) [][]int32 {
	f.Helper()
	users := make([][]int32, len(keys))
	for i, principals := range f.principals(keys) {
		for _, p := range principals {
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

// principals does the same for all kinds.
func (f *fixture) principals(keys []string) [][]access.Principal {
	f.Helper()
	found := make([][]access.Principal, len(keys))
	rows, err := f.conn.Query(f.Context(), "SELECT ord, kind, ids FROM terasocket.audience($1)", keys)
	if err != nil {
		f.Fatal(err)
	}
	var ord int64
	var kind int16
	var ids []int32
	if _, err := pgx.ForEachRow(rows, []any{&ord, &kind, &ids}, func() error {
		for _, id := range ids {
			found[ord-1] = append(found[ord-1], access.Principal{Kind: access.Kind(kind), ID: id})
		}
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	return found
}

// audience returns who satisfies these keys.
func (f *fixture) audience(keys string) []int32 {
	f.Helper()
	return f.audiences([]string{keys})[0]
}

// message is one DatabaseEvent as received.
type message struct {
	op, objectType string // op: create, update, delete; gone is an update with deleted_at
	id             int64
	keys           []string // of object_value, in order
}

func (m message) String() string { return fmt.Sprintf("%s %s %d", m.op, m.objectType, m.id) }

// deleteKeys are the keys a DB_DELETE may hold, by OpenTera's sheet database-events.
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

// announce announces everything that is committed, and returns the number of rows.
func announce(t testing.TB, pool *pgxpool.Pool) (announced int) {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	return dbtest.Announce(t, conn.Conn(), 2000)
}

// announce announces on the writing connection, where the functions' plans are cached.
func (f *fixture) announce() {
	f.Helper()
	dbtest.Announce(f, f.conn, f.atMost)
}

// skip skips what was recorded so far: everybody connects anew.
func (f *fixture) skip() {
	f.Helper()
	f.announce()
	f.mark = one[uint64](f, "SELECT last_seq FROM terasocket.announcer")
	aliases := map[string]string{}
	rows, _ := f.conn.Query(f.Context(), "SELECT tag, keys::text FROM terasocket.aliases")
	var tag, keys string
	if _, err := pgx.ForEachRow(rows, []any{&tag, &keys}, func() error { aliases[tag] = keys; return nil }); err != nil {
		f.Fatal(err)
	}
	f.index = access.NewIndex(aliases)
	rows, _ = f.conn.Query(f.Context(), "SELECT kind, id, array_agg(tag) FROM terasocket.holdings GROUP BY kind, id")
	var kind string
	var id int32
	var tags []string
	if _, err := pgx.ForEachRow(rows, []any{&kind, &id, &tags}, func() error {
		k, err := access.ParseKind(kind)
		f.index.Add(access.NewView(access.Principal{Kind: k, ID: id}, slices.Clone(tags), f.mark, f.index.Moment()))
		return err
	}); err != nil {
		f.Fatal(err)
	}
}

// recorded returns the rows of the log since the last call, decoded.
func (f *fixture) recorded() []event.Event {
	f.Helper()
	f.announce()
	rows, err := f.conn.Query(f.Context(), `SELECT seq, announcement, at, topic, type, coalesce(op, ''), coalesce(object_type, ''), coalesce(object_id, 0),
		coalesce(body::text, ''), coalesce(gone::text, ''), coalesce(present::text, ''), coalesce(former::text, ''), coalesce(former_as_of, 0)
		FROM terasocket.events WHERE seq > $1 ORDER BY seq`, f.mark)
	if err != nil {
		f.Fatal(err)
	}
	records, err := pgx.CollectRows(rows, pgx.RowToStructByPos[event.Record])
	if err != nil {
		f.Fatal(err)
	}
	events := make([]event.Event, len(records))
	for i, r := range records {
		if events[i], err = event.Decode(r); err != nil {
			f.Fatal(err)
		}
		f.mark = events[i].Seq
	}
	return events
}

// heard returns what each user has received since the last call, in order.
func (f *fixture) heard() map[int32][]message {
	f.Helper()
	heard := map[int32][]message{}
	events := f.recorded()
	for i := range events {
		e := &events[i]
		f.index.Apply(e)
		for _, kind := range access.Kinds {
			p := access.Principal{Kind: kind, ID: int32(e.ObjectID)}
			switch {
			case p.Loses(e):
				f.index.Remove(p) // it is disconnected
			case p.IsOf(e) && e.Kind == event.Rights && slices.Contains(e.Gained, p.Tag()):
				f.index.Add(access.NewView(p, e.Gained, e.Seq, f.index.Moment())) // it connects
			}
		}
		if e.Kind != event.Object {
			continue
		}
		sees, saw := f.index.Audience(e.Present, access.Present), f.index.Audience(e.Former, access.State(e.FormerAsOf))
		supers := f.index.Superadmins()
		all := slices.Concat(sees, saw)
		slices.SortFunc(all, access.Principal.Compare)
		for _, p := range slices.Compact(all) {
			if p.Kind != access.User {
				f.Errorf("%v receives an event of %s %d: participants and devices get no database event", p, e.ObjectType, e.ObjectID)
			}
			form := e.FormFor(slices.Contains(sees, p), slices.Contains(saw, p), slices.Contains(supers, p))
			frame, err := e.Encode(form, event.Protobuf)
			if err != nil {
				f.Fatal(err)
			}
			received, err := event.ParseFrame(frame)
			if err != nil {
				f.Fatal(err)
			}
			heard[p.ID] = append(heard[p.ID], f.message(received.Message.(*protocol.DatabaseEvent)))
		}
	}
	f.secondOpinion(events)
	return heard
}

// secondOpinion compares the index's audience of the newest keys with PostgreSQL's.
func (f *fixture) secondOpinion(events []event.Event) {
	f.Helper()
	var keys []string
	for i := range events {
		if events[i].Present != "" {
			keys = append(keys, events[i].Present)
		}
	}
	if len(keys) == 0 {
		return
	}
	for i, want := range f.principals(keys) {
		slices.SortFunc(want, access.Principal.Compare)
		if got := f.index.Audience(keys[i], access.Present); !slices.Equal(got, want) {
			f.Errorf("by the index %v see %s, by the role tables %v", got, keys[i], want)
		}
	}
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
