package ws

import "strings"

// refusals are the reasons of refused handshakes, each given where that is refused.
var refusals = [...]string{"draining", "encoding", "gone", "malformed", "not_ready", "not_upgrade", "origin", "redeem",
	"since", "snapshot", "token", "too_many", "upgrade", "version"}

// eventTypes are the types of message that come on a class of topic. A direct topic may carry any of them but two.
var eventTypes = map[string][]string{
	"database": {"DatabaseEvent"},
	"user_manager": {"UserEvent", "ParticipantEvent", "DeviceEvent", "JoinSessionEvent", "JoinSessionReplyEvent",
		"LeaveSessionEvent", "StopSessionEvent"},
	"direct": {"UserEvent", "ParticipantEvent", "DeviceEvent", "JoinSessionEvent", "JoinSessionReplyEvent",
		"LeaveSessionEvent", "StopSessionEvent", "ArchiveEvent"},
	"archive": {"ArchiveEvent"},
	"command": {"ServerCommand"},
	"log":     {"LoginEvent"},
	"other":   nil,
}

// sourceOf is the class of a topic (sheet websocket, section 4). The topic itself may name a person.
func sourceOf(topic string) string {
	switch {
	case strings.HasPrefix(topic, "module.TeraServer.DatabaseModule.events."):
		return "database"
	case topic == "module.TeraServer.UserManagerModule.events":
		return "user_manager"
	case strings.HasPrefix(topic, "module.TeraServer.TwistedModule.events."):
		return "command"
	case strings.HasPrefix(topic, "websocket."):
		return "direct"
	case topic == "service.FileTransferService.events":
		return "archive"
	case strings.HasPrefix(topic, "log."):
		return "log"
	}
	return "other"
}
