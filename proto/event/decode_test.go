package event_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

var at = time.Date(2024, 11, 23, 1, 23, 20, 123456000, time.UTC)

// participantUpdate is a row of an object that moved out of somebody's sight.
func participantUpdate() event.Record {
	return event.Record{
		Seq: 42, XID: 7, At: at,
		Topic: "module.TeraServer.DatabaseModule.events.participant",
		Type:  "opentera.protobuf.DatabaseEvent",
		Op:    "U", ObjectType: "participant", ObjectID: 5,
		Body:     `{"id_participant": 5, "participant_email": null, "participant_name": "R\u00e9al"}`,
		Audience: `{"project": 2}`,
	}
}

func userEvent(body string) event.Record {
	return event.Record{
		Seq: 43, At: at,
		Topic:    "module.TeraServer.UserManagerModule.events",
		Type:     "opentera.protobuf.UserEvent",
		Body:     body,
		Audience: `{"user": 1}`,
	}
}

func TestDecodeDatabaseEvent(t *testing.T) {
	t.Parallel()
	for op, want := range map[string]opentera.DatabaseEvent_EventType{
		"C": opentera.DatabaseEvent_DB_CREATE,
		"U": opentera.DatabaseEvent_DB_UPDATE,
		"D": opentera.DatabaseEvent_DB_DELETE,
	} {
		for _, objectType := range event.ObjectTypes {
			r := participantUpdate()
			r.Op, r.ObjectType = op, objectType
			wantEvents(t, r, event.Event{
				Seq: 42, XID: r.XID, At: at, Topic: r.Topic, To: r.Audience, ObjectType: objectType, ObjectID: 5,
				Message: &opentera.DatabaseEvent{Type: want, ObjectType: objectType, ObjectValue: r.Body},
			})
		}
	}
}

func TestDecodeFormerAudienceHearsDelete(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"C", "U", "D"} {
		for _, audience := range []string{`{"project": 2}`, ""} {
			r := participantUpdate()
			r.Op, r.Audience = op, audience
			r.Former, r.FormerBody = `{"project": 1}`, `{"id_participant": 5, "participant_uuid": "p5"}`
			first := decode(t, r)[0]
			wantEvents(t, r, first, event.Event{
				Seq: 42, XID: r.XID, At: at, Topic: r.Topic, To: r.Former, NotTo: audience, ObjectType: "participant", ObjectID: 5,
				Message: &opentera.DatabaseEvent{
					Type: opentera.DatabaseEvent_DB_DELETE, ObjectType: "participant", ObjectValue: r.FormerBody,
				},
			})
			if first.To != audience || first.NotTo != "" {
				t.Errorf("first event goes to %q but not %q, want %q and nobody excluded", first.To, first.NotTo, audience)
			}
		}
	}
}

func TestDecodeFormerBodyWithoutFormerIsIgnored(t *testing.T) {
	t.Parallel()
	r := participantUpdate()
	r.FormerBody = "not even JSON"
	if n := len(decode(t, r)); n != 1 {
		t.Errorf("%d events, want 1", n)
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
			wantEvents(t, r, event.Event{Seq: 43, XID: r.XID, At: at, Topic: r.Topic, To: r.Audience, Message: tc.want})
		}
	}
	wantEvents(t, userEvent(`{}`), event.Event{
		Seq: 43, At: at, Topic: userEvent("").Topic, To: `{"user": 1}`, Message: &opentera.UserEvent{},
	})
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	// A body that leaks into an error is seen by this mark.
	const secret = "Zq8"
	database := func(change func(*event.Record)) event.Record {
		r := participantUpdate()
		r.Body = `{"a": "` + secret + `"}`
		change(&r)
		return r
	}
	message := func(body string) event.Record { return userEvent(body) }

	for name, tc := range map[string]struct {
		record event.Record
		want   string
	}{
		"no seq":               {database(func(r *event.Record) { r.Seq = 0 }), "decode event 0: seq is not positive"},
		"negative seq":         {database(func(r *event.Record) { r.Seq = -1 }), "decode event -1: seq is not positive"},
		"topic not UTF-8":      {database(func(r *event.Record) { r.Topic = "\xff" }), "decode event 42: topic is not valid UTF-8"},
		"no type":              {database(func(r *event.Record) { r.Type, r.Op = "", "" }), `decode event 42: unknown type ""`},
		"unknown type":         {database(func(r *event.Record) { r.Type, r.Op = "opentera.protobuf.FooEvent", "" }), `decode event 42: unknown type "opentera.protobuf.FooEvent"`},
		"type for no socket":   {database(func(r *event.Record) { r.Type, r.Op = "opentera.protobuf.LogEvent", "" }), `decode event 42: unknown type "opentera.protobuf.LogEvent"`},
		"long type":            {database(func(r *event.Record) { r.Type, r.Op = strings.Repeat("x", 10_000), "" }), `decode event 42: unknown type "` + strings.Repeat("x", 80) + `"`},
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
		"former body not JSON": {database(func(r *event.Record) { r.Former, r.FormerBody = "x", secret }), "decode event 42: former body: not a JSON object"},
		"former body missing":  {database(func(r *event.Record) { r.Former = "x" }), "decode event 42: former body: not a JSON object"},
		"former body not UTF-8": {database(func(r *event.Record) { r.Former, r.FormerBody = "x", `{"a": "\x80`+secret+"\x80\"}" }),
			"decode event 42: former body: not valid UTF-8"},

		"message with op":         {database(func(r *event.Record) { r.Type = "opentera.protobuf.UserEvent" }), `decode event 42: op or former audience on "opentera.protobuf.UserEvent"`},
		"message with former":     {database(func(r *event.Record) { r.Type, r.Op, r.Former = "opentera.protobuf.UserEvent", "", "x" }), `decode event 42: op or former audience on "opentera.protobuf.UserEvent"`},
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
			events, err := event.Decode(tc.record)
			if err == nil || err.Error() != tc.want {
				t.Fatalf("error %v, want %s", err, tc.want)
			}
			if events != nil {
				t.Errorf("%d events beside an error", len(events))
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds a part of the body: %v", err)
			}
		})
	}
}

func decode(t *testing.T, r event.Record) []event.Event {
	t.Helper()
	events, err := event.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func wantEvents(t *testing.T, r event.Record, want ...event.Event) {
	t.Helper()
	got := decode(t, r)
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if !proto.Equal(g.Message, w.Message) {
			t.Errorf("message %d: %v, want %v", i, g.Message, w.Message)
		}
		g.Message, w.Message = nil, nil
		if g != w {
			t.Errorf("event %d: %+v, want %+v", i, g, w)
		}
	}
}
