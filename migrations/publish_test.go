package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	protoevent "terasocket/proto/event"
)

const (
	managerTopic = "module.TeraServer.UserManagerModule.events"
	archiveTopic = "service.FileTransferService.events"
	kickTopic    = "module.TeraServer.TwistedModule.events."
	anyUUID      = "0badcafe-0000-4000-8000-00000000000a"
)

func directTopic(kind, uuid string) string { return "websocket." + kind + "." + uuid + ".events" }

// typed returns the ProtoJSON of an Any.
func typed(name, fields string) string {
	return fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.%s"%s}`, name, fields)
}

func stopEvent(session string) string {
	return typed("StopSessionEvent", `, "sessionUuid": "`+session+`"`)
}

// publish must succeed, and returns the row.
func (f *fixture) publish(topic, message string) protoevent.Record {
	f.Helper()
	return f.heard("SELECT terasocket.publish($1, $2::jsonb)", topic, message)
}

// heard runs a statement by which one message is announced, and returns the row.
func (f *fixture) heard(sql string, args ...any) protoevent.Record {
	f.Helper()
	f.log()
	f.exec(sql, args...)
	f.announce()
	rows := f.rows()
	if len(rows) != 1 {
		f.Fatalf("%s %v: announced %+v", sql, args, rows)
	}
	return rows[0]
}

// refusal runs a statement that must fail, and returns SQLSTATE and message of the error.
func refusal(t testing.TB, conn *pgx.Conn, sql string, args ...any) (state, message string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql, args...)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		t.Errorf("%s %v: %v, want an error of the database", sql, args, err)
		return "", ""
	}
	return refused.Code, refused.Message
}

func TestPublishRecords(t *testing.T) {
	t.Parallel()
	f := setup(t)
	uuid := opentera.DemoProjectUserUUID
	for _, test := range []struct{ topic, message, recorded, kind, body string }{
		{managerTopic, typed("UserEvent", `, "user_uuid": "`+uuid+`", "type": 1, "userFullname": "É"`), managerTopic, "UserEvent",
			`{"type": "USER_CONNECTED", "userUuid": "` + uuid + `", "userFullname": "É"}`},
		{managerTopic, typed("UserEvent", `, "userUuid": "`+strings.ToUpper(uuid)+`", "type": "USER_UPDATED"`), managerTopic, "UserEvent",
			`{"type": "USER_UPDATED", "userUuid": "` + strings.ToUpper(uuid) + `"}`},
		{managerTopic, typed("DeviceEvent", `, "deviceUuid": "`+anyUUID+`", "type": 7.0, "deviceName": null, "deviceStatus": ""`), managerTopic, "DeviceEvent",
			`{"type": "DEVICE_STATUS_CHANGED", "deviceUuid": "` + anyUUID + `", "deviceStatus": ""}`},
		{directTopic("user", strings.ToUpper(uuid)), stopEvent(anyUUID), directTopic("user", uuid), "StopSessionEvent",
			`{"sessionUuid": "` + anyUUID + `"}`},
		{directTopic("user", uuid), typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": ["`+uuid+`"], "session_devices": [], "serviceUuid": ""`),
			directTopic("user", uuid), "JoinSessionEvent", `{"serviceUuid": "", "sessionUuid": "` + anyUUID + `", "sessionUsers": ["` + uuid + `"], "sessionDevices": []}`},
		{archiveTopic, typed("ArchiveEvent", `, "archiveUuid": "`+anyUUID+`", "ownerUuid": "`+uuid+`"`), archiveTopic, "ArchiveEvent",
			`{"ownerUuid": "` + uuid + `", "archiveUuid": "` + anyUUID + `"}`},
	} {
		r := f.publish(test.topic, test.message)
		if r.Topic != test.recorded || r.Type != "opentera.protobuf."+test.kind || r.Body != test.body || r.Op != "" || r.ObjectType != "" || r.Former != "" {
			t.Errorf("%s %s\nrecorded %+v", test.topic, test.message, r)
		}
		if _, err := protoevent.Decode(r); err != nil {
			t.Error(err)
		}
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	user := directTopic("user", opentera.DemoProjectUserUUID)
	stop := stopEvent(anyUUID)
	for _, test := range []struct{ topic, message, want string }{
		{"", stop, `topic '' is heard by no client`},
		{"websocket.user.events", stop, `topic 'websocket.user.events' is heard by no client`},
		{"service.VideoRehabService.events", stop, "topic 'service.VideoRehabService.events' is heard by no client"},
		{"module.TeraServer.DatabaseModule.events.site", stop, "is heard by no client"},
		{managerTopic + " ", stop, "is heard by no client"},
		{managerTopic + "\n", stop, "is heard by no client"},
		{"websocket.user.1.events", stop, "topic 'websocket.user.1.events' has no UUID in it"},
		{directTopic("user", anyUUID+"\n"), stop, "has no UUID in it"},
		{directTopic("robot", anyUUID), stop, "is heard by no client"},
		{directTopic("user", anyUUID), stop, "topic names a user that does not exist: " + anyUUID},
		{directTopic("user", opentera.DemoParticipantUUID), stop, "topic names a user that does not exist"},
		{directTopic("device", opentera.DemoParticipantUUID), stop, "topic names a device that does not exist"},
		{directTopic("user", opentera.DemoDeletedUUID), stop, "topic names a user that does not exist"},
		{kickTopic + anyUUID, stop, "is not for opentera.protobuf.StopSessionEvent"},
		{kickTopic + anyUUID, typed("ServerCommand", `, "type": 2`), "topic names nobody: " + anyUUID},
		{kickTopic + "x", typed("ServerCommand", `, "type": 2`), "has no UUID in it"},
		{kickTopic + opentera.DemoDeviceUUID, typed("ServerCommand", `, "type": 1`), "event is a command other than CMD_CLIENT_DISCONNECT"},
		{kickTopic + opentera.DemoDeviceUUID, typed("ServerCommand", ``), "event is a command other than CMD_CLIENT_DISCONNECT"},
		{user, typed("ServerCommand", `, "type": 2`), "is not for opentera.protobuf.ServerCommand"},

		{user, `null`, `event has no "@type"`},
		{user, `[]`, `event has no "@type"`},
		{user, `"x"`, `event has no "@type"`},
		{user, `{}`, `event has no "@type"`},
		{user, `{"@type": null}`, `event has no "@type"`},
		{user, `{"@type": "opentera.protobuf.StopSessionEvent"}`, `event has no "@type"`},
		{user, `{"@type": "type.googleapis.com/"}`, "type '' is not of a message"},
		{user, typed("DatabaseEvent", ""), "type 'opentera.protobuf.DatabaseEvent' is not of a message that clients hear"},
		{user, typed("LogEvent", ""), "is not of a message that clients hear"},
		{user, typed("TeraEvent", ""), "is not of a message that clients hear"},
		{user, typed("StopSessionEvent ", ""), "is not of a message that clients hear"},

		{user, typed("StopSessionEvent", ""), "event has no sessionUuid"},
		{user, typed("StopSessionEvent", `, "sessionUuid": null`), "event has no sessionUuid"},
		{user, stopEvent(""), "event has no sessionUuid"},
		{user, stopEvent("x"), "event has a sessionUuid that is not a UUID"},
		{user, stopEvent(anyUUID + `\n`), "event has a sessionUuid that is not a UUID"},
		{user, typed("StopSessionEvent", `, "sessionUuid": 1`), "event has a sessionUuid that is not a string"},
		{user, typed("StopSessionEvent", `, "sessionUuid": "`+anyUUID+`", "x": null`), "event has a key 'x': opentera.protobuf.StopSessionEvent has none of that name"},
		{user, typed("StopSessionEvent", `, "sessionUuid": "`+anyUUID+`", "session_uuid": "`+anyUUID+`"`), "event has session_uuid and sessionUuid, which are the same"},
		{user, typed("StopSessionEvent", `, "SessionUuid": "`+anyUUID+`"`), "event has a key 'SessionUuid'"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": "x"`), "event has a sessionUsers that is not an array"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": [null]`), "event has a sessionUsers with something in it that is not a UUID"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": ["`+anyUUID+`", ""]`), "with something in it that is not a UUID"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "joinMsg": {}`), "event has a joinMsg that is not a string"},
		{user, typed("UserEvent", `, "type": 1`), "event has no userUuid"},
		{user, typed("ArchiveEvent", `, "archiveUuid": "`+anyUUID+`", "ownerUuid": ""`), "event has no ownerUuid"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 8`), "event has a type that must be one of USER_UNKNOWN, USER_CONNECTED"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": -1`), "event has a type that must be one of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 0.5`), "event has a type that must be one of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 1e300`), "event has a type that must be one of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": "1"`), "event has a type that must be one of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": "user_connected"`), "event has a type that must be one of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": true`), "event has a type that must be one of"},
		{"module.TeraServer.UserManagerModule.messages", typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 1`), "which the user manager does not take"},
	} {
		state, message := refusal(t, f.conn, "SELECT terasocket.publish($1, $2::jsonb)", test.topic, test.message)
		if state != "22023" || !strings.HasPrefix(message, "publish: ") || !strings.Contains(message, test.want) {
			t.Errorf("%q %s\nis refused with %s %q, want %q", test.topic, test.message, state, message, test.want)
		}
	}
	state, message := refusal(t, f.conn, "SELECT terasocket.publish(NULL, NULL::jsonb)")
	mustEqual(t, "nulls", state+" "+message, "22023 publish: topic is null")
	state, message = refusal(t, f.conn, "SELECT terasocket.publish($1, NULL::jsonb)", user)
	mustEqual(t, "null event", state+" "+message, "22023 publish: event is null")
	if state, _ := refusal(t, f.conn, "SELECT terasocket.publish($1, '{\"@type\": ')", user); state != "22P02" {
		t.Errorf("invalid JSON is refused with %s", state)
	}
	if changes := f.changes(); len(changes) != 0 {
		t.Errorf("refused events are captured: %v", changes)
	}
}

func TestPublishSize(t *testing.T) {
	t.Parallel()
	f := setup(t)
	text := func(n int) string {
		return typed("UserEvent", `, "userUuid": "`+opentera.DemoProjectUserUUID+`", "userFullname": "`+strings.Repeat("x", n)+`"`)
	}
	f.publish(managerTopic, text(260_000))
	const sized = "SELECT terasocket.publish($1, $2::jsonb)"
	state, message := refusal(t, f.conn, sized, managerTopic, text(262_144))
	if state != "54000" || !strings.HasPrefix(message, "publish: event is of 262") || !strings.Contains(message, "more than 262144 (terasocket.max_event_bytes)") {
		t.Errorf("%s %s", state, message)
	}
	f.exec("SET terasocket.max_event_bytes = 100")
	if state, _ := refusal(t, f.conn, sized, managerTopic, text(100)); state != "54000" {
		t.Errorf("100 bytes: %s", state)
	}
	// one that is too large is not checked further
	mustEqual(t, "judged", one[string](f, "SELECT format('%s %s %s', j.state, j.type IS NULL, j.message IS NULL) FROM terasocket.judged($1, $2) j",
		[]string{managerTopic}, []string{text(100)}), "54000 t t")
	if _, message := refusal(t, f.conn, sized, managerTopic, `{"x": "`+strings.Repeat("x", 100)+`"}`); !strings.Contains(message, "more than 100") {
		t.Errorf("without a type: %s", message)
	}
	f.exec("SET terasocket.max_event_bytes = 999999999")
	if state, message := refusal(t, f.conn, sized, managerTopic, text(17_000_000)); state != "54000" || !strings.Contains(message, "more than 16777216") {
		t.Errorf("17 MB: %s %s", state, message)
	}
	for _, setting := range []string{"256kB", "-1", "1e9", "99999999999"} {
		f.exec("SET terasocket.max_event_bytes = '" + setting + "'")
		if state, message := refusal(t, f.conn, sized, managerTopic, text(1)); state != "22023" || !strings.Contains(message, "terasocket.max_event_bytes is '"+setting+"', not a number of bytes") {
			t.Errorf("%s: %s %s", setting, state, message)
		}
	}
	f.exec("RESET terasocket.max_event_bytes")
	f.publish(managerTopic, text(1))
}

// Nothing is received before the commit, and nothing of what is rolled back.
func TestPublishInATransaction(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ear := dbtest.Conn(t, f.url)
	execOn(t, ear, "LISTEN terasocket")
	publish := func(fullname string) {
		f.exec("SELECT terasocket.publish($1, $2::jsonb)", managerTopic, typed("UserEvent", `, "userUuid": "`+opentera.DemoProjectUserUUID+`", "userFullname": "`+fullname+`"`))
	}
	f.exec("BEGIN")
	publish("rolled back")
	f.exec("ROLLBACK; BEGIN; SAVEPOINT s")
	publish("rolled back to a savepoint")
	f.exec("ROLLBACK TO s")
	publish("good")
	f.announce()
	if rows := f.rows(); len(rows) != 0 {
		t.Errorf("before the commit: %v", rows)
	}
	f.exec("COMMIT")
	n, err := ear.WaitForNotification(t.Context())
	if err != nil || !strings.Contains(n.Payload, `"message"`) || strings.Contains(n.Payload, opentera.DemoProjectUserUUID) {
		t.Errorf("notified %v, %v", n, err)
	}
	f.announce()
	if rows := f.rows(); len(rows) != 1 || !strings.Contains(rows[0].Body, `"good"`) {
		t.Errorf("%v", rows)
	}
}

// Messages are never merged, not even equal ones, and keep the order of their transaction, at their place between the objects that it
// changes.
func TestMessagesAreNotMerged(t *testing.T) {
	t.Parallel()
	f := setup(t)
	stop := "SELECT terasocket.publish('" + directTopic("user", opentera.DemoProjectUserUUID) + "', '" + stopEvent(anyUUID) + "'); "
	f.exec("BEGIN; " + stop + "UPDATE t_sites SET site_name = 'x' WHERE id_site = 1; " + stop + "UPDATE t_sites SET site_name = 'y' WHERE id_site = 1; " + stop + "COMMIT")
	f.announce()
	var types []string
	for _, r := range f.rows() {
		types = append(types, strings.TrimPrefix(r.Type, "opentera.protobuf."))
	}
	mustEqual(t, "rows", types, []string{"StopSessionEvent", "DatabaseEvent", "StopSessionEvent", "StopSessionEvent"})
}

// A service's role needs the right to publish and nothing else.
func TestPublishRights(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT USAGE ON SCHEMA terasocket TO " + role)
	service := dbtest.Conn(t, withRole(f.url, role))
	text, topic := stopEvent(anyUUID), directTopic("user", opentera.DemoProjectUserUUID)
	for _, sql := range []string{
		"SELECT terasocket.publish('" + topic + "', '" + text + "')",
		"SELECT terasocket.kick('" + opentera.DemoDeviceUUID + "')",
		"SELECT terasocket.record_messages(ARRAY[terasocket.message_body('t', 't', '{}')])", "SELECT terasocket.record('message', 'M', false, NULL, '{}')",
		"SELECT terasocket.message_keys('opentera.protobuf.StopSessionEvent', '" + text + "', '{}')",
		"SELECT terasocket.owner_tags('" + anyUUID + "')",
		"SELECT terasocket.manage('opentera.protobuf.StopSessionEvent', '{}')",
		"SELECT terasocket.service_token_key()", "SELECT terasocket.service('x')", "SELECT * FROM terasocket.signing_keys",
		"SELECT * FROM terasocket.events", "SELECT * FROM terasocket.message_fields()", "SELECT * FROM terasocket.changes", "SELECT * FROM t_users",
	} {
		if state, message := refusal(t, service, sql); state != "42501" {
			t.Errorf("%s: %s %s, want permission denied", sql, state, message)
		}
	}
	f.exec("GRANT EXECUTE ON FUNCTION terasocket.publish(text, jsonb) TO " + role)
	execOn(t, service, "SELECT terasocket.publish($1, $2::jsonb)", topic, text)
	execOn(t, service, "SELECT terasocket.publish($1, $2::jsonb)", managerTopic, typed("UserEvent", `, "userUuid": "`+opentera.DemoProjectUserUUID+`"`))
	f.announce()
	if rows := f.rows(); len(rows) != 2 {
		t.Errorf("%v", rows)
	}
	// objects of the role do not replace ours
	execOn(t, service, "CREATE TEMP TABLE t_users (id_user int, user_uuid text, deleted_at timestamp); INSERT INTO t_users VALUES (1, '"+anyUUID+"', NULL)")
	if state, _ := refusal(t, service, "SELECT terasocket.publish($1, $2::jsonb)", directTopic("user", anyUUID), text); state != "22023" {
		t.Error("a temporary table of the role stands in for t_users")
	}
	if state, _ := refusal(t, service, "SELECT * FROM terasocket.events"); state != "42501" {
		t.Error("the right to publish allows reading the log")
	}
}

// A kick is a row that gateways act on and no client receives. Its counter is above that of each token made before and below that of each
// made later; it revokes the open ones, and is not mixed up with changes of the kicked principal.
func TestPublishKick(t *testing.T) {
	t.Parallel()
	f := alone(t)
	kick := typed("ServerCommand", `, "type": "CMD_CLIENT_DISCONNECT"`)
	counter := int64(0)
	for kind, p := range map[string]struct {
		uuid string
		id   int64
	}{
		"user": {opentera.DemoProjectUserUUID, opentera.DemoProjectUserID}, "participant": {opentera.DemoParticipantUUID, opentera.DemoParticipantID},
		"device": {opentera.DemoDeviceUUID, opentera.DemoDeviceID}, "user ": {opentera.DemoDeletedUUID, opentera.DemoDeletedID},
	} {
		r := f.publish(kickTopic+strings.ToUpper(p.uuid), kick)
		counter++
		if r.Type != "terasocket.Kick" || r.ObjectType != strings.TrimSpace(kind) || r.ObjectID != p.id || r.Op != "" || r.Body != fmt.Sprintf(`{"token": %d}`, counter) || r.Present+r.Former != "" {
			t.Errorf("%s: %+v", kind, r)
		}
	}
	token, other := mint(f, "user", opentera.DemoProjectUserUUID), mint(f, "user", opentera.DemoSuperadminUUID)
	mustEqual(t, "counter", f.publish(kickTopic+opentera.DemoProjectUserUUID, kick).Body, `{"token": 7}`)
	mustEqual(t, "open token of the kicked user", redeem(f, "user", token), "")
	if redeem(f, "user", other) == "" {
		t.Error("the token of somebody else is gone")
	}
	token = mint(f, "user", opentera.DemoProjectUserUUID)
	mustEqual(t, "counter of a token made later", one[int](f, "SELECT counter FROM terasocket.redeem_connect_token('user', $1)", token), 8)

	command := "SELECT terasocket.publish('" + kickTopic + opentera.DemoProjectUserUUID + "', '" + kick + "'); "
	f.exec("BEGIN; " + command + "UPDATE t_users SET user_firstname = 'One' WHERE id_user = 9; " + command + "UPDATE t_users SET user_firstname = 'Two' WHERE id_user = 9; COMMIT")
	f.announce()
	var all []string
	for _, r := range f.rows() {
		all = append(all, r.Type+" "+r.Op)
	}
	mustEqual(t, "rows", all, []string{"terasocket.Kick ", "opentera.protobuf.DatabaseEvent U", "terasocket.Kick "})
}

// Looking people up by UUID costs an index scan, however many there are.
func TestPublishScansNoTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manyParticipants(f, 20000)
	f.log() // 2,000 of them at once may well be looked up by a scan
	f.exec("ANALYZE")
	list := `["` + opentera.DemoProjectUserUUID + `", "` + strings.ToUpper(opentera.DemoOtherProjectUserUUID) + `"]`
	people := `["` + opentera.DemoParticipantUUID + `", "` + opentera.DemoOtherParticipantUUID + `"]`
	for _, message := range []string{
		typed("ParticipantEvent", `, "participantUuid": "`+strings.ToUpper(opentera.DemoParticipantUUID)+`"`),
		typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": `+list+`, "sessionParticipants": `+people),
		typed("ArchiveEvent", `, "archiveUuid": "`+anyUUID+`", "ownerUuid": "`+opentera.DemoParticipantUUID+`"`),
		stopEvent(anyUUID),
	} {
		for range 7 { // also with the generic plan
			f.exec("BEGIN")
			const scans = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 't_participants'"
			before := one[int](f, scans)
			f.exec("SELECT terasocket.publish($1, $2::jsonb)", directTopic("participant", opentera.DemoParticipantUUID), message)
			if n := one[int](f, scans) - before; n > 0 {
				t.Errorf("%s: %d scans of t_participants", message, n)
			}
			f.exec("COMMIT")
			execOn(t, f.teller, lock+"SELECT * FROM terasocket.announce()")
			if n := oneOn[int](t, f.teller, scans); n > 0 {
				t.Errorf("%s: %d scans of t_participants to announce it", message, n)
			}
			execOn(t, f.teller, "COMMIT")
		}
	}
}

// The key of service tokens is created once, whoever asks first.
func TestServiceTokenKey(t *testing.T) {
	t.Parallel()
	f := setup(t)
	pool := dbtest.Pool(t, f.url)
	keys := make(chan string, 20)
	for range cap(keys) {
		go func() {
			var key string
			if err := pool.QueryRow(context.Background(), "SELECT terasocket.service_token_key()").Scan(&key); err != nil {
				key = err.Error()
			}
			keys <- key
		}()
	}
	first := <-keys
	for range cap(keys) - 1 {
		mustEqual(t, "key", <-keys, first)
	}
	if len(first) != 32 {
		t.Errorf("a key of %d characters", len(first))
	}
	f.exec("DELETE FROM terasocket.signing_keys")
	if one[string](f, "SELECT terasocket.service_token_key()") == first {
		t.Error("the new key is the old one")
	}
}
