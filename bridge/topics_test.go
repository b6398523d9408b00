package bridge

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/proto/opentera"
)

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func stopEvent() *opentera.StopSessionEvent {
	return &opentera.StopSessionEvent{SessionUuid: newUUID()}
}

// send publishes a message on a topic.
func (s *stage) send(topic string, message proto.Message) {
	s.Helper()
	bytes, err := proto.Marshal(message)
	s.must(err)
	s.must(s.client.Publish(s.Context(), topic, bytes).Err())
}

// refused returns the number of events refused for that reason.
func (r *running) refused(reason string) int {
	return int(testutil.ToFloat64(r.metrics.refused.WithLabelValues(reason)))
}

// bridge.md 1, 1.1, 1.2, 4: what services publish becomes rows of the log, in order; session members follow from UM.messages.
func TestSession(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	s.leader(nil)
	session := standin.Session{UUID: newUUID(), Users: []string{s.user(3), s.user(4)}, Participants: []string{s.participant(1)}, Devices: []string{s.device(1)}}
	s.must(s.service.Join(t.Context(), session))
	joined := []string{"JoinSessionEvent", "JoinSessionEvent", "JoinSessionEvent", "JoinSessionEvent",
		"USER_JOINED_SESSION 3", "USER_JOINED_SESSION 4", "PARTICIPANT_JOINED_SESSION 1", "DEVICE_JOINED_SESSION 1"}
	s.hears(joined...)
	for i, owner := range []string{"u:3", "u:4", "t:1", "d:1"} { // each receives its own
		if got := dbtest.One[string](t, s.conn, `SELECT present->1->>0 FROM terasocket.events WHERE type LIKE '%JoinSessionEvent' ORDER BY seq OFFSET $1 LIMIT 1`, i); got != owner {
			t.Errorf("Join %d is for %s, want %s", i, got, owner)
		}
	}
	s.must(s.service.Join(t.Context(), session)) // 1.2
	s.hears(joined...)
	if n := s.number("SELECT count(*) FROM terasocket.busy WHERE session_uuid = $1", session.UUID); n != 4 {
		t.Errorf("%d are busy", n)
	}
	s.must(s.service.Reply(t.Context(), standin.Session{UUID: session.UUID, Users: []string{s.user(3)}}, s.user(4), opentera.JoinSessionReplyEvent_REPLY_BUSY))
	s.hears("JoinSessionReplyEvent", "USER_LEFT_SESSION 4")
	s.must(s.service.Leave(t.Context(), standin.Session{UUID: session.UUID, Users: []string{s.user(3)}}, standin.Session{Devices: []string{s.device(1)}}))
	s.hears("LeaveSessionEvent", "DEVICE_LEFT_SESSION 1")
	s.must(s.service.Stop(t.Context(), standin.Session{UUID: session.UUID, Users: []string{s.user(3)}}))
	s.hears("StopSessionEvent", "USER_LEFT_SESSION 3", "PARTICIPANT_LEFT_SESSION 1")
	s.must(s.service.Archive(t.Context(), &opentera.ArchiveEvent{ArchiveUuid: newUUID(), OwnerUuid: s.user(3)}))
	s.must(s.service.Kick(t.Context(), s.user(3)))
	s.hears("ArchiveEvent", "Kick user 3")
	s.hearsNothing() // what the user manager said about all that is no news
	if s.manager.Raised() != 0 {
		t.Error("the user manager raised")
	}
}

// bridge.md 1: each of the nine types on the direct topic of each kind becomes a row for the topic's owner alone, except DatabaseEvent, which
// OpenTera delivers to nobody.
func TestDirect(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(nil)
	session := newUUID()
	events := []proto.Message{
		&opentera.DatabaseEvent{ObjectType: "user", ObjectValue: "{}"},
		&opentera.JoinSessionEvent{SessionUuid: session, SessionUrl: "https://x/users"},
		&opentera.LeaveSessionEvent{SessionUuid: session},
		&opentera.StopSessionEvent{SessionUuid: session},
		&opentera.JoinSessionReplyEvent{SessionUuid: session, UserUuid: s.user(3)},
		&opentera.UserEvent{UserUuid: s.user(3), Type: opentera.UserEvent_USER_CONNECTED},
		&opentera.ParticipantEvent{ParticipantUuid: s.participant(1), Type: opentera.ParticipantEvent_PARTICIPANT_JOINED_SESSION},
		&opentera.DeviceEvent{DeviceUuid: s.device(1), Type: opentera.DeviceEvent_DEVICE_STATUS_CHANGED, DeviceStatus: "{}"},
		&opentera.ArchiveEvent{ArchiveUuid: newUUID(), OwnerUuid: s.user(3)},
	}
	for kind, owner := range map[string]string{"user": "u:3", "participant": "t:3", "device": "d:3"} {
		s.must(s.service.Direct(t.Context(), kind, s.uuid(kind, 3), events...))
		s.hears("JoinSessionEvent", "LeaveSessionEvent", "StopSessionEvent", "JoinSessionReplyEvent", "USER_CONNECTED 3", "PARTICIPANT_JOINED_SESSION 1",
			"DEVICE_STATUS_CHANGED 1", "ArchiveEvent")
		if n := s.number(`SELECT count(*) FROM terasocket.events WHERE topic LIKE 'websocket.' || $1::text || '.%' AND present -> 1 = jsonb_build_array($2::text)`, kind, owner); n != 8 {
			t.Errorf("%d are for %s alone", n, owner)
		}
	}
	for _, reason := range refusals {
		if n := b.refused(reason); n != 0 {
			t.Errorf("%s: %d refused", reason, n)
		}
	}
}

// bridge.md 1, last line: messages between modules and services are not received.
func TestWhatIsNotHeard(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(nil)
	for _, topic := range []string{"module.TeraServer.DatabaseModule.events.user.update", "module.TeraServer.DatabaseModule.messages", "service.VideoRehabService.rpc",
		"service.VideoRehabService.events", "webrtc.x", "log.info", "server.x.events", "websocket.user." + s.user(1) + ".messages", rpcTopic} {
		s.send(topic, standin.TeraEvent(topic, stopEvent()))
	}
	s.hearsNothing()
	heard := 0.0
	for _, topic := range topicLabels {
		for _, name := range append(typesOn(topic), otherType) {
			heard += testutil.ToFloat64(b.metrics.received.WithLabelValues(topic, name))
		}
	}
	if heard != 1 { // that of hearsNothing
		t.Errorf("%v received", heard)
	}
}

// bridge.md 1: a device's status comes on UM.events; the same status again is no news.
func TestDeviceStatus(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(nil)
	status := func(id int, text string) {
		s.send(eventsTopic, standin.TeraEvent(eventsTopic, &opentera.DeviceEvent{DeviceUuid: s.device(id), DeviceName: "x",
			Type: opentera.DeviceEvent_DEVICE_STATUS_CHANGED, DeviceStatus: text}))
	}
	s.connect("device", 1, 1)
	const text = `{"status": "{\"battery\": 7}", "timestamp": 1732325000.123456}`
	status(1, text)
	s.hears("DEVICE_CONNECTED 1", "DEVICE_STATUS_CHANGED 1")
	got := dbtest.One[string](t, s.conn, `SELECT status || ' ' || status_at FROM terasocket.online WHERE kind = 'device'`)
	if want := `{"battery": 7} 1732325000.123456`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	status(1, text)
	status(2, text) // it is offline
	for _, bad := range []string{"", "{}", "7", `{"status": 7, "timestamp": 1}`, `{"status": "", "timestamp": "now"}`, `{"status": ""}`, `{"status": "\u0000", "timestamp": 1}`, `{"status": "", "timestamp": 1e400}`} {
		status(1, bad)
	}
	s.hearsNothing()
	if b.refused(notAllowed) != 1 || b.refused(malformed) != 8 {
		t.Errorf("%d refused, %d malformed", b.refused(notAllowed), b.refused(malformed))
	}
}

// bridge.md 1: on UM.events everything but device statuses repeats UM.messages; our own messages are ignored.
func TestEchoesAreIgnored(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(nil)
	user := &opentera.UserEvent{UserUuid: s.user(3), Type: opentera.UserEvent_USER_CONNECTED}
	s.send(eventsTopic, standin.TeraEvent(eventsTopic, user,
		&opentera.UserEvent{UserUuid: s.user(3), Type: opentera.UserEvent_USER_JOINED_SESSION},
		&opentera.ParticipantEvent{ParticipantUuid: s.participant(1), Type: opentera.ParticipantEvent_PARTICIPANT_LEFT_SESSION},
		&opentera.DeviceEvent{DeviceUuid: s.device(1), Type: opentera.DeviceEvent_DEVICE_DISCONNECTED}))
	s.send(messagesTopic, standin.ModuleMessage("terasocket.elsewhere :1 (1)", messagesTopic, user))
	s.hearsNothing()
	// a service has no sockets
	s.send(messagesTopic, standin.ModuleMessage("serviceVideoRehabService", messagesTopic, user))
	s.send(messagesTopic, standin.ModuleMessage("websocket.user."+s.user(3), messagesTopic, &opentera.UserEvent{UserUuid: s.user(3), Type: opentera.UserEvent_USER_ADDED}))
	s.hearsNothing()
	if b.refused(unknown) != 2 {
		t.Errorf("%d refused", b.refused(unknown))
	}
}

// bridge.md 1.3: what is refused is counted and logged without content, and affects nothing else, not even in the same message.
func TestRefusedTouchesNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var log dbtest.Log
	b := s.leader(func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	topic := "websocket.user." + s.user(3) + ".events"
	stop := func(uuid string) proto.Message { return &opentera.StopSessionEvent{SessionUuid: uuid} }
	s.send(topic, standin.TeraEvent(topic, stop(newUUID()), stop("secret"), &wrapperspb.StringValue{Value: "secret"}, stop(newUUID())))
	s.must(s.service.Direct(t.Context(), "user", "secret", stopEvent()))
	s.must(s.service.Direct(t.Context(), "user", newUUID(), stopEvent())) // an unknown UUID
	s.must(s.service.Kick(t.Context(), newUUID()))
	s.must(s.service.Direct(t.Context(), "user", s.user(3), &opentera.JoinSessionEvent{SessionUuid: newUUID(), SessionParameters: strings.Repeat("secret", 50000)}))
	s.must(s.service.Direct(t.Context(), "user", s.user(3), &opentera.JoinSessionEvent{SessionUuid: newUUID(), SessionParameters: "secret\x00"}))
	s.must(s.service.Direct(t.Context(), "user", s.user(3), stopEvent()))
	s.hears("StopSessionEvent", "StopSessionEvent", "StopSessionEvent")
	for reason, want := range map[string]int{notAllowed: 4, unknown: 1, tooBig: 1, malformed: 1, broken: 0} {
		if got := b.refused(reason); got != want {
			t.Errorf("%s: %d refused, want %d", reason, got, want)
		}
	}
	if log.Count("is refused") == 0 || log.Count("secret") > 0 {
		t.Error(log.String())
	}
	if got := testutil.ToFloat64(b.metrics.received.WithLabelValues("direct", "StopSessionEvent")); got != 6 {
		t.Errorf("%v received", got)
	}
}

// An invalid UUID is refused before PostgreSQL sees it: a zero byte is text to protobuf but not to PostgreSQL, which rejects
// the whole call.
func TestNoUUID(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	b := s.leader(nil)
	for i, bad := range []string{"\x00", "a\x00", "", "nobody", s.user(3) + "\x00"} {
		s.send(eventsTopic, standin.TeraEvent(eventsTopic, &opentera.DeviceEvent{DeviceUuid: bad, DeviceName: "x",
			Type: opentera.DeviceEvent_DEVICE_STATUS_CHANGED, DeviceStatus: `{"status": "{}", "timestamp": 1}`}))
		for _, event := range []proto.Message{
			&opentera.UserEvent{UserUuid: bad, Type: opentera.UserEvent_USER_CONNECTED},
			&opentera.ParticipantEvent{ParticipantUuid: bad, Type: opentera.ParticipantEvent_PARTICIPANT_DISCONNECTED},
		} {
			s.send(messagesTopic, standin.ModuleMessage("websocket.x", messagesTopic, event))
		}
		s.eventually("three are refused", func() bool { return b.refused(malformed) == 3*(i+1) })
		s.hearsNothing()
	}
	var r reading
	r.touch("", "\x00", s.user(3)+"\x00", strings.ToUpper(s.user(3)))
	if want := []string{s.user(3)}; !slices.Equal(r.touched, want) {
		t.Errorf("it is about %q, want %q", r.touched, want)
	}
}

// bridge.md 1.4: the events of one message are rows of one transaction, in order.
func TestBatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.leader(nil)
	topic := "websocket.participant." + s.participant(1) + ".events"
	var events []proto.Message
	var want []string
	for range 5 {
		stop := stopEvent()
		events, want = append(events, stop), append(want, stop.GetSessionUuid())
	}
	s.send(topic, standin.TeraEvent(topic, events...))
	s.eventually("five are recorded", func() bool { return s.number("SELECT count(*) FROM terasocket.changes WHERE what = 'message'") == 5 })
	got := dbtest.One[string](t, s.conn, "SELECT string_agg(body->'message'->>'sessionUuid', ' ' ORDER BY xid, id) FROM terasocket.changes WHERE what = 'message'")
	if n := s.number("SELECT count(DISTINCT xid) FROM terasocket.changes WHERE what = 'message'"); n != 1 || got != strings.Join(want, " ") {
		t.Errorf("%d transactions: %s", n, got)
	}
}

// bridge.md 11: garbage, truncated protobuf, 1 MB, unknown types and versions on every topic are counted, and the bridge
// survives.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(nil)
	topics := []string{messagesTopic, eventsTopic, archiveTopic, commandTopics + s.user(3), "websocket.user." + s.user(3) + ".events",
		"websocket.participant.x.events", "websocket.device..events", "websocket.user.\xff.events"}
	for _, topic := range topics {
		var good proto.Message = standin.TeraEvent("", stopEvent())
		isModule := topic == messagesTopic || strings.HasPrefix(topic, commandTopics)
		if isModule {
			good = standin.ModuleMessage("serviceX", "", stopEvent())
		}
		bytes, err := proto.Marshal(good)
		s.must(err)
		unknownType := &anypb.Any{TypeUrl: "type.googleapis.com/opentera.protobuf.Nothing", Value: []byte("x")}
		truncated := &anypb.Any{TypeUrl: "type.googleapis.com/opentera.protobuf." + typesOn(topicLabel(topic))[0], Value: []byte("\x0a\x7fx")}
		for _, payload := range []string{"", "x", "\xff\xff\xff", string(bytes[:len(bytes)-3]), strings.Repeat("\xfe", 1<<20), strings.Repeat("\x00", 1<<20), "{}"} {
			s.must(s.client.Publish(t.Context(), topic, payload).Err())
		}
		for _, any := range []*anypb.Any{unknownType, truncated, {}, nil} {
			var message proto.Message = &opentera.TeraEvent{Header: &opentera.TeraEvent_Header{Version: 1}, Events: []*anypb.Any{any}}
			newer := proto.Message(&opentera.TeraEvent{Header: &opentera.TeraEvent_Header{Version: 2}, Events: []*anypb.Any{any}})
			if isModule {
				message = &opentera.TeraModuleMessage{Data: []*anypb.Any{any}}
				newer = &opentera.TeraModuleMessage{Head: &opentera.TeraModuleMessage_Header{Version: 9}, Data: []*anypb.Any{any}}
			}
			s.send(topic, message)
			s.send(topic, newer)
		}
	}
	s.hearsNothing()
	if got := b.refused(version); got != 4*len(topics) {
		t.Errorf("%d of an unknown version", got)
	}
	if got := b.refused(unknown); got != 3*len(topics) {
		t.Errorf("%d of an unknown type", got)
	}
	if got := b.refused(malformed); got != 8*len(topics) {
		t.Errorf("%d malformed", got)
	}
	if b.refused(broken) != 0 || testutil.ToFloat64(b.metrics.outages) != 0 {
		t.Error("unexpected errors")
	}
}
