package main

import (
	"fmt"
	"strings"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// No socket receives a LoginEvent, neither a superadmin's nor that of the principal that logged in: neither live nor in a
// replay.
func (s *stage) nobodyHearsOfALogin() {
	t := s.T
	cursor := dbtest.One[int64](t, s.gateway.conn(), "SELECT last_seq FROM terasocket.announcer")
	audit := &access.Audit{Pool: dbtest.Pool(t, s.gateway.dbURL)}
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
	writeLog(t, s.gateway.dbURL, `('opentera.protobuf.LoginEvent', NULL, NULL, '{"clientName": "tampered"}', '[["x", "u:9", "u:13", "t:1", "t:61", "d:1", "d:15"]]')`)
	s.mustReach("a login", nil)
	for _, back := range []*ear{
		s.gateway.listen("user", opentera.DemoSuperadminUUID, fmt.Sprintf("&since=%d", cursor)),
		s.gateway.listen("user", opentera.DemoProjectUserUUID, fmt.Sprintf("&encoding=json&since=%d&snapshot=1", cursor)),
		s.gateway.listen("participant", opentera.DemoParticipantUUID, fmt.Sprintf("&since=%d", cursor)),
		s.gateway.listen("device", opentera.DemoDeviceUUID, fmt.Sprintf("&encoding=json&since=%d", cursor)),
	} {
		s.gateway.exec(archiveOf(back.uuid, "back"))
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
	for _, e := range []*ear{s.admin, s.ursula, s.lucie, s.tablet} {
		if got := e.next(); !strings.Contains(got, `"back"`) {
			t.Errorf("%s received %s", e.name, got)
		}
	}
	if n := s.gateway.gauge("terasocket_events_refused_total"); n != 0 {
		t.Errorf("%v rows were refused", n)
	}
}
