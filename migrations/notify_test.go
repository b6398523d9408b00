package migrations_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// hint is the payload of a NOTIFY: for a change on terasocket, for an announcement on terasocket_log.
type hint struct {
	XID, What, Op string
	IDs           []int64

	Seq      int64
	Snapshot string

	raw string
}

func listen(f *fixture, channel string) *pgx.Conn {
	f.Helper()
	conn := dbtest.Conn(f, f.url)
	execOn(f, conn, "LISTEN "+channel)
	return conn
}

// received returns the notifications up to now: it sends a sentinel and waits for it.
func received(f *fixture, listener *pgx.Conn) (list []hint) {
	f.Helper()
	f.exec("NOTIFY terasocket, 'sentinel'; NOTIFY terasocket_log, 'sentinel'")
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
		h := hint{raw: n.Payload}
		decoder := json.NewDecoder(strings.NewReader(n.Payload))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&h); err != nil {
			f.Errorf("payload %.300s: %v", n.Payload, err)
		}
		list = append(list, h)
	}
}

// A hint names the change and the transaction.
func TestHint(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'x' WHERE id_site < 3")
	xid := one[string](f, "SELECT pg_current_xact_id()::text")
	f.exec("COMMIT")
	got := received(f, listener)
	if len(got) != 1 {
		t.Fatalf("%d notifications of one statement", len(got))
	}
	mustEqual(t, "payload", got[0].raw, fmt.Sprintf(`{"xid": %q, "what": "site", "op": "U", "ids": [1, 2]}`, xid))

	f.exec("BEGIN; SAVEPOINT a; UPDATE t_sites SET site_name = 'y' WHERE id_site = 1; RELEASE a; SAVEPOINT b; UPDATE t_sites SET site_name = 'z' WHERE id_site = 2; RELEASE b; COMMIT")
	if got := received(f, listener); len(got) != 2 || got[0].XID != got[1].XID || got[0].IDs[0] != 1 || got[1].IDs[0] != 2 {
		t.Errorf("two statements of one transaction: %+v", got)
	}
	f.exec("UPDATE t_devices_sites SET id_site = 3 WHERE id_device = 1; UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9; TRUNCATE t_tests_invitations")
	var all []string
	for _, h := range received(f, listener) {
		all = append(all, fmt.Sprint(h.Op, " ", h.What, " ", h.IDs))
	}
	mustEqual(t, "of links, roles and TRUNCATE", all, []string{"L device [1]", "l user [9]", "T test_invitation []"})
}

// The notification of an announcement has the end of the log, and the snapshot.
func TestHintOfAnAnnouncement(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket_log")
	f.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	s := f.announce()
	got := received(f, listener)
	if len(got) != 1 || got[0].Seq != s.lastSeq || got[0].Snapshot != one[string](f, "SELECT snapshot::text FROM terasocket.announcer") {
		t.Errorf("%+v after %+v", got, s)
	}
	f.announce() // finds nothing
	if got := received(f, listener); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A statement that records nothing notifies nobody.
func TestNoHint(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	f.exec("UPDATE t_sites SET site_name = site_name; UPDATE t_users SET user_lastonline = now(); DELETE FROM t_sites WHERE false")
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'x'; ROLLBACK")
	if got := received(f, listener); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A message's hint names its kind, never its fields.
func TestHintOfAMessage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	f.publish(managerTopic, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "userFullname": "not for the payload"`))
	if got := received(f, listener); len(got) != 1 || got[0].What != "message" || strings.Contains(got[0].raw, "not for") || strings.Contains(got[0].raw, anyUUID) {
		t.Errorf("%+v", got)
	}
}

// The payload stays under 8,000 bytes, however many objects a statement changes and however long their ids; one statement is one hint,
// and no object is lost.
func TestLargeStatement(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	f.exec("ALTER TABLE t_participants ALTER COLUMN id_participant TYPE bigint; SELECT terasocket.refresh_capture()")
	f.exec(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_token_enabled, participant_enabled, participant_login_enabled, id_project, version_id)
		SELECT 2147483000 - i, 'long-' || i, 'Participant', false, true, false, 1, 1 FROM generate_series(1, 101) i`)
	for n, listed := range map[int]int{1: 1, 100: 100, 101: 0} {
		f.exec("UPDATE t_participants SET participant_name = participant_name || '.' WHERE id_participant >= $1", 2147483000-n)
		if got := received(f, listener); len(got[len(got)-1].IDs) != listed {
			t.Errorf("%d objects: %s", n, got[len(got)-1].raw)
		}
	}
	f.log()
	manyParticipants(f, 3_500)
	f.exec("UPDATE t_participants SET participant_name = participant_name || '!' WHERE id_participant BETWEEN 100000 AND 200000")
	if got := received(f, listener); len(got) != 2 || got[0].IDs != nil || got[1].IDs != nil { // INSERT and UPDATE
		t.Errorf("%+v", got)
	}
	mustEqual(t, "rows of at most 1,000 ids", one[string](f, "SELECT count(*) || ' ' || max(cardinality(ids)) || ' ' || sum(cardinality(ids)) FROM terasocket.changes"), "8 1000 7000")
	// more than one announcement takes: each object is announced when it is created, and again when it is changed
	told := map[string]int{}
	for _, e := range f.log() {
		told[e.String()]++
	}
	if len(told) != 7_000 {
		t.Errorf("told of %d", len(told))
	}
}

// manyParticipants adds n participants to project 1, from id 100000.
func manyParticipants(f *fixture, n int) {
	f.Helper()
	f.exec(fmt.Sprintf(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_token_enabled, participant_enabled,
		participant_login_enabled, id_project, version_id)
		SELECT 100000 + i, 'many-' || i, 'Participant ' || i, false, true, false, 1, 1 FROM generate_series(0, %d - 1) i`, n))
}

// Rows of any size and content are in the log as in the table.
func TestLongAndOddValues(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	values := map[string]string{
		"400 kB":     strings.Repeat("0123456789abcdef", 1<<14+1<<13),
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
	// more than a megabyte is announced without its long texts
	e := f.expectOne("UPDATE t_projects SET project_name = 'long', project_description = repeat('0123456789abcdef', 70000) WHERE id_project = 1", "U project 1")
	mustEqual(t, "a long object", toJSON(e.Body), `{"id_project":1,"id_site":1,"project_enabled":true,"project_name":"long","truncated":true}`)
	// a hundred of them in one statement
	f.exec("UPDATE t_participants SET participant_name = repeat('é', 100000) WHERE id_participant <= 100")
	f.announce()
	if n := one[int](f, "SELECT count(*) FROM terasocket.events WHERE body ->> 'participant_name' = repeat('é', 100000)"); n != 100 {
		t.Errorf("%d of 100 events", n)
	}
}

// Without hints (terasocket.notify is off) a transaction can be prepared, and is announced once it is committed. With them PostgreSQL
// refuses to prepare it.
func TestPrepareTransaction(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	name := "'terasocket " + f.conn.Config().Database + "'"
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	_, err := f.conn.Exec(t.Context(), "PREPARE TRANSACTION "+name)
	if err == nil || !strings.Contains(err.Error(), "cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY") {
		t.Errorf("%v", err)
	}
	f.exec("ROLLBACK")
	f.exec("BEGIN; SET LOCAL terasocket.notify = off; UPDATE t_sites SET site_name = 'prepared' WHERE id_site = 1; PREPARE TRANSACTION " + name)
	if events := f.log(); len(events) > 0 {
		t.Errorf("announced before the commit: %v", events)
	}
	f.expect("UPDATE t_sites SET site_name = 'y' WHERE id_site = 2", "U site 2")
	f.exec("COMMIT PREPARED " + name)
	mustEqual(t, "announced", f.expectLog("COMMIT PREPARED", "U site 1")[0].Body["site_name"], any("prepared"))
	if got := received(f, listener); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	f.exec("SET terasocket.notify = off")
	f.expect("UPDATE t_sites SET site_name = 'z' WHERE id_site = 1", "U site 1")
	if got := received(f, listener); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
