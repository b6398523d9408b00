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
		Body: body, Audience: `[["x", "p:1", "a:2"]]`}
}

func value(t *testing.T, e event.Event) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(e.Message.(*opentera.DatabaseEvent).GetObjectValue()), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOnlySuperadminsHearWhereAServiceIsUsed(t *testing.T) {
	t.Parallel()
	events, err := event.Decode(serviceRecord("U", serviceBody))
	if err != nil || len(events) != 2 {
		t.Fatalf("%d events, %v; want 2", len(events), err)
	}
	others, full := events[1], events[0]
	if text := others.Message.(*opentera.DatabaseEvent).GetObjectValue(); strings.Contains(text, "secret") || strings.Contains(text, "id_project") {
		t.Errorf("everybody hears %s", text)
	}
	if v := value(t, others); len(v["service_roles"].([]any)) != 1 || len(v["service_projects"].([]any)) != 0 ||
		v["service_name"] != "Vidéo" || v["service_port"] != 4070.0 {
		t.Errorf("everybody hears %v", v)
	}
	if others.To != `[["x", "p:1", "a:2"]]` || others.NotTo != `[["x"]]` || others.Message.(*opentera.DatabaseEvent).GetType() != opentera.DatabaseEvent_DB_UPDATE {
		t.Errorf("everybody's event goes to %s but not %s", others.To, others.NotTo)
	}
	if full.To != `[["x"]]` || full.NotTo != "" || full.Message.(*opentera.DatabaseEvent).GetObjectValue() != serviceBody {
		t.Errorf("the full event goes to %s: %v", full.To, full.Message)
	}
}

func TestAServiceUsedNowhereIsOneEvent(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"id_service": 5}`, `{"service_roles": [], "service_projects": []}`, `{"service_roles": null}`,
		`{"service_roles": [{"service_role_name": "user"}]}`} {
		events, err := event.Decode(serviceRecord("U", body))
		if err != nil || len(events) != 1 || events[0].NotTo != "" {
			t.Errorf("%s: %d events, %v; want 1 for all", body, len(events), err)
		}
	}
	if events, err := event.Decode(serviceRecord("D", `{"id_service": 5, "service_key": "k"}`)); err != nil || len(events) != 1 {
		t.Errorf("a delete: %d events, %v; want 1", len(events), err)
	}
}

func TestAServiceThatNobodyHearsOfIsNotHeardBySuperadmins(t *testing.T) {
	t.Parallel()
	r := serviceRecord("U", serviceBody)
	r.Audience, r.Former, r.FormerBody = `[[]]`, `[["p:1"]]`, `{"id_service": 5, "service_key": "k"}`
	events, err := event.Decode(r)
	if err != nil || len(events) != 2 || events[0].To != `[[]]` || events[1].To != r.Former || events[1].NotTo != r.Audience {
		t.Errorf("%+v, %v", events, err)
	}
}

func TestAServiceWithRubbishInItsListsIsRefused(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"service_roles": 1}`, `{"service_roles": [1]}`, `{"service_projects": {}}`} {
		if _, err := event.Decode(serviceRecord("U", body)); err == nil {
			t.Errorf("%s was decoded", body)
		} else if strings.Contains(err.Error(), "{") {
			t.Errorf("the error quotes the body: %v", err)
		}
	}
}
