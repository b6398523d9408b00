package event_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

const serviceBody = `{"id_service": 5, "service_name": "Vidéo", "service_port": 4070,
	"service_roles": [{"id_service_role": 1, "service_role_name": "admin"},
	                  {"id_service_role": 2, "id_project": 7, "project_name": "secret study"},
	                  {"id_service_role": 3, "id_site": 9, "site_name": "secret clinic"}],
	"service_projects": [{"id_project": 7, "id_service": 5, "id_service_project": 11}]}`

func serviceRecord(op, body string) event.Record {
	return event.Record{Seq: 1, At: time.Unix(1, 0), Type: "opentera.protobuf.DatabaseEvent", Op: op, ObjectType: "service", ObjectID: 5,
		Body: body, Gone: `{"id_service": 5}`, Present: `[["x", "p:1", "a:2"]]`, Former: `[["x"]]`}
}

func TestOnlySuperadminsSeeWhereAServiceIsUsed(t *testing.T) {
	t.Parallel()
	soft := serviceRecord("G", serviceBody)
	soft.Present = ""
	for want, tc := range map[event.Form]struct {
		record    event.Record
		sees, saw bool
		full      event.Form
		op        opentera.DatabaseEvent_EventType
	}{
		event.CreateRestricted: {serviceRecord("U", serviceBody), true, false, event.Create, opentera.DatabaseEvent_DB_CREATE},
		event.UpdateRestricted: {serviceRecord("U", serviceBody), true, true, event.Update, opentera.DatabaseEvent_DB_UPDATE},
		event.GoneRestricted:   {soft, false, true, event.Gone, opentera.DatabaseEvent_DB_UPDATE},
	} {
		e := decode(t, tc.record)
		if form := e.FormFor(tc.sees, tc.saw, true); form != tc.full {
			t.Errorf("superadmins get form %d, want %d", form, tc.full)
		}
		if full := databaseEvent(t, e, tc.full); full.GetObjectValue() != serviceBody || full.GetType() != tc.op {
			t.Errorf("the full event: %v", full)
		}
		if form := e.FormFor(tc.sees, tc.saw, false); form != want {
			t.Errorf("others get form %d, want %d", form, want)
		}
		others := databaseEvent(t, e, want)
		if text := others.GetObjectValue(); others.GetType() != tc.op || strings.Contains(text, "secret") || strings.Contains(text, "id_project") {
			t.Errorf("others get %v", others)
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(others.GetObjectValue()), &v); err != nil {
			t.Fatal(err)
		}
		if len(v["service_roles"].([]any)) != 1 || len(v["service_projects"].([]any)) != 0 ||
			v["service_name"] != "Vidéo" || v["service_port"] != 4070.0 {
			t.Errorf("others get %v", v)
		}
	}
}

func TestAServiceUsedNowhereIsTheSameForAll(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"id_service": 5}`, `{"service_roles": [], "service_projects": []}`, `{"service_roles": null}`,
		`{"service_roles": [{"service_role_name": "user"}]}`} {
		e := decode(t, serviceRecord("U", body))
		if form := e.FormFor(true, true, false); form != event.Update {
			t.Errorf("%s: form %d", body, form)
		}
	}
	r := serviceRecord("D", serviceBody)
	r.Present = ""
	if e := decode(t, r); e.FormFor(false, true, false) != event.Delete || databaseEvent(t, e, event.Delete).GetObjectValue() != r.Gone {
		t.Error("a delete differs")
	}
}

func TestServiceWithMalformedListsIsRefused(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"service_roles": 1}`, `{"service_roles": [1]}`, `{"service_projects": {}}`} {
		if _, err := event.Decode(serviceRecord("U", body)); err == nil {
			t.Errorf("%s was decoded", body)
		} else if strings.Contains(err.Error(), "{") {
			t.Errorf("the error quotes the body: %v", err)
		}
	}
}
