package migrations_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// notification is the payload of a NOTIFY.
type notification struct {
	XID     string
	From    int64
	To      int64
	Changes []struct {
		Seq  int64
		Type string
		Op   string
		ID   *int64
	}
	raw string
}

func listen(f *fixture) *pgx.Conn {
	f.Helper()
	conn := dbtest.Conn(f, f.url)
	execOn(f, conn, "LISTEN terasocket")
	return conn
}

// received returns the notifications up to now: a sentinel is sent, and waited for.
func received(f *fixture, listener *pgx.Conn) (list []notification) {
	f.Helper()
	f.exec("NOTIFY terasocket, 'sentinel'")
	for {
		n, err := listener.WaitForNotification(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		if n.Payload == "sentinel" {
			return list
		}
		if len(n.Payload) >= 8000 {
			f.Errorf("payload of %d bytes", len(n.Payload))
		}
		payload := notification{raw: n.Payload}
		decoder := json.NewDecoder(strings.NewReader(n.Payload))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&payload); err != nil {
			f.Errorf("payload %.300s: %v", n.Payload, err)
		}
		list = append(list, payload)
	}
}

func TestNotification(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	events := f.expect("UPDATE t_sites SET site_name = 'x' WHERE id_site < 3", "U site 1", "U site 2")
	got := received(f, listener)
	if len(got) != 1 {
		t.Fatalf("%d notifications of one statement", len(got))
	}
	xid := one[string](f, "SELECT xid::text FROM terasocket.events WHERE seq = $1", events[0].Seq)
	want := fmt.Sprintf(`{"xid" : %q, "from" : %d, "to" : %d, "changes" : [{"seq" : %d, "type" : "site", "op" : "U", "id" : 1}, {"seq" : %d, "type" : "site", "op" : "U", "id" : 2}]}`,
		xid, events[0].Seq, events[1].Seq, events[0].Seq, events[1].Seq)
	mustEqual(t, "payload", got[0].raw, want)

	f.exec("BEGIN; UPDATE t_sites SET site_name = 'y' WHERE id_site = 1; UPDATE t_sites SET site_name = 'z' WHERE id_site = 1; UPDATE t_sites SET site_name = 'z' WHERE id_site = 1; COMMIT")
	if got := received(f, listener); len(got) != 2 || got[0].XID != got[1].XID || got[0].To >= got[1].From {
		t.Errorf("two statements of one transaction: %+v", got)
	}
}

// What records nothing notifies nobody.
func TestNoNotification(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	f.exec("UPDATE t_sites SET site_name = site_name; UPDATE t_users SET user_lastonline = now(); DELETE FROM t_sites WHERE false")
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'x'; ROLLBACK")
	f.exec("INSERT INTO terasocket.events (topic, type, body, audience) SELECT '', '', '{}', '[]' WHERE false")
	if got := received(f, listener); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// Notifications of other kinds of messages carry the type, and no id.
func TestNotificationOfAnotherMessage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	f.exec(`INSERT INTO terasocket.events (topic, type, body, audience) VALUES ('t', 'opentera.protobuf.UserEvent', '{"userUuid": "not for the payload"}', '[]')`)
	got := received(f, listener)
	if len(got) != 1 || len(got[0].Changes) != 1 || got[0].Changes[0].Type != "opentera.protobuf.UserEvent" || got[0].Changes[0].ID != nil ||
		strings.Contains(got[0].raw, "not for the payload") {
		t.Errorf("%+v", got)
	}
}

// A large statement gives one notification with a range, and no row is lost.
func TestLargeStatement(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	manyParticipants(f, 20_000)
	f.exec("UPDATE t_participants SET participant_name = participant_name || '!' WHERE id_participant >= 100000")
	got := received(f, listener)
	if len(got) != 2 { // INSERT and UPDATE
		t.Fatalf("%d notifications", len(got))
	}
	n := got[1]
	if n.Changes != nil || n.To-n.From != 19_999 {
		t.Errorf("%.300s", n.raw)
	}
	mustEqual(t, "events", one[string](f, `SELECT concat_ws(' ', count(*), count(DISTINCT object_id), min(op), max(op), bool_and(body ->> 'participant_name' LIKE '%!'))
		FROM terasocket.events WHERE seq BETWEEN $1 AND $2 AND xid = $3::xid8`, n.From, n.To, n.XID), "20000 20000 U U t")
}

// manyParticipants adds n participants to project 1, from id 100000.
func manyParticipants(f *fixture, n int) {
	f.Helper()
	f.exec(fmt.Sprintf(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_token_enabled, participant_enabled,
		participant_login_enabled, id_project, version_id)
		SELECT 100000 + i, 'many-' || i, 'Participant ' || i, false, true, false, 1, 1 FROM generate_series(0, %d - 1) i`, n))
}

// The payload stays under 8,000 bytes however many changes, and however long what it says: the changes go first.
func TestPayloadLimit(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	f.exec("SELECT setval(pg_get_serial_sequence('terasocket.events', 'seq'), 9000000000000000000)")
	for n := 60; n <= 110; n += 5 { // around 95 bytes each
		f.exec(fmt.Sprintf(`INSERT INTO terasocket.events (topic, type, op, object_type, object_id, body, audience)
			SELECT 't', 't', 'U', 'session_type_project', 2147483647, '{}', '[]' FROM generate_series(1, %d)`, n))
		got := received(f, listener)
		if len(got) != 1 || got[0].To-got[0].From != int64(n-1) {
			t.Errorf("%d changes: %.300v", n, got)
			continue
		}
		if listed := len(got[0].Changes); listed != 0 && listed != n || n <= 70 && listed == 0 || n >= 100 && listed != 0 {
			t.Errorf("%d changes: %d are listed", n, listed)
		}
	}
	// to the byte: one change whose type is as long as needed; é counts for two
	one := func(length int) int {
		f.exec("INSERT INTO terasocket.events (topic, type, body, audience) VALUES ('t', 'é' || repeat('x', $1), '{}', '[]')", length)
		got := received(f, listener)
		if len(got) != 1 {
			t.Fatalf("%d notifications", len(got))
		}
		if got[0].Changes == nil {
			return -1
		}
		return len(got[0].raw)
	}
	size := one(1000)
	longest := 1000 + 7999 - size // the width of xid and seq stays
	mustEqual(t, "longest payload", []int{one(longest), one(longest + 1)}, []int{7999, -1})
}

// Equal changes in one transaction are two notifications: PostgreSQL drops only those that are equal to the letter.
func TestEqualChanges(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	f.exec(`BEGIN; UPDATE t_sites SET site_name = 'a' WHERE id_site = 1; UPDATE t_sites SET site_name = 'b' WHERE id_site = 1;
		UPDATE t_sites SET site_name = 'a' WHERE id_site = 1; UPDATE t_sites SET site_name = 'b' WHERE id_site = 1; COMMIT`)
	got := received(f, listener)
	events := f.log()
	if len(got) != 4 || len(events) != 4 {
		t.Fatalf("%d notifications, %d events", len(got), len(events))
	}
	for i, n := range got {
		if n.From != events[i].Seq || n.To != n.From {
			t.Errorf("notification %d is of %d, not of %d", i, n.From, events[i].Seq)
		}
	}
}

// Rows of any size and any content are in the log as they are in the table.
func TestLongAndOddValues(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	values := map[string]string{
		"1 MB":       strings.Repeat("0123456789abcdef", 1<<16),
		"10 kB odd":  strings.Repeat(`"'\`+"\\u0041 🩺é\u200b\x01\x1f\t\r\n\x7f${x}%s</script>", 250),
		"JSON":       `{"a": [1, "\"", null]}`,
		"surrogates": "𝕿𝖊𝖗𝖆 👩🏽‍⚕️",
		"empty":      "",
		"number":     "1e999",
	}
	for name, value := range values {
		f.log()
		f.exec("UPDATE t_projects SET project_name = $1, project_description = $1 WHERE id_project = 1", value)
		events := f.log()
		if len(events) != 1 || events[0].Body["project_name"] != value || events[0].Body["project_description"] != value {
			t.Errorf("%s: %.300v", name, events)
		}
		if got := received(f, listener); len(got) != 1 || len(got[0].raw) > 200 {
			t.Errorf("%s: notifications %.300v", name, got)
		}
	}
	// a hundred of them in one statement
	f.exec("UPDATE t_participants SET participant_name = repeat('é', 100000) WHERE id_participant <= 100")
	if got := received(f, listener); len(got) != 1 {
		t.Errorf("%d notifications", len(got))
	}
	if n := one[int](f, "SELECT count(*) FROM terasocket.events WHERE body ->> 'participant_name' = repeat('é', 100000)"); n != 100 {
		t.Errorf("%d of 100 events", n)
	}
}

// The payload's xid is that of the rows: a listener reads by it.
func TestNotificationNamesItsTransaction(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f)
	f.exec("BEGIN; SAVEPOINT a; UPDATE t_sites SET site_name = 'a'; RELEASE a; SAVEPOINT b; UPDATE t_projects SET project_name = 'b'; RELEASE b; COMMIT")
	for _, n := range received(f, listener) {
		count := one[int64](f, "SELECT count(*) FROM terasocket.events WHERE xid = $1::xid8 AND seq BETWEEN $2 AND $3", n.XID, n.From, n.To)
		if _, err := strconv.ParseUint(n.XID, 10, 63); err != nil || count != n.To-n.From+1 {
			t.Errorf("%s: %d rows, %v", n.raw, count, err)
		}
	}
}
