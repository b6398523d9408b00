package event_test

import (
	"strings"
	"testing"
	"time"

	"terasocket/proto/event"
)

// FuzzDecode: no row makes Decode panic, no error quotes a body, and every decoded row can be encoded in every encoding and in every form
// that somebody may receive.
func FuzzDecode(f *testing.F) {
	const database = "opentera.protobuf.DatabaseEvent"
	f.Add(int64(1), int64(1732325000123456), "topic", database, "U", "site", int64(1), `{"id_site": 1}`, `{"id_site": 1}`, "[]", "[]")
	f.Add(int64(2), int64(0), "", database, "D", "user", int64(0), "", " {\"a\": \"\u00e9\\ud800\"}", "", "x")
	f.Add(int64(2), int64(0), "", database, "G", "service", int64(0), serviceBody, "", "", "x")
	f.Add(int64(-1), int64(-1), "\xff", database, "X", "", int64(-1), "null", "[", "", "")
	f.Add(int64(1), int64(1), "", "terasocket.Rights", "", "user", int64(7), `{"gained": ["x"], "lost": null}`, "", "", "")
	f.Add(int64(1), int64(1), "", "terasocket.Alias", "", "", int64(0), `{"tag": "service:1", "keys": [["x"]]}`, "", "", "")
	f.Add(int64(1), int64(1), "", "terasocket.Kick", "", "user", int64(7), `{"token": 3}`, "", "", "")
	for name := range keys {
		f.Add(int64(3), int64(-5), "t", "opentera.protobuf."+name, "", "", int64(0),
			`{"@type": "type.googleapis.com/opentera.protobuf.`+name+`", "sessionUuid": "s"}`, "", "a", "")
		f.Add(int64(3), int64(5), "t", "opentera.protobuf."+name, "", "", int64(0), `{"type": 1, "status": 99}`, "", "a", "")
	}
	f.Fuzz(func(t *testing.T, seq, micros int64, topic, typ, op, objectType string, id int64, body, gone, present, former string) {
		e, err := event.Decode(event.Record{
			Seq: seq, At: time.UnixMicro(micros), Topic: topic, Type: typ, Op: op, ObjectType: objectType,
			ObjectID: id, Body: body, Gone: gone, Present: present, Former: former,
		})
		if err != nil {
			for _, body := range []string{body, gone} {
				if len(body) > 16 && strings.Contains(err.Error(), body) && !strings.Contains(typ+op+objectType, body) {
					t.Errorf("the error holds the body: %v", err)
				}
			}
			return
		}
		for who := range 8 {
			sees, saw := who&1 != 0 && present != "", who&2 != 0 && former != ""
			form := e.FormFor(sees, saw, who&4 != 0)
			if form == event.None {
				continue
			}
			content := e.Message
			if e.Kind == event.Object {
				content = databaseEvent(t, e, form)
			}
			wantParsesBack(t, &e, form, content)
		}
	})
}

func FuzzParseFrame(f *testing.F) {
	e := sampleEvent()
	frame, err := e.Encode(event.Plain, event.Protobuf)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Add([]byte("Not allowed to send message"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if r, err := event.ParseFrame(frame); err == nil && r.Message == nil {
			t.Error("no message, and no error")
		}
	})
}
