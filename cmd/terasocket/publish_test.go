package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

// ear is a socket that reads either encoding.
type ear struct {
	*socket
	name, uuid string
}

// listen connects a user, participant or device, which keeps reading. A non-empty query begins with &.
func (s *served) listen(kind, uuid, query string) *ear {
	s.t.Helper()
	return &ear{dial(s.t, s.address(kind, uuid)+query).keepReading(), kind + query, uuid}
}

// next returns the next event other than presence, entity changes and Cursor: topic, type and ProtoJSON without white space; or
// "closed" with code and reason.
func (e *ear) next() string {
	e.t.Helper()
	for {
		kind, data, err := e.readFrame()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return fmt.Sprintf("closed %d %s", closed.Code, closed.Text)
		} else if err != nil {
			e.t.Fatalf("%s: read: %v", e.name, err)
		}
		topic, message := e.parse(kind, data)
		switch message.(type) {
		case *pb.DatabaseEvent, *terasocket.Cursor:
			continue
		}
		text, err := protojson.Marshal(message)
		if err != nil {
			e.t.Fatal(err)
		}
		if bytes.Contains(text, []byte("_CONNECTED")) || bytes.Contains(text, []byte("_DISCONNECTED")) {
			continue
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			e.t.Fatal(err)
		}
		return fmt.Sprintf("%s %s %s", topic, message.ProtoReflect().Descriptor().Name(), &compact)
	}
}

func (e *ear) parse(kind int, data []byte) (topic string, message proto.Message) {
	e.t.Helper()
	if isJSON := strings.Contains(e.name, "json"); isJSON != (kind == websocket.TextMessage) {
		e.t.Fatalf("%s: a frame of kind %d", e.name, kind)
	}
	r, err := gatewaytest.Parse(kind, data)
	if err != nil {
		e.t.Fatalf("%s: %v", e.name, err)
	}
	return r.Topic, r.Message
}

const (
	managerTopic = "module.TeraServer.UserManagerModule.events"
	archiveTopic = "service.FileTransferService.events"
	kickTopic    = "module.TeraServer.TwistedModule.events."
)

func typedJSON(name, fields string) string {
	return fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.%s", %s}`, name, fields)
}

func publishSQL(topic, event string) string {
	return fmt.Sprintf("SELECT terasocket.publish('%s', '%s');", topic, event)
}

// stage is a gateway with sockets of every kind, in both encodings.
type stage struct {
	*testing.T
	gateway                                          *served
	ursula, admin, lucie, tablet, nora, rene, sensor *ear
	sentinels                                        int
}

// TestPublishing sends everything that may be published to one gateway, and every socket to what is not for it.
func TestPublishing(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	gateway.exec("INSERT INTO t_devices_participants VALUES (9000, $1, $2, 1, NULL)", opentera.DemoDeviceID, opentera.DemoParticipantID)
	s := &stage{T: t, gateway: gateway,
		ursula: gateway.listen("user", opentera.DemoProjectUserUUID, ""),                      // of project 1
		admin:  gateway.listen("user", opentera.DemoSuperadminUUID, "&encoding=json"),         //
		nora:   gateway.listen("user", opentera.DemoNoRoleUUID, "&encoding=json&since=0"),     // of nothing
		lucie:  gateway.listen("participant", opentera.DemoParticipantUUID, "&encoding=json"), // of project 1
		rene:   gateway.listen("participant", opentera.DemoOtherParticipantUUID, ""),          // of project 4
		tablet: gateway.listen("device", opentera.DemoDeviceUUID, ""),                         // of site 1, linked to lucie
		sensor: gateway.listen("device", opentera.DemoOtherDeviceUUID, "&encoding=json"),      // of site 2
	}
	s.publishedToSockets()
	s.publishedByHTTP()
	s.nobodyHearsOfALogin()
	s.kickByPublishing()
}

func (s *stage) all() []*ear {
	return []*ear{s.nora, s.rene, s.sensor, s.ursula, s.admin, s.lucie, s.tablet}
}

// mustReach reads each socket up to a sentinel: these events and no others for those in to, nothing for everybody else.
func (s *stage) mustReach(what string, to []*ear, events ...string) {
	s.Helper()
	s.sentinels++
	var sql strings.Builder
	sentinel := fmt.Sprintf("sentinel %d", s.sentinels)
	for _, e := range s.all() {
		sql.WriteString(archiveOf(e.uuid, sentinel))
	}
	s.gateway.exec(sql.String())
	for _, mayHear := range []bool{false, true} { // those that must not, first
		for _, e := range s.all() {
			if slices.Contains(to, e) != mayHear {
				continue
			}
			var heard, want []string
			for {
				next := e.next()
				if strings.Contains(next, sentinel) {
					break
				}
				heard = append(heard, next)
			}
			if mayHear {
				want = events
			}
			if !slices.Equal(heard, want) {
				s.Errorf("%s: %s received %q, want %q", what, e.name, heard, want)
			}
		}
	}
}

func (s *stage) publishedToSockets() {
	direct := func(kind, uuid string) string { return "websocket." + kind + "." + uuid + ".events" }
	// a session of project 1: lucie and the tablet are members, ursula is not
	s.gateway.exec(`INSERT INTO t_sessions (id_session, session_uuid, id_session_type, session_name, session_start_datetime, session_duration, session_status, version_id)
			SELECT 9000, '0badcafe-0000-4000-8000-000000009000', min(id_session_type), 'x', now(), 0, 0, 1 FROM t_sessions_types;
		INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) VALUES (9000, 9000, 1, 1);
		INSERT INTO t_sessions_devices (id_session_device, id_session, id_device, version_id) VALUES (9000, 9000, 1, 1)`)
	const session, other = `"sessionUuid":"0badcafe-0000-4000-8000-000000009000"`, `"sessionUuid":"0badcafe-0000-4000-8000-000000009999"`
	lists := fmt.Sprintf(`"sessionParticipants":["%s"],"sessionUsers":["%s"],"sessionDevices":["%s"]`, s.rene.uuid, s.nora.uuid, s.sensor.uuid)
	participant := fmt.Sprintf(`"participantUuid":"%s","type":"PARTICIPANT_JOINED_SESSION","participantName":"É \"1\""`, s.lucie.uuid)
	for _, test := range []struct {
		topic, name, fields string
		to                  []*ear
	}{
		{managerTopic, "UserEvent", fmt.Sprintf(`"userUuid":"%s","type":"USER_JOINED_SESSION"`, s.ursula.uuid), []*ear{s.ursula, s.admin}},
		{managerTopic, "UserEvent", fmt.Sprintf(`"userUuid":"%s","type":"USER_LEFT_SESSION"`, s.nora.uuid), []*ear{s.nora, s.admin}},
		{managerTopic, "ParticipantEvent", participant, []*ear{s.ursula, s.admin, s.lucie, s.tablet}},
		{managerTopic, "DeviceEvent", fmt.Sprintf(`"deviceUuid":"%s","type":"DEVICE_STATUS_CHANGED"`, s.tablet.uuid), []*ear{s.ursula, s.admin, s.lucie, s.tablet}},
		{managerTopic, "DeviceEvent", fmt.Sprintf(`"deviceUuid":"%s","type":"DEVICE_LEFT_SESSION"`, s.sensor.uuid), []*ear{s.admin, s.sensor}},
		{managerTopic, "JoinSessionEvent", session + "," + lists, []*ear{s.nora, s.rene, s.sensor}},
		{managerTopic, "LeaveSessionEvent", session, []*ear{s.lucie, s.tablet}},
		{managerTopic, "LeaveSessionEvent", other, nil},
		{managerTopic, "JoinSessionReplyEvent", session + fmt.Sprintf(`,"participantUuid":"%s","joinReply":"REPLY_ACCEPTED"`, s.lucie.uuid), []*ear{s.tablet}},
		{managerTopic, "JoinSessionReplyEvent", other, nil},
		{managerTopic, "StopSessionEvent", session, []*ear{s.lucie, s.tablet, s.ursula, s.admin}},
		{managerTopic, "StopSessionEvent", other, nil},
		{archiveTopic, "ArchiveEvent", fmt.Sprintf(`"archiveUuid":"%[1]s","ownerUuid":"%[1]s","status":"STATUS_COMPLETED"`, s.rene.uuid), []*ear{s.rene}},
		// directly: to that principal, and only if the rules allow it
		{direct("user", s.ursula.uuid), "StopSessionEvent", session, []*ear{s.ursula}},
		{direct("user", s.nora.uuid), "StopSessionEvent", session, nil},
		{direct("participant", s.lucie.uuid), "JoinSessionEvent", session + fmt.Sprintf(`,"sessionParticipants":["%s","%s"]`, s.lucie.uuid, s.rene.uuid), []*ear{s.lucie}},
		{direct("participant", s.rene.uuid), "ParticipantEvent", participant, nil},
		{direct("device", s.tablet.uuid), "ParticipantEvent", participant, []*ear{s.tablet}},
		{direct("device", s.sensor.uuid), "LeaveSessionEvent", session, nil},
	} {
		event := typedJSON(test.name, test.fields)
		s.gateway.exec("BEGIN;" + publishSQL(test.topic, event) + "ROLLBACK;" + publishSQL(test.topic, event))
		once := fmt.Sprintf("%s %s {%s}", test.topic, test.name, test.fields)
		s.mustReach(test.topic+" "+event, test.to, once)
	}
}

// post calls POST /api/service/events and returns status and answer.
func (s *stage) post(header, contentType, body string) string {
	s.Helper()
	return s.gateway.call(http.MethodPost, "/api/service/events", body, func(r *http.Request) {
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", header)
	})
}

func (s *stage) publishedByHTTP() {
	t := s.T
	token, key := serviceToken(t, s.gateway.conn())
	archive := func(owner string) string {
		return fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.ArchiveEvent", "archiveUuid": "%[1]s", "ownerUuid": "%[1]s"}`, owner)
	}
	body := func(events ...string) string {
		return `{"header": {"topic": "` + archiveTopic + `"}, "events": [` + strings.Join(events, ",") + `]}`
	}
	heard := func(owner string) string {
		return fmt.Sprintf(`%s ArchiveEvent {"archiveUuid":"%[2]s","ownerUuid":"%[2]s"}`, archiveTopic, owner)
	}
	if answer := s.post("OpenTera "+token, "application/json", body(archive(s.lucie.uuid), archive(s.lucie.uuid))); answer != `200 {"events":2}` {
		t.Error(answer)
	}
	s.mustReach("json", []*ear{s.lucie}, heard(s.lucie.uuid), heard(s.lucie.uuid))

	var event pb.TeraEvent
	if err := protojson.Unmarshal([]byte(body(archive(s.tablet.uuid))), &event); err != nil {
		t.Fatal(err)
	}
	binary, err := proto.Marshal(&event)
	if err != nil {
		t.Fatal(err)
	}
	if answer := s.post("OpenTera "+token, "application/x-protobuf", string(binary)); answer != `200 {"events":1}` {
		t.Error(answer)
	}
	s.mustReach("protobuf", []*ear{s.tablet}, heard(s.tablet.uuid))

	// all or nothing
	if answer := s.post("OpenTera "+token, "application/json", body(archive(s.lucie.uuid), archive("x"))); answer != `400 {"index":1,"message":"event has a archiveUuid that is not a UUID"}` {
		t.Error(answer)
	}
	for header, want := range map[string]string{"OpenTera " + token + "x": `"Unauthorized"`, "OpenTera": `"Invalid Token"`} {
		if answer := s.post(header, "application/json", body(archive(s.lucie.uuid))); answer != "401 "+want {
			t.Errorf("%s, want 401 %s", answer, want)
		}
	}
	s.gateway.exec("UPDATE t_services SET service_enabled = false WHERE id_service = $1", opentera.DemoVideoRehabServiceID)
	if answer := s.post("OpenTera "+token, "application/json", body(archive(s.lucie.uuid))); answer != `401 "Unauthorized"` {
		t.Errorf("a disabled service: %s", answer)
	}
	s.mustReach("refused", nil)
	if log := s.gateway.Log.String(); strings.Contains(log, key) || strings.Contains(log, token) {
		t.Error("key or token in the log")
	}
}

const kicked = "closed 4000 CMD_CLIENT_DISCONNECT"

// archiveOf publishes an ArchiveEvent to its owner.
func archiveOf(owner, url string) string {
	return publishSQL(archiveTopic, typedJSON("ArchiveEvent", fmt.Sprintf(`"archiveUuid": "%[1]s", "ownerUuid": "%[1]s", "archiveUrl": "%[2]s"`, owner, url)))
}

func (s *stage) kickByPublishing() {
	t := s.T
	again := s.gateway.listen("user", s.ursula.uuid, "&encoding=json")
	kick := func(e *ear) string {
		return publishSQL(kickTopic+e.uuid, typedJSON("ServerCommand", `"type": "CMD_CLIENT_DISCONNECT"`))
	}
	s.gateway.exec("BEGIN;" + kick(s.nora) + "ROLLBACK")
	s.gateway.exec(archiveOf(s.lucie.uuid, "before") + kick(s.ursula) + kick(s.lucie) + kick(s.tablet))
	s.gateway.exec(archiveOf(s.ursula.uuid, "after") + archiveOf(s.lucie.uuid, "after") + archiveOf(s.tablet.uuid, "after"))
	if last := s.lucie.next(); !strings.Contains(last, "before") {
		t.Errorf("what was published before the kick: %s", last)
	}
	for _, e := range []*ear{s.ursula, again, s.lucie, s.tablet} {
		if got := e.next(); got != kicked {
			t.Errorf("%s: %s", e.name, got)
		}
	}
	s.gateway.exec(archiveOf(s.nora.uuid, "stays"))
	if got := s.nora.next(); !strings.Contains(got, "stays") {
		t.Errorf("kicked by a transaction that was rolled back: %s", got)
	}
}

// A principal that is disabled or deleted is disconnected, after those who may see it were told.
func forcedDisconnects(t *testing.T, gateway *served) {
	uuid := func(n int) string { return fmt.Sprintf("0badcafe-0000-4000-8000-%012d", n) }
	var rows strings.Builder
	fmt.Fprint(&rows, "INSERT INTO t_projects (id_project, id_site, project_name, project_enabled, version_id) VALUES (9000, 1, 'x', true, 1), (9001, 1, 'y', true, 1);")
	for n := 9000; n < 9010; n++ {
		fmt.Fprintf(&rows, `INSERT INTO t_users (id_user, user_username, user_uuid, user_firstname, user_lastname, user_password, user_enabled, user_profile, user_superadmin,
				user_2fa_enabled, user_2fa_otp_enabled, user_2fa_email_enabled, user_force_password_change, version_id)
				VALUES (%[1]d, 'u%[1]d', '%[2]s', '', '', '', true, '', false, false, false, false, false, 1);
			INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_token_enabled, participant_enabled, participant_login_enabled, id_project, version_id)
				VALUES (%[1]d, '%[3]s', 'p', false, true, false, 9000 + (%[1]d / 9008), 1);
			INSERT INTO t_devices (id_device, device_uuid, device_name, id_device_type, device_enabled, device_onlineable, version_id)
				SELECT %[1]d, '%[4]s', 'd', min(id_device_type), true, true, 1 FROM t_devices_types;`, n, uuid(n), uuid(n+100), uuid(n+200))
	}
	gateway.exec(rows.String())
	admin := gateway.listen("user", opentera.DemoSuperadminUUID, "")
	for _, test := range []struct {
		change    string
		kind      string
		n         []int
		announced pb.DatabaseEvent_EventType
	}{
		{"UPDATE t_users SET user_enabled = false WHERE id_user = 9000", "user", []int{9000}, pb.DatabaseEvent_DB_UPDATE},
		{"UPDATE t_users SET deleted_at = now() WHERE id_user = 9001", "user", []int{9001}, pb.DatabaseEvent_DB_UPDATE},
		{"DELETE FROM t_users WHERE id_user = 9002", "user", []int{9002}, pb.DatabaseEvent_DB_DELETE},
		{"BEGIN; UPDATE t_users SET user_firstname = 'x' WHERE id_user = 9003; UPDATE t_users SET user_enabled = false WHERE id_user = 9003; COMMIT", "user", []int{9003}, pb.DatabaseEvent_DB_UPDATE},
		{"UPDATE t_participants SET participant_enabled = false WHERE id_participant = 9000", "participant", []int{9100}, pb.DatabaseEvent_DB_UPDATE},
		{"UPDATE t_participants SET deleted_at = now() WHERE id_participant = 9001", "participant", []int{9101}, pb.DatabaseEvent_DB_UPDATE},
		{"DELETE FROM t_participants WHERE id_participant = 9002", "participant", []int{9102}, pb.DatabaseEvent_DB_DELETE},
		{"UPDATE t_devices SET device_enabled = false WHERE id_device = 9000", "device", []int{9200}, pb.DatabaseEvent_DB_UPDATE},
		{"UPDATE t_devices SET deleted_at = now() WHERE id_device = 9001", "device", []int{9201}, pb.DatabaseEvent_DB_UPDATE},
		{"DELETE FROM t_devices WHERE id_device = 9002", "device", []int{9202}, pb.DatabaseEvent_DB_DELETE},
		// OpenTera disables the participants of a project that it disables
		{"BEGIN; UPDATE t_projects SET project_enabled = false WHERE id_project = 9000; UPDATE t_participants SET participant_enabled = false WHERE id_project = 9000; COMMIT", "participant", []int{9103, 9104}, pb.DatabaseEvent_DB_UPDATE},
		{"DELETE FROM t_projects WHERE id_project = 9001", "participant", []int{9108, 9109}, pb.DatabaseEvent_DB_DELETE},
	} {
		var gone []*ear
		for _, n := range test.n {
			gone = append(gone, gateway.listen(test.kind, uuid(n), "&encoding=json"))
		}
		neighbour := gateway.listen(test.kind, map[string]string{"user": opentera.DemoNoRoleUUID, "participant": opentera.DemoParticipantUUID, "device": opentera.DemoDeviceUUID}[test.kind], "")
		gateway.exec(test.change)
		for _, e := range gone {
			gateway.exec(archiveOf(e.uuid, "after"))
		}
		for _, e := range gone {
			if got := e.next(); got != kicked {
				t.Errorf("%s: %s", test.change, got)
			}
		}
		// what the admin received before
		for {
			kind, data := admin.frame()
			_, message := admin.parse(kind, data)
			if d, ok := message.(*pb.DatabaseEvent); ok && d.GetObjectType() == test.kind && d.GetType() == test.announced {
				break
			}
		}
		gateway.exec(archiveOf(neighbour.uuid, "stays"))
		if got := neighbour.next(); !strings.Contains(got, "stays") {
			t.Errorf("%s: the neighbour received %s", test.change, got)
		}
		_ = neighbour.conn.Close()
	}
}
