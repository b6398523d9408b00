package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	protocol "terasocket/proto/opentera"
)

// Each record is a LoginEvent that decodes, and that nobody receives.
func TestAudit(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	audit := &access.Audit{Pool: d.pool}
	long := strings.Repeat("é", 1000)
	user := access.Identity{Principal: access.Principal{Kind: access.User, ID: 9}, UUID: opentera.DemoProjectUserUUID, Name: "not told"}
	for _, c := range []struct {
		record access.LoginRecord
		topic  string
		want   string
	}{
		{access.LoginRecord{Status: protocol.LoginEvent_LOGIN_STATUS_SUCCESS, Type: protocol.LoginEvent_LOGIN_TYPE_PASSWORD, Who: user, ClientName: "OpenTeraPlus", ClientVersion: "1.2.3",
			ClientIP: "192.0.2.1", OSName: "Windows", OSVersion: "11", Endpoint: "/api/user/login", Message: "ok"}, "log.info",
			`{"clientIp": "192.0.2.1", "clientName": "OpenTeraPlus", "clientVersion": "1.2.3", "logHeader": {"level": "LOGLEVEL_INFO", "message": "ok", "sender": "terasocket"},
			  "loginStatus": "LOGIN_STATUS_SUCCESS", "loginType": "LOGIN_TYPE_PASSWORD", "osName": "Windows", "osVersion": "11", "serverEndpoint": "/api/user/login",
			  "userUuid": "` + opentera.DemoProjectUserUUID + `"}`},
		{access.LoginRecord{Status: wrongPassword, Who: access.Identity{Principal: access.Principal{Kind: access.Participant, ID: 1}, UUID: "p"}}, "log.error",
			`{"logHeader": {"level": "LOGLEVEL_ERROR", "sender": "terasocket"}, "loginStatus": "LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD", "participantUuid": "p"}`},
		{access.LoginRecord{Status: invalidToken, Who: access.Identity{Principal: access.Principal{Kind: access.Device, ID: 1}, UUID: "d"}, Type: protocol.LoginEvent_LOGIN_TYPE_CERTIFICATE}, "log.error",
			`{"logHeader": {"level": "LOGLEVEL_ERROR", "sender": "terasocket"}, "loginStatus": "LOGIN_STATUS_FAILED_WITH_INVALID_TOKEN", "deviceUuid": "d", "loginType": "LOGIN_TYPE_CERTIFICATE"}`},
		{access.LoginRecord{At: time.Unix(1_700_000_000, 0), ServiceUUID: "s", Message: "logged out"}, "log.info", `{"logHeader": {"level": "LOGLEVEL_INFO", "sender": "terasocket", "message": "logged out"}, "serviceUuid": "s"}`},
		// whatever a client sends is recorded
		{access.LoginRecord{ClientName: "a\x00b\n\x7f\xffc", ClientVersion: long, OSName: `"}, {"`}, "log.info",
			`{"logHeader": {"level": "LOGLEVEL_INFO", "sender": "terasocket"}, "clientName": "a b  ?c", "clientVersion": "` + long[:200] + `", "osName": "\"}, {\""}`},
	} {
		if err := audit.Record(t.Context(), c.record); err != nil {
			t.Errorf("%+v: %v", c.record, err)
			continue
		}
		var r event.Record
		if n := announce(t, d.pool); n != 1 {
			t.Fatalf("%d events", n)
		}
		if err := d.pool.QueryRow(t.Context(), `SELECT seq, announcement, at, topic, type, coalesce(op, ''), body::text, coalesce(present::text, ''), coalesce(former::text, '')
			FROM terasocket.events ORDER BY seq DESC LIMIT 1`).Scan(&r.Seq, &r.Announcement, &r.At, &r.Topic, &r.Type, &r.Op, &r.Body, &r.Present, &r.Former); err != nil {
			t.Fatal(err)
		}
		if r.Topic != c.topic || r.Type != "opentera.protobuf.LoginEvent" || r.Present != "" || r.Former != "" || r.Op != "" {
			t.Errorf("%+v", r)
		}
		var body, want map[string]any
		if json.Unmarshal([]byte(r.Body), &body) != nil || json.Unmarshal([]byte(c.want), &want) != nil {
			t.Fatal("no JSON")
		}
		header := body["logHeader"].(map[string]any)
		if !c.record.At.IsZero() {
			r.At = c.record.At
		}
		if at, _ := header["timestamp"].(float64); at < float64(r.At.Unix()-60) || at > float64(r.At.Unix()+60) {
			t.Errorf("timestamp %v", header["timestamp"])
		}
		delete(header, "timestamp")
		got, _ := json.Marshal(body)
		if expected, _ := json.Marshal(want); string(got) != string(expected) {
			t.Errorf("%s\nwant %s", got, expected)
		}
		e, err := event.Decode(r)
		if _, ok := e.Message.(*protocol.LoginEvent); !ok || err != nil {
			t.Errorf("a %T, %v", e.Message, err)
		}
		// nobody, even if the row was tampered with
		r.Present = `[["x"]]`
		if e, err := event.Decode(r); err != nil || e.Present != "" {
			t.Errorf("goes to %q, %v", e.Present, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := audit.Record(ended, access.LoginRecord{Message: "words"}); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "words") {
		t.Errorf("cancelled: %v", err)
	}
	// no service can publish one
	publisher := &access.Publisher{Pool: d.pool}
	for _, topic := range []string{"log.info", "log.error", "module.TeraServer.UserManagerModule.events", "websocket.user." + opentera.DemoSuperadminUUID + ".events"} {
		var refused *access.PublishError
		if err := publisher.Publish(t.Context(), []access.Publication{{Topic: topic, Event: inAny(t, &protocol.LoginEvent{UserUuid: "x"})}}); !errors.As(err, &refused) {
			t.Errorf("published to %s: %v", topic, err)
		}
	}
	if n := announce(t, d.pool); n != 0 {
		t.Errorf("%d refused ones are in the log", n)
	}
}
