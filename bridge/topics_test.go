package bridge

import (
	"crypto/rand"
	"fmt"
	"testing"

	"terasocket/bridge/standin"
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

// 1, 1.1, 1.2, 4: what services publish becomes rows of the log, in their order; who is in a session follows from UM.messages.
func TestSession(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	s.leads(s.bridge(nil))
	session := standin.Session{UUID: newUUID(), Users: []string{s.user(3), s.user(4)}, Participants: []string{s.participant(1)}, Devices: []string{s.device(1)}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.service.Join(t.Context(), session))
	joined := []string{"JoinSessionEvent", "JoinSessionEvent", "JoinSessionEvent", "JoinSessionEvent",
		"USER_JOINED_SESSION 3", "USER_JOINED_SESSION 4", "PARTICIPANT_JOINED_SESSION 1", "DEVICE_JOINED_SESSION 1"}
	s.hears(joined...)
	must(s.service.Join(t.Context(), session)) // 1.2
	s.hears(joined...)
	if n := s.number("SELECT count(*) FROM terasocket.busy WHERE session_uuid = $1", session.UUID); n != 4 {
		t.Errorf("%d are busy", n)
	}
	must(s.service.Reply(t.Context(), standin.Session{UUID: session.UUID, Users: []string{s.user(3)}}, s.user(4), opentera.JoinSessionReplyEvent_REPLY_BUSY))
	s.hears("JoinSessionReplyEvent", "USER_LEFT_SESSION 4")
	must(s.service.Leave(t.Context(), standin.Session{UUID: session.UUID, Users: []string{s.user(3)}}, standin.Session{Devices: []string{s.device(1)}}))
	s.hears("LeaveSessionEvent", "DEVICE_LEFT_SESSION 1")
	must(s.service.Stop(t.Context(), standin.Session{UUID: session.UUID, Users: []string{s.user(3)}}))
	s.hears("StopSessionEvent", "USER_LEFT_SESSION 3", "PARTICIPANT_LEFT_SESSION 1")
	must(s.service.Archive(t.Context(), &opentera.ArchiveEvent{ArchiveUuid: newUUID(), OwnerUuid: s.user(3)}))
	must(s.service.Kick(t.Context(), s.user(3)))
	s.hears("ArchiveEvent", "Kick user 3")
	s.hearsNothing() // what the user manager has said of all that is no news
	if s.manager.Raised() != 0 {
		t.Error("the user manager raised")
	}
}
