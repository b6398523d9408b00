package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// sequenceGrace is how long a client that closes stays online. (TestCluster shows that a kicked one does not.)
const sequenceGrace = 500 * time.Millisecond

const (
	sequenceSession = "0badcafe-0000-4000-8000-000000009000"
	sequenceStatus  = `{"battery": 7, "état": "\"ok\""}`
	messagesTopic   = "module.TeraServer.UserManagerModule.messages"
	typeURL         = "type.googleapis.com/opentera.protobuf."
)

// fields is an event as ProtoJSON with every key of the sheet, and @type.
type fields map[string]any

func (f fields) String() string { return string(must(json.Marshal(f))) }

// published returns the ProtoJSON that a service publishes: without empty fields.
func (f fields) published() string {
	f = maps.Clone(f)
	maps.DeleteFunc(f, func(_ string, v any) bool {
		text, isText := v.(string)
		list, isList := v.([]string)
		return isText && text == "" || isList && len(list) == 0
	})
	return f.String()
}

// player is a principal and its socket.
type player struct {
	*ear              // nil while it has no socket
	who, kind, uuid   string
	project, site     string // of a participant
	query             string // in addition to its token
	seq               uint64 // of its last frame
	presenceIsHeardBy []*player
}

// presenceEvent returns its User-, Participant- or DeviceEvent of that type (for example CONNECTED).
func (p *player) presenceEvent(eventType, status string) fields {
	switch p.kind {
	case "user":
		return fields{"@type": typeURL + "UserEvent", "userUuid": p.uuid, "type": "USER_" + eventType, "userFullname": p.who}
	case "participant":
		return fields{"@type": typeURL + "ParticipantEvent", "participantUuid": p.uuid, "type": "PARTICIPANT_" + eventType,
			"participantName": p.who, "participantProjectName": p.project, "participantSiteName": p.site}
	}
	return fields{"@type": typeURL + "DeviceEvent", "deviceUuid": p.uuid, "type": "DEVICE_" + eventType, "deviceName": p.who, "deviceStatus": status}
}

func (p *player) announced(eventType string) expected {
	return expected{managerTopic, p.presenceEvent(eventType, ""), p.presenceIsHeardBy}
}

func (p *player) directTopic() string { return fmt.Sprintf("websocket.%s.%s.events", p.kind, p.uuid) }

// seen is the header and the event of a frame.
type seen struct {
	topic string
	at    time.Time
	event fields
}

// read reads one frame and checks what holds for every frame: its encoding, the nesting, exactly the keys of the header,
// version and time, and an increasing seq, if the socket gets one.
func (p *player) read(what string) seen {
	p.t.Helper()
	kind, data, err := p.readFrame()
	if err != nil {
		p.t.Fatalf("%s: %s: read: %v", what, p.who, err)
	}
	isJSON := strings.Contains(p.query, "encoding=json")
	if isJSON != (kind == websocket.TextMessage) {
		p.t.Fatalf("%s: %s: a frame of kind %d", what, p.who, kind)
	}
	if !isJSON { // the same message, printed with every key
		var message pb.TeraMessage
		if err := proto.Unmarshal(data, &message); err != nil {
			p.t.Fatal(err)
		}
		if data, err = (protojson.MarshalOptions{EmitDefaultValues: true}).Marshal(&message); err != nil {
			p.t.Fatal(err)
		}
	}
	var frame map[string]map[string]json.RawMessage
	var header map[string]any
	var events []fields
	var innerType string
	if err := json.Unmarshal(data, &frame); err != nil {
		p.t.Fatalf("%s: %s: %v: %s", what, p.who, err, data)
	}
	if err := errors.Join(json.Unmarshal(frame["message"]["header"], &header), json.Unmarshal(frame["message"]["events"], &events),
		json.Unmarshal(frame["message"]["@type"], &innerType)); err != nil {
		p.t.Fatalf("%s: %s: %v: %s", what, p.who, err, data)
	}
	keys := []string{"time", "topic", "version"}
	if !isJSON || strings.Contains(p.query, "since") {
		keys = []string{"seq", "time", "topic", "version"}
		text, _ := header["seq"].(string)
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil || seq <= p.seq {
			p.t.Errorf("%s: %s: seq %v after %d", what, p.who, header["seq"], p.seq)
		}
		p.seq = seq
	}
	seconds, _ := header["time"].(float64)
	at := time.UnixMicro(int64(math.Round(seconds * 1e6)))
	if len(frame) != 1 || len(frame["message"]) != 3 || len(events) != 1 || innerType != typeURL+"TeraEvent" ||
		!slices.Equal(slices.Sorted(maps.Keys(header)), keys) || header["version"] != 1.0 || time.Since(at).Abs() > 10*time.Second {
		p.t.Fatalf("%s: %s: frame %s", what, p.who, data)
	}
	topic, _ := header["topic"].(string)
	return seen{topic, at, events[0]}
}

// expected is a row of the sequence: who receives what, with which topic. Players without a socket receive nothing.
type expected struct {
	topic string
	event fields
	by    []*player
}

// sequence is one gateway, and the players.
type sequence struct {
	*testing.T
	conn      *pgx.Conn
	gateway   *served
	players   []*player
	sentinels int
}

// publish publishes pairs of topic and event in one transaction.
func (s *sequence) publish(pairs ...[2]string) {
	s.Helper()
	err := pgx.BeginFunc(s.Context(), s.conn, func(tx pgx.Tx) error {
		for _, pair := range pairs {
			if _, err := tx.Exec(s.Context(), "SELECT terasocket.publish($1, $2::text::jsonb)", pair[0], pair[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// mustHear reads what every socket receives: these frames, in this order, and nothing else before a sentinel of its own.
func (s *sequence) mustHear(what string, rows ...expected) (times []time.Time) {
	s.Helper()
	for _, row := range rows {
		for _, p := range row.by {
			if p.ear == nil {
				continue
			}
			got := p.read(what)
			if got.topic != row.topic || got.event.String() != row.event.String() {
				s.Errorf("%s: %s received on %s\n%s\nwant on %s\n%s", what, p.who, got.topic, got.event, row.topic, row.event)
			}
			times = append(times, got.at)
		}
	}
	s.sentinels++
	sentinel := func(p *player) fields {
		return fields{"@type": typeURL + "ArchiveEvent", "archiveUuid": sequenceSession, "ownerUuid": p.uuid, "status": "STATUS_PENDING",
			"archiveUrl": fmt.Sprintf("sentinel %d", s.sentinels)}
	}
	var pairs [][2]string
	for _, p := range s.players {
		if p.ear != nil {
			pairs = append(pairs, [2]string{archiveTopic, sentinel(p).published()})
		}
	}
	s.publish(pairs...)
	for _, p := range s.players {
		if p.ear == nil {
			continue
		}
		if got := p.read(what); got.topic != archiveTopic || got.event.String() != sentinel(p).String() {
			s.Fatalf("%s: %s received on %s %s, want nothing", what, p.who, got.topic, got.event)
		}
	}
	return times
}

// TestSequence checks what OpenTera's sockets receive from the first connect to the last disconnect, frame by frame.
func TestSequence(t *testing.T) {
	t.Parallel()
	const (
		project, site           = "Télé-AVC", "Centre de réadaptation de l'Estrie"
		otherProject, otherSite = "Parkinson en mouvement", "Hôpital des Laurentides"
		jsonQuery               = "&encoding=json"
		jsonSeqQuery            = "&encoding=json&since=0"
	)
	paul := &player{who: "Paul Lavoie", kind: "user", uuid: opentera.DemoProjectAdminUUID}
	ursula := &player{who: "Ursula Côté", kind: "user", uuid: opentera.DemoProjectUserUUID, query: jsonQuery}
	lucie := &player{who: "Lucie Gingras", kind: "participant", uuid: opentera.DemoParticipantUUID, project: project, site: site}
	henri := &player{who: "Henri D'Amours", kind: "participant", uuid: "99997d22-b413-51da-85a0-010760783330", project: project, site: site, query: jsonSeqQuery}
	kit := &player{who: "Kit TeraPlus 01", kind: "device", uuid: opentera.DemoDeviceUUID}
	watch := &player{who: "Montre Fitbit 02", kind: "device", uuid: "c2a2bfaf-b331-5cd9-b8f5-b40155a0d73e", query: jsonQuery}
	// in the site, in no project: sees its devices, and by them lists the session, which he cannot open
	simon := &player{who: "Simon Pelletier", kind: "user", uuid: opentera.DemoSiteUserUUID, query: jsonSeqQuery}
	// strangers: sites 3, 2 and 2, and none of them may see another
	fatou := &player{who: "Fatou Diallo", kind: "user", uuid: opentera.DemoForcedChangeUUID, query: jsonSeqQuery}
	rene := &player{who: "René Charbonneau", kind: "participant", uuid: opentera.DemoOtherParticipantUUID, project: otherProject, site: otherSite}
	sensor := &player{who: "Kit TeraPlus 15", kind: "device", uuid: opentera.DemoOtherDeviceUUID, query: jsonQuery}
	everybody := []*player{simon, fatou, rene, sensor, paul, ursula, lucie, henri, kit, watch}

	// sheet access-rules, section 5: kit is linked to lucie and henri, watch to lucie
	paul.presenceIsHeardBy = []*player{paul, ursula}
	ursula.presenceIsHeardBy = []*player{paul, ursula}
	lucie.presenceIsHeardBy = []*player{paul, ursula, lucie, kit, watch}
	henri.presenceIsHeardBy = []*player{paul, ursula, henri, kit}
	kit.presenceIsHeardBy = []*player{paul, ursula, simon, lucie, henri, kit}
	watch.presenceIsHeardBy = []*player{paul, ursula, simon, lucie, watch}
	for _, p := range []*player{simon, fatou, rene, sensor} {
		p.presenceIsHeardBy = []*player{p}
	}

	url := dbtest.New(t, migrated())
	psql(t, url, fmt.Sprintf(`INSERT INTO t_devices_participants VALUES (9000, 1, 1, 1, NULL), (9001, 2, 1, 1, NULL);
		INSERT INTO t_sessions (id_session, session_uuid, id_session_type, id_creator_user, session_name, session_start_datetime, session_duration, session_status, version_id)
			SELECT 9000, '%s', min(id_session_type), %d, 'x', now(), 0, 0, 1 FROM t_sessions_types;
		INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) VALUES (9000, 9000, %[2]d, 1);
		INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) VALUES (9000, 9000, 1, 1), (9001, 9000, 2, 1);
		INSERT INTO t_sessions_devices (id_session_device, id_session, id_device, version_id) VALUES (9000, 9000, 1, 1)`, sequenceSession, opentera.DemoProjectAdminID))
	s := &sequence{T: t, gateway: serve(t, url, "--presence-grace", sequenceGrace.String()), conn: dbtest.Conn(t, url), players: everybody}

	connect := func(p *player) {
		t.Helper()
		p.ear = s.gateway.listen(p.kind, p.uuid, p.query)
		p.seq = 0
		if strings.Contains(p.query, "since") {
			if first := p.read(p.who + " connects"); first.topic != "" || first.event["@type"] != "type.googleapis.com/terasocket.v1.Cursor" {
				t.Errorf("%s received %s first, want a Cursor", p.who, first.event)
			}
		}
		s.mustHear(p.who+" connects", p.announced("CONNECTED"))
	}
	for _, p := range everybody {
		connect(p)
	}

	// what a video service does: on the direct topics of on, then to the user manager
	members := []*player{paul, lucie, henri, kit}
	join := fields{"@type": typeURL + "JoinSessionEvent", "sessionUrl": "", "sessionCreatorName": paul.who, "sessionUuid": sequenceSession,
		"sessionParticipants": []string{lucie.uuid, henri.uuid}, "sessionUsers": []string{paul.uuid}, "sessionDevices": []string{kit.uuid},
		"joinMsg": "Joignez-vous à moi!", "sessionParameters": `{"a": "é"}`, "serviceUuid": opentera.DemoVideoRehabServiceUUID}
	reply := func(p *player, answer, message string) fields {
		f := fields{"@type": typeURL + "JoinSessionReplyEvent", "sessionUuid": sequenceSession, "userUuid": "", "participantUuid": "", "deviceUuid": "",
			"joinReply": answer, "replyMsg": message}
		f[p.kind+"Uuid"] = p.uuid
		return f
	}
	leave := fields{"@type": typeURL + "LeaveSessionEvent", "sessionUuid": sequenceSession, "serviceUuid": opentera.DemoVideoRehabServiceUUID,
		"leavingParticipants": []string{lucie.uuid}, "leavingUsers": []string{}, "leavingDevices": []string{kit.uuid}}
	stop := fields{"@type": typeURL + "StopSessionEvent", "sessionUuid": sequenceSession, "serviceUuid": opentera.DemoVideoRehabServiceUUID}
	joined := []expected{paul.announced("JOINED_SESSION"), lucie.announced("JOINED_SESSION"), henri.announced("JOINED_SESSION"), kit.announced("JOINED_SESSION")}
	left := []expected{paul.announced("LEFT_SESSION"), lucie.announced("LEFT_SESSION"), henri.announced("LEFT_SESSION"), kit.announced("LEFT_SESSION")}
	for _, step := range []struct {
		what  string
		event fields
		on    []*player // direct topics
		by    []*player // who receives it there
		then  []expected
	}{
		{"a session starts", join, members, members, joined},
		{"an invitation on the topics of who is not in it", join, everybody, members, joined},
		{"a user accepts", reply(paul, "REPLY_ACCEPTED", "J'arrive"), members, []*player{lucie, henri, kit}, nil},
		{"a participant accepts", reply(lucie, "REPLY_ACCEPTED", ""), members, []*player{paul, henri, kit}, nil},
		{"a device accepts", reply(kit, "REPLY_ACCEPTED", ""), everybody, []*player{paul, lucie, henri}, nil},
		{"a participant denies", reply(henri, "REPLY_DENIED", "Non"), members, []*player{paul, lucie, kit}, left[2:3]},
		{"a user is busy", reply(paul, "REPLY_BUSY", ""), members, []*player{lucie, henri, kit}, left[0:1]},
		{"a device does not answer", reply(kit, "REPLY_TIMEOUT", ""), everybody, []*player{paul, lucie, henri}, left[3:4]},
		{"a participant and a device are removed", leave, everybody, members, []expected{left[1], left[3]}},
		{"nobody is left: stop raises nothing", stop, members, members, nil},
		{"it starts again", join, members, members, joined},
		{"a device is removed", fields{"@type": leave["@type"], "sessionUuid": sequenceSession, "serviceUuid": leave["serviceUuid"],
			"leavingParticipants": []string{}, "leavingUsers": []string{}, "leavingDevices": []string{kit.uuid}}, members, members, left[3:4]},
		{"stop is heard by members and those who open or list the session", stop, everybody, []*player{paul, lucie, henri, kit, ursula, simon}, left[:3]},
		{"it has stopped", stop, members, members, nil},
	} {
		addressed := func(p *player) fields {
			f := maps.Clone(step.event)
			if _, hasURL := f["sessionUrl"]; hasURL {
				f["sessionUrl"] = "https://127.0.0.1:40075/webrtc/8080/" + p.kind + "s?key=x"
			}
			return f
		}
		var pairs [][2]string
		var rows []expected
		for _, p := range step.on {
			pairs = append(pairs, [2]string{p.directTopic(), addressed(p).published()})
		}
		for _, p := range step.by {
			rows = append(rows, expected{p.directTopic(), addressed(p), []*player{p}})
		}
		pairs = append(pairs, [2]string{messagesTopic, addressed(kit).published()})
		s.publish(pairs...)
		s.mustHear(step.what, append(rows, step.then...)...)
	}

	// device status: JSON text in JSON text; nothing from a device that is offline
	for _, device := range []struct {
		id int
		*player
	}{{opentera.DemoDeviceID, kit}, {2, watch}, {opentera.DemoOtherDeviceID, sensor}, {3, nil}} {
		id, p := device.id, device.player
		var online bool
		if err := s.conn.QueryRow(t.Context(), "SELECT terasocket.device_status($1, $2, 1732325000.5)", id, sequenceStatus).Scan(&online); err != nil || online != (p != nil) {
			t.Errorf("status of device %d: %v %v", id, online, err)
		}
		var rows []expected
		if p != nil {
			text := `{"status": ` + string(must(json.Marshal(sequenceStatus))) + `, "timestamp": 1732325000.5}`
			rows = append(rows, expected{managerTopic, p.presenceEvent("STATUS_CHANGED", text), p.presenceIsHeardBy})
		}
		s.mustHear(fmt.Sprintf("status of device %d", id), rows...)
	}

	for i, p := range everybody {
		archive := fields{"@type": typeURL + "ArchiveEvent", "archiveUuid": fmt.Sprintf("0badcafe-0000-4000-8000-00000000000%d", i), "ownerUuid": p.uuid,
			"status":     []string{"STATUS_PENDING", "STATUS_INPROGRESS", "STATUS_COMPLETED", "STATUS_CANCELLED", "STATUS_DELETED"}[i%5],
			"archiveUrl": "/file/api/archives?archive_uuid=x "}
		s.publish([2]string{archiveTopic, archive.published()})
		s.mustHear("archive of "+p.who, expected{archiveTopic, archive, []*player{p}})
	}

	kick := func(p *player) {
		t.Helper()
		s.publish([2]string{kickTopic + p.uuid, typedJSON("ServerCommand", `"type": "CMD_CLIENT_DISCONNECT"`)})
		_, data, err := p.readFrame()
		if closed, ok := errors.AsType[*websocket.CloseError](err); !ok || closed.Code != 4000 || closed.Text != "CMD_CLIENT_DISCONNECT" {
			t.Errorf("%s is kicked: %q %v", p.who, data, err)
		}
		p.ear = nil
		s.mustHear(p.who+" is kicked", p.announced("DISCONNECTED"))
	}
	closes := func(p *player) {
		t.Helper()
		began := time.Now()
		_ = p.conn.Close()
		p.ear = nil
		for _, at := range s.mustHear(p.who+" closes", p.announced("DISCONNECTED")) {
			if at.Sub(began) < sequenceGrace {
				t.Errorf("%s closes: announced after %v, before the end of the grace", p.who, at.Sub(began))
			}
		}
	}
	kick(lucie)   // seen by users and devices
	closes(henri) // seen by users and kit
	kick(kit)
	closes(watch) // seen by users, including simon
	closes(ursula)
	connect(ursula) // again, and at once
	kick(paul)      // seen by ursula
	kick(rene)      // seen by nobody
	kick(sensor)
	kick(fatou)
	s.mustHear("nothing is left over")
}
