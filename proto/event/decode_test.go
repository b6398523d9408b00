package event_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

var at = time.Date(2024, 11, 23, 1, 23, 20, 123456000, time.UTC)

// participantUpdate is a row of an object that has moved: some of its former viewers no longer see it.
func participantUpdate() event.Record {
	return event.Record{
		Seq: 42, Announcement: 7, At: at,
		Topic: "module.TeraServer.DatabaseModule.events.participant",
		Type:  "opentera.protobuf.DatabaseEvent",
		Op:    "U", ObjectType: "participant", ObjectID: 5,
		Body:    `{"id_participant": 5, "participant_email": null, "participant_name": "R\u00e9al"}`,
		Gone:    `{"id_participant": 5, "participant_uuid": "p5"}`,
		Present: `[["p:2"]]`, Former: `[["p:1"]]`,
	}
}

func userEvent(body string) event.Record {
	return event.Record{
		Seq: 43, At: at,
		Topic:   "module.TeraServer.UserManagerModule.events",
		Type:    "opentera.protobuf.UserEvent",
		Body:    body,
		Present: `[["u:1"]]`,
	}
}

// databaseEvent returns what a recipient of this form of e receives.
func databaseEvent(t *testing.T, e event.Event, form event.Form) *opentera.DatabaseEvent {
	t.Helper()
	got, err := event.ParseFrame(encode(t, &e, form, event.Protobuf))
	if err != nil {
		t.Fatal(err)
	}
	return got.Message.(*opentera.DatabaseEvent)
}

func TestDecodeObject(t *testing.T) {
	t.Parallel()
	for _, objectType := range event.ObjectTypes {
		r := participantUpdate()
		r.ObjectType, r.FormerAsOf = objectType, 41
		e := decode(t, r)
		if e.Kind != event.Object || e.Seq != 42 || e.Announcement != 7 || !e.At.Equal(at) || e.Topic != r.Topic || e.Present != r.Present ||
			e.Former != r.Former || e.FormerAsOf != 41 || e.ObjectType != objectType || e.ObjectID != 5 || e.Message != nil {
			t.Errorf("%+v", e)
		}
		for form, want := range map[event.Form]*opentera.DatabaseEvent{
			event.Create: {Type: opentera.DatabaseEvent_DB_CREATE, ObjectType: objectType, ObjectValue: r.Body},
			event.Update: {Type: opentera.DatabaseEvent_DB_UPDATE, ObjectType: objectType, ObjectValue: r.Body},
			event.Delete: {Type: opentera.DatabaseEvent_DB_DELETE, ObjectType: objectType, ObjectValue: r.Gone},
		} {
			if got := databaseEvent(t, e, form); !proto.Equal(got, want) {
				t.Errorf("form %d: %v, want %v", form, got, want)
			}
		}
	}
}

func TestDecodeOurs(t *testing.T) {
	t.Parallel()
	row := func(name, objectType, body string) event.Record {
		return event.Record{Seq: 44, Announcement: 7, At: at, Type: "terasocket." + name, ObjectType: objectType, ObjectID: 3, Body: body}
	}
	if e := decode(t, row("Rights", "user", `{"gained": ["u:3", "p:1"], "lost": ["x"]}`)); e.Kind != event.Rights || e.ObjectType != "user" ||
		e.ObjectID != 3 || !slices.Equal(e.Gained, []string{"u:3", "p:1"}) || !slices.Equal(e.Lost, []string{"x"}) {
		t.Errorf("rights: %+v", e)
	}
	if e := decode(t, row("Kick", "device", `{"token": 12}`)); e.Kind != event.Kick || e.ObjectType != "device" || e.ObjectID != 3 || e.Token != 12 {
		t.Errorf("kick: %+v", e)
	}
	if e := decode(t, row("Alias", "", `{"tag": "service:5", "keys": [["x", "p:1"]], "was": null}`)); e.Kind != event.Alias ||
		e.Tag != "service:5" || e.Keys != `[["x", "p:1"]]` || e.Was != "" {
		t.Errorf("alias: %+v", e)
	}
	if e := decode(t, row("Settled", "", `{}`)); e.Kind != event.Settled {
		t.Errorf("settled: %+v", e)
	}
}

func TestNobodyHearsOfALogin(t *testing.T) {
	t.Parallel()
	r := userEvent(`{}`)
	r.Type = "opentera.protobuf.LoginEvent"
	if e := decode(t, r); e.Present != "" {
		t.Errorf("it goes to %s", e.Present)
	}
}

func TestDecodeMessages(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body string
		want proto.Message
	}{
		"UserEvent":             {`{"userUuid": "u1", "type": "USER_CONNECTED"}`, &opentera.UserEvent{UserUuid: "u1", Type: 1}},
		"ParticipantEvent":      {`{"participantName": "é"}`, &opentera.ParticipantEvent{ParticipantName: "é"}},
		"DeviceEvent":           {`{"deviceStatus": "{\"a\": 1}", "type": 7}`, &opentera.DeviceEvent{DeviceStatus: `{"a": 1}`, Type: 7}},
		"JoinSessionEvent":      {`{"sessionUsers": ["u1", "u2"]}`, &opentera.JoinSessionEvent{SessionUsers: []string{"u1", "u2"}}},
		"LeaveSessionEvent":     {`{"leavingDevices": []}`, &opentera.LeaveSessionEvent{}},
		"JoinSessionReplyEvent": {`{"joinReply": "REPLY_BUSY"}`, &opentera.JoinSessionReplyEvent{JoinReply: 3}},
		"StopSessionEvent":      {`{"session_uuid": "s1"}`, &opentera.StopSessionEvent{SessionUuid: "s1"}},
		"ArchiveEvent":          {`{"archiveUrl": null, "status": 99}`, &opentera.ArchiveEvent{Status: 99}},
	} {
		for _, body := range []string{
			tc.body,
			`{"@type": "type.googleapis.com/opentera.protobuf.` + name + `", ` + tc.body[1:],
			`{"\u0040type": "opentera.protobuf.` + name + `", ` + tc.body[1:],
		} {
			r := userEvent(body)
			r.Type = "opentera.protobuf." + name
			wantMessage(t, r, tc.want)
		}
	}
	wantMessage(t, userEvent(`{}`), &opentera.UserEvent{})
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	// secret marks a body, to detect errors that contain one.
	const secret = "Zq8"
	database := func(change func(*event.Record)) event.Record {
		r := participantUpdate()
		r.Body = `{"a": "` + secret + `"}`
		change(&r)
		return r
	}
	message := func(body string) event.Record { return userEvent(body) }
	ours := func(name, body string) func(*event.Record) {
		return func(r *event.Record) {
			r.Type, r.Op, r.Former, r.ObjectType, r.Body = "terasocket."+name, "", "", "site", body
		}
	}

	for name, tc := range map[string]struct {
		record event.Record
		want   string
	}{
		"no seq":               {database(func(r *event.Record) { r.Seq = 0 }), "decode event 0: seq is not positive"},
		"negative seq":         {database(func(r *event.Record) { r.Seq = -1 }), "decode event -1: seq is not positive"},
		"topic not UTF-8":      {database(func(r *event.Record) { r.Topic = "\xff" }), "decode event 42: topic is not valid UTF-8"},
		"no type":              {database(func(r *event.Record) { r.Type, r.Op, r.Former = "", "", "" }), `decode event 42: unknown type ""`},
		"unknown type":         {database(func(r *event.Record) { r.Type, r.Op, r.Former = "opentera.protobuf.FooEvent", "", "" }), `decode event 42: unknown type "opentera.protobuf.FooEvent"`},
		"type for no socket":   {database(func(r *event.Record) { r.Type, r.Op, r.Former = "opentera.protobuf.LogEvent", "", "" }), `decode event 42: unknown type "opentera.protobuf.LogEvent"`},
		"long type":            {database(func(r *event.Record) { r.Type, r.Op, r.Former = strings.Repeat("x", 10_000), "", "" }), `decode event 42: unknown type "` + strings.Repeat("x", 80) + `"`},
		"no op":                {database(func(r *event.Record) { r.Op = "" }), `decode event 42: unknown op ""`},
		"unknown op":           {database(func(r *event.Record) { r.Op = "T" }), `decode event 42: unknown op "T"`},
		"op in lower case":     {database(func(r *event.Record) { r.Op = "c" }), `decode event 42: unknown op "c"`},
		"no object type":       {database(func(r *event.Record) { r.ObjectType = "" }), `decode event 42: unknown object type ""`},
		"unknown object type":  {database(func(r *event.Record) { r.ObjectType = "device_type" }), `decode event 42: unknown object type "device_type"`},
		"no body":              {database(func(r *event.Record) { r.Body = "" }), "decode event 42: body: not a JSON object"},
		"body not JSON":        {database(func(r *event.Record) { r.Body = "{" + secret }), "decode event 42: body: not a JSON object"},
		"body with a tail":     {database(func(r *event.Record) { r.Body = `{"a": 1} "` + secret + `"` }), "decode event 42: body: not a JSON object"},
		"body an array":        {database(func(r *event.Record) { r.Body = `["` + secret + `"]` }), "decode event 42: body: not a JSON object"},
		"body null":            {database(func(r *event.Record) { r.Body = `null` }), "decode event 42: body: not a JSON object"},
		"body not UTF-8":       {database(func(r *event.Record) { r.Body = `{"a": "` + secret + "\xff" + `"}` }), "decode event 42: body: not valid UTF-8"},
		"gone not JSON":        {database(func(r *event.Record) { r.Gone = secret }), "decode event 42: gone: not a JSON object"},
		"gone missing":         {database(func(r *event.Record) { r.Gone = "" }), "decode event 42: gone: not a JSON object"},
		"gone not UTF-8":       {database(func(r *event.Record) { r.Gone = `{"a": "\x80` + secret + "\x80\"}" }), "decode event 42: gone: not valid UTF-8"},
		"present on a delete":  {database(func(r *event.Record) { r.Op = "D" }), "decode event 42: present on a delete"},
		"soft delete, no gone": {database(func(r *event.Record) { r.Op, r.Gone = "G", "" }), "decode event 42: gone: not a JSON object"},
		"former as of itself":  {database(func(r *event.Record) { r.FormerAsOf = 42 }), "decode event 42: former is as of no seq before it"},
		"former as of -1":      {database(func(r *event.Record) { r.FormerAsOf = -1 }), "decode event 42: former is as of no seq before it"},
		"soft delete, no body": {database(func(r *event.Record) { r.Op, r.Present, r.Body = "G", "", "" }), "decode event 42: body: not a JSON object"},
		"negative announcement": {database(func(r *event.Record) { r.Announcement = -1 }),
			"decode event 42: announcement is negative"},

		"rights not JSON":      {database(ours("Rights", secret)), "decode event 42: body: not the JSON of its type"},
		"rights of no tags":    {database(ours("Rights", `{"gained": [1, "`+secret+`"]}`)), "decode event 42: body: not the JSON of its type"},
		"rights of a site":     {database(ours("Rights", `{}`)), `decode event 42: unknown kind of principal "site"`},
		"kick not JSON":        {database(ours("Kick", secret)), "decode event 42: body: not the JSON of its type"},
		"kick of a site":       {database(ours("Kick", `{}`)), `decode event 42: unknown kind of principal "site"`},
		"alias not JSON":       {database(ours("Alias", secret)), "decode event 42: body: not the JSON of its type"},
		"alias without a tag":  {database(ours("Alias", `{"keys": "`+secret+`"}`)), "decode event 42: body: no tag"},
		"something else of us": {database(ours("Cursor", `{}`)), `decode event 42: unknown type "terasocket.Cursor"`},

		"message with op":         {database(func(r *event.Record) { r.Type = "opentera.protobuf.UserEvent" }), `decode event 42: op or former on "opentera.protobuf.UserEvent"`},
		"message with former":     {database(func(r *event.Record) { r.Type, r.Op, r.Former = "opentera.protobuf.UserEvent", "", "x" }), `decode event 42: op or former on "opentera.protobuf.UserEvent"`},
		"message not UTF-8":       {message(`{"userUuid": "` + secret + "\xff" + `"}`), "decode event 43: body: not valid UTF-8"},
		"message without body":    {message(""), "decode event 43: body: not a JSON object"},
		"message not JSON":        {message(`{"userUuid": ` + secret), "decode event 43: body: not a JSON object"},
		"message an array":        {message(`["` + secret + `"]`), "decode event 43: body: not a JSON object"},
		"message null":            {message(`null`), "decode event 43: body: not a JSON object"},
		"message of unknown key":  {message(`{"` + secret + `": 1}`), "decode event 43: body: not the ProtoJSON of opentera.protobuf.UserEvent"},
		"message of unknown enum": {message(`{"type": "` + secret + `"}`), "decode event 43: body: not the ProtoJSON of opentera.protobuf.UserEvent"},
		"message of wrong type":   {message(`{"userUuid": ["` + secret + `"]}`), "decode event 43: body: not the ProtoJSON of opentera.protobuf.UserEvent"},
		"message with half a surrogate": {message(`{"userUuid": "` + secret + `\ud800"}`),
			"decode event 43: body: not the ProtoJSON of opentera.protobuf.UserEvent"},
		"key given twice": {message(`{"userUuid": "` + secret + `", "user_uuid": "b"}`),
			"decode event 43: body: not the ProtoJSON of opentera.protobuf.UserEvent"},
		"@type of another": {message(`{"@type": "type.googleapis.com/opentera.protobuf.` + secret + `"}`),
			"decode event 43: body: @type is not that of opentera.protobuf.UserEvent"},
		"@type of a known other": {message(`{"@type": "type.googleapis.com/opentera.protobuf.DeviceEvent"}`),
			"decode event 43: body: @type is not that of opentera.protobuf.UserEvent"},
		"@type not text": {message(`{"@type": 1}`), "decode event 43: body: @type is not that of opentera.protobuf.UserEvent"},
		"@type null":     {message(`{"@type": null}`), "decode event 43: body: @type is not that of opentera.protobuf.UserEvent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := event.Decode(tc.record)
			if err == nil || err.Error() != tc.want {
				t.Fatalf("error %v, want %s", err, tc.want)
			}
			if !reflect.DeepEqual(e, event.Event{}) {
				t.Errorf("an event beside an error: %+v", e)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds a part of the body: %v", err)
			}
		})
	}
}

func decode(t *testing.T, r event.Record) event.Event {
	t.Helper()
	e, err := event.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func wantMessage(t *testing.T, r event.Record, want proto.Message) {
	t.Helper()
	e := decode(t, r)
	if e.Kind != event.Message || e.Seq != 43 || !e.At.Equal(at) || e.Topic != r.Topic || e.Present != r.Present || e.Former != "" {
		t.Errorf("%+v", e)
	}
	if !proto.Equal(e.Message, want) {
		t.Errorf("message %v, want %v", e.Message, want)
	}
}
