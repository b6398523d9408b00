package event_test

import (
	"strings"
	"testing"
	"time"

	"terasocket/proto/event"
)

// FuzzDecode: no row makes Decode panic, no error quotes a body, and what
// decodes also encodes in every encoding and parses back to the same message.
func FuzzDecode(f *testing.F) {
	const database = "opentera.protobuf.DatabaseEvent"
	f.Add(int64(1), int64(1732325000123456), "topic", database, "U", "site", int64(1), `{"id_site": 1}`, "{}", "{}", `{"id_site": 1}`)
	f.Add(int64(2), int64(0), "", database, "D", "user", int64(0), " {\"a\": \"\u00e9\\ud800\"}", "", "x", `{}`)
	f.Add(int64(-1), int64(-1), "\xff", database, "X", "", int64(-1), "null", "", "", "[")
	for name := range keys {
		f.Add(int64(3), int64(-5), "t", "opentera.protobuf."+name, "", "", int64(0),
			`{"@type": "type.googleapis.com/opentera.protobuf.`+name+`", "sessionUuid": "s"}`, "a", "", "")
		f.Add(int64(3), int64(5), "t", "opentera.protobuf."+name, "", "", int64(0), `{"type": 1, "status": 99}`, "a", "", "")
	}
	f.Fuzz(func(t *testing.T, seq, micros int64, topic, typ, op, objectType string, id int64, body, to, former, formerBody string) {
		r := event.Record{
			Seq: seq, At: time.UnixMicro(micros), Topic: topic, Type: typ, Op: op, ObjectType: objectType,
			ObjectID: id, Body: body, Audience: to, Former: former, FormerBody: formerBody,
		}
		events, err := event.Decode(r)
		if err != nil {
			for _, body := range []string{body, formerBody} {
				if len(body) > 16 && strings.Contains(err.Error(), body) && !strings.Contains(typ+op+objectType, body) {
					t.Errorf("the error holds the body: %v", err)
				}
			}
			return
		}
		want := 1
		if former != "" {
			want = 2
		}
		if len(events) != want {
			t.Fatalf("%d events, want %d", len(events), want)
		}
		for _, e := range events {
			wantParsesBack(t, &e)
		}
		if events[0].To != to || events[0].NotTo != "" {
			t.Errorf("first event goes to %q but not %q", events[0].To, events[0].NotTo)
		}
		if want == 2 && (events[1].To != former || events[1].NotTo != to) {
			t.Errorf("second event goes to %q but not %q", events[1].To, events[1].NotTo)
		}
	})
}
