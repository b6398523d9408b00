package bridge

import "strings"

// Topics of OpenTera (sheet websocket, section 4).
const (
	messagesTopic = "module.TeraServer.UserManagerModule.messages"
	eventsTopic   = "module.TeraServer.UserManagerModule.events"
	rpcTopic      = "module.TeraServer.UserManagerModule.rpc"
	repliesTopic  = "RedisRPCClient." // followed by the caller's id
	archiveTopic  = "service.FileTransferService.events"
	commandTopics = "module.TeraServer.TwistedModule.events."
	directTopics  = "websocket."
)

// Sources on UM.messages: ours, and that of OpenTera's own sockets.
const (
	ourSource   = "terasocket."
	theirSource = "websocket."
)

// What is subscribed to, by name and by pattern.
var (
	subscribed = []string{messagesTopic, eventsTopic, archiveTopic}
	patterns   = []string{"websocket.user.*.events", "websocket.participant.*.events", "websocket.device.*.events", commandTopics + "*"}
)

// topicLabel returns the metric label of a topic.
func topicLabel(topic string) string {
	switch {
	case topic == messagesTopic:
		return "user_manager_messages"
	case topic == eventsTopic:
		return "user_manager_events"
	case topic == archiveTopic:
		return "archive"
	case strings.HasPrefix(topic, commandTopics):
		return "command"
	}
	return "direct"
}
