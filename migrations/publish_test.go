package migrations_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
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

// typed is the ProtoJSON of an Any.
func typed(name, fields string) string {
	return fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.%s"%s}`, name, fields)
}

func stopEvent(session string) string {
	return typed("StopSessionEvent", `, "sessionUuid": "`+session+`"`)
}

// record reads a row of the log.
func record(t testing.TB, conn *pgx.Conn, seq int64) protoevent.Record {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT seq, 0::bigint, at, topic, type, coalesce(op, ''), coalesce(object_type, ''),
		coalesce(object_id, 0), body::text, audience::text, coalesce(former::text, ''), coalesce(former_body::text, '')
		FROM terasocket.events WHERE seq = $1`, seq)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[protoevent.Record])
	if err != nil {
		t.Fatalf("event %d: %v", seq, err)
	}
	return r
}

// publish must succeed, and gives the row.
func (f *fixture) publish(topic, message string) protoevent.Record {
	f.Helper()
	return record(f, f.conn, one[int64](f, "SELECT terasocket.publish($1, $2::jsonb)", topic, message))
}

// refusal runs a statement that must fail, and gives SQLSTATE and message of the error.
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
		{user, typed("StopSessionEvent", `, "sessionUuid": "`+anyUUID+`", "x": null`), "event has a key 'x', which opentera.protobuf.StopSessionEvent has not"},
		{user, typed("StopSessionEvent", `, "sessionUuid": "`+anyUUID+`", "session_uuid": "`+anyUUID+`"`), "event has session_uuid and sessionUuid, which are the same"},
		{user, typed("StopSessionEvent", `, "SessionUuid": "`+anyUUID+`"`), "event has a key 'SessionUuid'"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": "x"`), "event has a sessionUsers that is not an array"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": [null]`), "event has a sessionUsers with something in it that is not a UUID"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": ["`+anyUUID+`", ""]`), "with something in it that is not a UUID"},
		{user, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "joinMsg": {}`), "event has a joinMsg that is not a string"},
		{user, typed("UserEvent", `, "type": 1`), "event has no userUuid"},
		{user, typed("ArchiveEvent", `, "archiveUuid": "`+anyUUID+`", "ownerUuid": ""`), "event has no ownerUuid"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 8`), "event has a type that is none of USER_UNKNOWN, USER_CONNECTED"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": -1`), "event has a type that is none of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 0.5`), "event has a type that is none of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 1e300`), "event has a type that is none of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": "1"`), "event has a type that is none of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": "user_connected"`), "event has a type that is none of"},
		{user, typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": true`), "event has a type that is none of"},
		{"module.TeraServer.UserManagerModule.messages", typed("UserEvent", `, "userUuid": "`+anyUUID+`", "type": 1`), "which the user manager does not take"},
	} {
		state, message := refusal(t, f.conn, "SELECT terasocket.publish($1, $2::jsonb)", test.topic, test.message)
		if state != "22023" || !strings.HasPrefix(message, "publish: ") || !strings.Contains(message, test.want) {
			t.Errorf("%q %s\nis refused with %s %q, want %q", test.topic, test.message, state, message, test.want)
		}
	}
	const name = "opentera.protobuf.UserEvent"
	field := func(tag byte, value string) string { return string([]byte{tag, byte(len(value))}) + value }
	uuid := field(0x0a, anyUUID)
	for _, test := range []struct{ topic, kind, message, want any }{
		{nil, name, []byte(uuid), "topic is null"},
		{user, nil, []byte(uuid), "type is null"},
		{user, name, nil, "event is null"},
		{user, "", []byte(uuid), "type '' is not of a message"},
		{user, "type.googleapis.com/" + name, []byte(uuid), "is not of a message that clients hear"},
		{user, "opentera.protobuf.DatabaseEvent", []byte{}, "is not of a message that clients hear"},
		{user, name, []byte{}, "event has no userUuid"},
		{user, name, []byte("\x0a"), "event is cut off"},
		{user, name, []byte("\x0a\x24abc"), "event is cut off in field 1"},
		{user, name, []byte("\x0a\xff\xff\xff\xff\xff\x7f"), "event is cut off in field 1"},
		{user, name, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "a number of more than 6 bytes"},
		{user, name, []byte(uuid + "\x80"), "event is cut off"},
		{user, name, []byte("\x08\x01"), "event is not a " + name + ": field 1 of wire type 0"},
		{user, name, []byte(uuid + field(0x12, "x")), "field 2 of wire type 2"},
		{user, name, []byte(uuid + "\x15\x00\x00\x00\x00"), "field 2 of wire type 5"},
		{user, name, []byte(uuid + "\x0b\x0c"), "field 1 of wire type 3"},
		{user, name, []byte(uuid + "\x00\x00"), "field 0 of wire type 0"},
		{user, name, []byte(uuid + field(0x22, "x")), "field 4 of wire type 2"},
		{user, name, []byte(uuid + "\xfa\xff\xff\xff\xff\x7f\x00"), "of wire type 2"},
		{user, name, []byte(uuid + field(0x1a, "\xff")), "event has a text in field 3 that is not UTF-8 or has a zero byte in it"},
		{user, name, []byte(uuid + field(0x1a, "a\x00b")), "event has a text in field 3 that is not UTF-8 or has a zero byte in it"},
		{user, name, []byte(uuid + "\x10\x08"), "event has a type that is none of"},
		{user, name, []byte(uuid + "\x10\x81\x80\x80\x80\x10"), "event has a type that is none of"}, // 1 + 1<<32: Go would read 1
		{user, name, []byte(field(0x0a, "x")), "event has a userUuid that is not a UUID"},
		{user, "opentera.protobuf.JoinSessionEvent", []byte(field(0x1a, anyUUID) + field(0x22, "")), "event has a sessionParticipants with something in it that is not a UUID"},
	} {
		state, message := refusal(t, f.conn, "SELECT terasocket.publish($1, $2, $3::bytea)", test.topic, test.kind, test.message)
		if state != "22023" || !strings.HasPrefix(message, "publish: ") || !strings.Contains(message, test.want.(string)) {
			t.Errorf("%v %v %q\nis refused with %s %q, want %q", test.topic, test.kind, test.message, state, message, test.want)
		}
	}
	state, message := refusal(t, f.conn, "SELECT terasocket.publish(NULL, NULL::jsonb)")
	mustEqual(t, "nulls", state+" "+message, "22023 publish: topic is null")
	state, message = refusal(t, f.conn, "SELECT terasocket.publish($1, NULL::jsonb)", user)
	mustEqual(t, "null event", state+" "+message, "22023 publish: event is null")
	if state, _ := refusal(t, f.conn, "SELECT terasocket.publish($1, '{\"@type\": ')", user); state != "22P02" {
		t.Errorf("JSON that is none is refused with %s", state)
	}
	if n := one[int](f, "SELECT count(*) FROM terasocket.events"); n != 0 {
		t.Errorf("%d refused events are in the log", n)
	}
}

func TestPublishSize(t *testing.T) {
	t.Parallel()
	f := setup(t)
	text := func(n int) string {
		return typed("UserEvent", `, "userUuid": "`+opentera.DemoProjectUserUUID+`", "userFullname": "`+strings.Repeat("x", n)+`"`)
	}
	serialized := func(n int) []byte {
		return slices.Concat([]byte("\x0a\x24"+opentera.DemoProjectUserUUID+"\x1a"), binary.AppendUvarint(nil, uint64(n)), []byte(strings.Repeat("x", n)))
	}
	f.publish(managerTopic, text(260_000))
	one[int64](f, "SELECT terasocket.publish($1, 'opentera.protobuf.UserEvent', $2::bytea)", managerTopic, serialized(260_000))
	const sized = "SELECT terasocket.publish($1, $2::jsonb)"
	state, message := refusal(t, f.conn, sized, managerTopic, text(262_144))
	if state != "54000" || !strings.HasPrefix(message, "publish: event is of 262") || !strings.Contains(message, "more than 262144 (terasocket.max_event_bytes)") {
		t.Errorf("%s %s", state, message)
	}
	if state, message := refusal(t, f.conn, "SELECT terasocket.publish($1, 'opentera.protobuf.UserEvent', $2::bytea)", managerTopic, serialized(262_144)); state != "54000" {
		t.Errorf("%s %s", state, message)
	}
	f.exec("SET terasocket.max_event_bytes = 100")
	if state, _ := refusal(t, f.conn, sized, managerTopic, text(100)); state != "54000" {
		t.Errorf("100 bytes: %s", state)
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

// Nothing is heard before the commit, and nothing of what is rolled back.
func TestPublishInATransaction(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ear := dbtest.Conn(t, f.url)
	execOn(t, ear, "LISTEN terasocket")
	publish := func(fullname string) {
		f.publish(managerTopic, typed("UserEvent", `, "userUuid": "`+opentera.DemoProjectUserUUID+`", "userFullname": "`+fullname+`"`))
	}
	f.exec("BEGIN")
	publish("rolled back")
	f.exec("ROLLBACK; BEGIN; SAVEPOINT s")
	publish("rolled back to a savepoint")
	f.exec("ROLLBACK TO s")
	publish("good")
	if n := oneOn[int](t, ear, "SELECT count(*) FROM terasocket.events"); n != 0 {
		t.Errorf("%d events before the commit", n)
	}
	f.exec("COMMIT")
	n, err := ear.WaitForNotification(t.Context())
	if err != nil || !strings.Contains(n.Payload, `"opentera.protobuf.UserEvent"`) || strings.Contains(n.Payload, opentera.DemoProjectUserUUID) {
		t.Errorf("notified %v, %v", n, err)
	}
	mustEqual(t, "bodies", oneOn[[]string](t, ear, "SELECT array_agg(body ->> 'userFullname') FROM terasocket.events"), []string{"good"})
}

// A service's role needs the right to publish and no other.
func TestPublishRights(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT USAGE ON SCHEMA terasocket TO " + role)
	service := dbtest.Conn(t, withRole(f.url, role))
	serialized := []byte("\x0a\x24" + anyUUID)
	text, topic := stopEvent(anyUUID), directTopic("user", opentera.DemoProjectUserUUID)
	for _, sql := range []string{
		"SELECT terasocket.publish('" + topic + "', '" + text + "')",
		fmt.Sprintf(`SELECT terasocket.publish('%s', 'opentera.protobuf.StopSessionEvent', '\x%x')`, topic, serialized),
		"SELECT terasocket.kick('" + opentera.DemoDeviceUUID + "')",
		"SELECT terasocket.record_message('t', 't', '{}', '[]')",
		"SELECT terasocket.message_keys('opentera.protobuf.StopSessionEvent', '" + text + "')",
		"SELECT terasocket.owner_tags('" + anyUUID + "')",
		"SELECT terasocket.manage('opentera.protobuf.StopSessionEvent', '{}')",
		"SELECT terasocket.service_token_key()", "SELECT terasocket.service('x')", "SELECT * FROM terasocket.signing_keys",
		"SELECT * FROM terasocket.events", "SELECT * FROM terasocket.message_fields", "SELECT * FROM t_users",
	} {
		if state, message := refusal(t, service, sql); state != "42501" {
			t.Errorf("%s: %s %s, want permission denied", sql, state, message)
		}
	}
	f.exec("GRANT EXECUTE ON FUNCTION terasocket.publish(text, jsonb), terasocket.publish(text, text, bytea) TO " + role)
	for _, seq := range []int64{
		oneOn[int64](t, service, "SELECT terasocket.publish($1, $2::jsonb)", topic, text),
		oneOn[int64](t, service, "SELECT terasocket.publish($1, 'opentera.protobuf.StopSessionEvent', $2::bytea)", topic, serialized),
		oneOn[int64](t, service, "SELECT terasocket.publish($1, $2::jsonb)", managerTopic, typed("UserEvent", `, "userUuid": "`+opentera.DemoProjectUserUUID+`"`)),
	} {
		record(t, f.conn, seq)
	}
	// what the role puts in the way of ours is not used
	execOn(t, service, "CREATE TEMP TABLE t_users (id_user int, user_uuid text, deleted_at timestamp); INSERT INTO t_users VALUES (1, '"+anyUUID+"', NULL)")
	if state, _ := refusal(t, service, "SELECT terasocket.publish($1, $2::jsonb)", directTopic("user", anyUUID), text); state != "22023" {
		t.Error("a temporary table of the role stands in for t_users")
	}
	if state, _ := refusal(t, service, "SELECT * FROM terasocket.events"); state != "42501" {
		t.Error("the right to publish opens the log")
	}
}

// A kick goes to the log beside the changes of whom it kicks, and does not get mixed up with them.
func TestPublishKick(t *testing.T) {
	t.Parallel()
	f := setup(t)
	kick := typed("ServerCommand", `, "type": "CMD_CLIENT_DISCONNECT"`)
	for kind, p := range map[string]struct {
		uuid string
		id   int64
	}{
		"user": {opentera.DemoProjectUserUUID, opentera.DemoProjectUserID}, "participant": {opentera.DemoParticipantUUID, opentera.DemoParticipantID},
		"device": {opentera.DemoDeviceUUID, opentera.DemoDeviceID}, "user ": {opentera.DemoDeletedUUID, opentera.DemoDeletedID},
	} {
		r := f.publish(kickTopic+strings.ToUpper(p.uuid), kick)
		if r.Topic != kickTopic+p.uuid || r.ObjectType != strings.TrimSpace(kind) || r.ObjectID != p.id || r.Op != "" || r.Body != `{"type": "CMD_CLIENT_DISCONNECT"}` {
			t.Errorf("%s: %+v", kind, r)
		}
		mustEqual(t, "heard by", f.seenBy(r.Audience), []int32{})
	}
	for name, change := range map[string][2]string{
		"user":               {opentera.DemoProjectUserUUID, "UPDATE t_users SET user_firstname = 'One' WHERE id_user = 9; UPDATE t_users SET user_firstname = 'Two' WHERE id_user = 9"},
		"participant":        {opentera.DemoParticipantUUID, "UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 1; UPDATE t_participants SET participant_name = 'Two' WHERE id_participant = 1"},
		"link of the device": {opentera.DemoDeviceUUID, "DELETE FROM t_devices_sites WHERE id_device = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fixture{TB: t, url: f.url, conn: f.conn}
			routing := func(first, last string) (routed []string) {
				f.exec("BEGIN")
				defer f.exec("ROLLBACK")
				from := one[int64](f, "SELECT coalesce(max(seq), 0) FROM terasocket.events")
				for _, sql := range []string{first, change[1], last} {
					if sql != "" {
						f.exec(sql)
					}
				}
				f.exec("SET CONSTRAINTS ALL IMMEDIATE")
				for _, seq := range one[[]int64](f, "SELECT array_agg(seq ORDER BY seq) FROM terasocket.events WHERE seq > $1", from) {
					r := record(t, f.conn, seq)
					if _, err := protoevent.Decode(r); err != nil {
						t.Error(err)
					}
					if r.Op != "" {
						routed = append(routed, r.Op+r.ObjectType+r.Audience+r.Former+r.FormerBody)
					}
				}
				return routed
			}
			command := "SELECT terasocket.publish('" + kickTopic + change[0] + "', '" + kick + "')"
			want := routing("", "")
			if len(want) == 0 {
				t.Fatal("the change records nothing")
			}
			mustEqual(t, "kicked first", routing(command, ""), want)
			mustEqual(t, "kicked last", routing("", command), want)
		})
	}
}

// Looking people up by UUID costs an index scan, however many there are.
func TestPublishScansNoTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manyParticipants(f, 20000)
	f.exec("ANALYZE")
	list := `["` + opentera.DemoProjectUserUUID + `", "` + strings.ToUpper(opentera.DemoOtherProjectUserUUID) + `"]`
	people := `["` + opentera.DemoParticipantUUID + `", "` + opentera.DemoOtherParticipantUUID + `"]`
	for _, message := range []string{
		typed("ParticipantEvent", `, "participantUuid": "`+strings.ToUpper(opentera.DemoParticipantUUID)+`"`),
		typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": `+list+`, "sessionParticipants": `+people),
		typed("ArchiveEvent", `, "archiveUuid": "`+anyUUID+`", "ownerUuid": "`+opentera.DemoParticipantUUID+`"`),
		stopEvent(anyUUID),
	} {
		for range 7 { // the generic plan too
			f.exec("BEGIN")
			const scans = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 't_participants'"
			before := one[int](f, scans)
			r := f.publish(directTopic("participant", opentera.DemoParticipantUUID), message)
			if n := one[int](f, scans) - before; n > 0 {
				t.Errorf("%s: %d scans of t_participants", r.Type, n)
			}
			f.exec("COMMIT")
		}
	}
}

// The key of service tokens is made once, whoever asks first.
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
