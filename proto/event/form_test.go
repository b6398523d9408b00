package event_test

import (
	"strings"
	"testing"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

func TestFormFor(t *testing.T) {
	t.Parallel()
	type who struct{ sees, saw bool }
	both, present, former, neither := who{true, true}, who{true, false}, who{false, true}, who{false, false}
	object := func(op, present string) event.Event {
		r := participantUpdate()
		r.Op, r.Present = op, present
		return decode(t, r)
	}
	for name, tc := range map[string]struct {
		event event.Event
		want  map[who]event.Form
	}{
		"update":      {object("U", `[["p:2"]]`), map[who]event.Form{both: event.Update, present: event.Create, former: event.Delete, neither: event.None}},
		"create":      {object("C", `[["p:2"]]`), map[who]event.Form{both: event.Update, present: event.Create, former: event.Delete, neither: event.None}},
		"soft delete": {object("G", ""), map[who]event.Form{former: event.Gone, neither: event.None}},
		"soft delete, its body tells of others": {object("G", `[["p:1"]]`),
			map[who]event.Form{both: event.Gone, present: event.None, former: event.Delete, neither: event.None}},
		"delete":  {object("D", ""), map[who]event.Form{former: event.Delete, neither: event.None}},
		"message": {decode(t, userEvent(`{}`)), map[who]event.Form{both: event.Plain, present: event.Plain, former: event.None, neither: event.None}},
		"rights": {decode(t, event.Record{Seq: 1, Type: "terasocket.Rights", ObjectType: "user", Body: `{}`}),
			map[who]event.Form{both: event.None, neither: event.None}},
		"settled": {decode(t, event.Record{Seq: 1, Type: "terasocket.Settled"}), map[who]event.Form{both: event.None, neither: event.None}},
	} {
		for w, want := range tc.want {
			for _, isSuperadmin := range []bool{true, false} {
				if got := tc.event.FormFor(w.sees, w.saw, isSuperadmin); got != want {
					t.Errorf("%s, %+v, superadmin %t: form %d, want %d", name, w, isSuperadmin, got, want)
				}
			}
		}
	}
}

func TestASoftDeleteIsAnUpdate(t *testing.T) {
	t.Parallel()
	r := participantUpdate()
	r.Op, r.Present, r.Body = "G", "", `{"id_participant": 5, "deleted_at": "2024-11-23"}`
	e := decode(t, r)
	if got := databaseEvent(t, e, event.Gone); got.GetType() != opentera.DatabaseEvent_DB_UPDATE || got.GetObjectValue() != r.Body {
		t.Errorf("%v", got)
	}
	if got := databaseEvent(t, e, event.Delete); !e.HasDelete() || got.GetObjectValue() != r.Gone {
		t.Errorf("as a delete: %v", got)
	}
}

func TestMissingFormIsAnError(t *testing.T) {
	t.Parallel()
	created := participantUpdate()
	created.Op, created.Former, created.Gone = "C", "", ""
	deleted := participantUpdate()
	deleted.Op, deleted.Present, deleted.Body = "D", "", ""
	for _, tc := range []struct {
		record event.Record
		form   event.Form
	}{
		{created, event.Delete}, {created, event.None}, {created, event.Plain}, {created, 200},
		{deleted, event.Create}, {deleted, event.Update}, {deleted, event.Gone}, {deleted, event.UpdateRestricted},
		{userEvent(`{}`), event.Update}, {userEvent(`{}`), event.None},
		{event.Record{Seq: 1, Type: "terasocket.Settled"}, event.Plain},
	} {
		e := decode(t, tc.record)
		if frame, err := e.Encode(tc.form, event.Protobuf); err == nil || frame != nil || !strings.HasPrefix(err.Error(), "encode event ") {
			t.Errorf("%s, form %d: %d bytes, %v", tc.record.Op, tc.form, len(frame), err)
		}
	}
	if e := decode(t, created); e.HasDelete() {
		t.Error("a created object has a delete")
	}
}

func TestTypeName(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]event.Record{
		"UserEvent":     userEvent(`{}`),
		"DatabaseEvent": participantUpdate(),
		"Rights":        {Seq: 1, Type: "terasocket.Rights", ObjectType: "user", Body: `{}`},
		"Kick":          {Seq: 1, Type: "terasocket.Kick", ObjectType: "user", Body: `{}`},
		"Alias":         {Seq: 1, Type: "terasocket.Alias", Body: `{"tag": "service:1"}`},
		"Settled":       {Seq: 1, Type: "terasocket.Settled"},
	} {
		if e := decode(t, r); e.TypeName() != want {
			t.Errorf("%s, want %s", e.TypeName(), want)
		}
	}
	if e := (event.Event{}); e.TypeName() != "none" {
		t.Errorf("of no message: %s", e.TypeName())
	}
}
