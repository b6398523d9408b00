package ws

import (
	"strings"

	"terasocket/proto/event"
)

// refusals are the values of the label "reason" of refused handshakes.
var refusals = [...]string{"draining", "encoding", "gone", "malformed", "not_ready", "not_upgrade", "origin", "redeem",
	"replace", "since", "snapshot", "sockets", "standing", "token", "too_many", "upgrade", "version"}

// eventTypes lists the message types of each class of topic. A direct topic may carry any but DatabaseEvent and LoginEvent.
var eventTypes = map[string][]string{
	"database": {"DatabaseEvent"},
	"user_manager": {"UserEvent", "ParticipantEvent", "DeviceEvent", "JoinSessionEvent", "JoinSessionReplyEvent",
		"LeaveSessionEvent", "StopSessionEvent"},
	"direct": {"UserEvent", "ParticipantEvent", "DeviceEvent", "JoinSessionEvent", "JoinSessionReplyEvent",
		"LeaveSessionEvent", "StopSessionEvent", "ArchiveEvent"},
	"archive": {"ArchiveEvent"},
	"log":     {"LoginEvent"},
	"gateway": {"Rights", "Alias", "Settled", "Kick"},
	"other":   nil,
}

// sourceOf returns the class of an event's topic (sheet websocket, section 4), or "gateway". The topic itself may name a
// person.
func sourceOf(e *event.Event) string {
	if e.Kind != event.Message && e.Kind != event.Object {
		return "gateway"
	}
	switch topic := e.Topic; {
	case strings.HasPrefix(topic, "module.TeraServer.DatabaseModule.events."):
		return "database"
	case topic == "module.TeraServer.UserManagerModule.events":
		return "user_manager"
	case strings.HasPrefix(topic, "websocket."):
		return "direct"
	case topic == "service.FileTransferService.events":
		return "archive"
	case strings.HasPrefix(topic, "log."):
		return "log"
	}
	return "other"
}
