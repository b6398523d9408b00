package main

import (
	"fmt"
	"strings"
	"testing"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// No socket receives a LoginEvent, neither a superadmin's nor that of the principal that logged in: neither live nor in a
// replay.
func TestNobodyHearsOfALogin(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cursor := dbtest.One[int64](t, s.conn, "SELECT last_seq FROM terasocket.announcer")
	audit := &access.Audit{Pool: dbtest.Pool(t, s.url)}
	people := map[string]access.Kind{
		opentera.DemoSuperadminUUID: access.User, opentera.DemoProjectUserUUID: access.User, opentera.DemoParticipantUUID: access.Participant, opentera.DemoDeviceUUID: access.Device}
	for uuid, kind := range people {
		for _, status := range []pb.LoginEvent_LoginStatus{pb.LoginEvent_LOGIN_STATUS_UNKNOWN, pb.LoginEvent_LOGIN_STATUS_SUCCESS, pb.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD} {
			if err := audit.Record(t.Context(), access.LoginRecord{Status: status, Who: access.Identity{Principal: access.Principal{Kind: kind}, UUID: uuid}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// nor if somebody has tampered with a row
	writeLog(t, s.url, `('opentera.protobuf.LoginEvent', NULL, NULL, '{"clientName": "tampered"}', '[["x", "u:9", "u:13", "t:1", "t:61", "d:1", "d:15"]]')`)
	s.mustReach("a login", nil)
	for _, back := range []*ear{
		s.gateway.listen(s.conn, "user", opentera.DemoSuperadminUUID, fmt.Sprintf("&since=%d", cursor)),
		s.gateway.listen(s.conn, "user", opentera.DemoProjectUserUUID, fmt.Sprintf("&encoding=json&since=%d&snapshot=1", cursor)),
		s.gateway.listen(s.conn, "participant", opentera.DemoParticipantUUID, fmt.Sprintf("&since=%d", cursor)),
		s.gateway.listen(s.conn, "device", opentera.DemoDeviceUUID, fmt.Sprintf("&encoding=json&since=%d", cursor)),
	} {
		psql(t, s.url, archiveOf(back.uuid, "back"))
		replayed := 0
		for {
			next := back.next()
			if strings.Contains(next, `"back"`) {
				break
			}
			if strings.Contains(next, "LoginEvent") || strings.Contains(next, "tampered") || !strings.Contains(next, "sentinel") {
				t.Errorf("%s received %s", back.name, next)
			}
			replayed++
		}
		if replayed == 0 {
			t.Errorf("%s: nothing was replayed, so the test proves nothing", back.name)
		}
	}
	if n := s.gateway.gauge("terasocket_events_refused_total"); n != 0 {
		t.Errorf("%v rows were refused", n)
	}
}
