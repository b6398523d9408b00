package standin

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
)

// Service publishes as OpenTera's services and its REST API do.
type Service struct {
	Redis *redis.Client
	Key   string // "VideoRehabService"
}

// Session is a session of a video service: its URL, and the UUIDs of its members.
type Session struct {
	UUID, Creator, URL           string
	Users, Participants, Devices []string
}

// Join invites all members: each receives the event directly, and the user manager adds all to the session. Call it again to
// invite somebody to a running session, or to rejoin.
func (s Service) Join(ctx context.Context, in Session) error { return s.tell(ctx, in, in.join) }

func (in Session) join(path string) proto.Message {
	return &opentera.JoinSessionEvent{
		SessionUrl: in.URL + path, SessionCreatorName: in.Creator, SessionUuid: in.UUID, JoinMsg: "Join me!", SessionParameters: "{}",
		SessionUsers: in.Users, SessionParticipants: in.Participants, SessionDevices: in.Devices,
	}
}

// Leave takes some members out of a session.
func (s Service) Leave(ctx context.Context, in, leaving Session) error {
	return s.tell(ctx, in, func(string) proto.Message {
		return &opentera.LeaveSessionEvent{SessionUuid: in.UUID, LeavingUsers: leaving.Users, LeavingParticipants: leaving.Participants, LeavingDevices: leaving.Devices}
	})
}

// Reply publishes the answer of an invited user, to the remaining members and to the user manager.
func (s Service) Reply(ctx context.Context, left Session, user string, reply opentera.JoinSessionReplyEvent_ReplyType) error {
	return s.tell(ctx, left, func(string) proto.Message {
		return &opentera.JoinSessionReplyEvent{SessionUuid: left.UUID, UserUuid: user, JoinReply: reply}
	})
}

// Stop ends a session.
func (s Service) Stop(ctx context.Context, in Session) error {
	return s.tell(ctx, in, func(string) proto.Message { return &opentera.StopSessionEvent{SessionUuid: in.UUID} })
}

// tell publishes an event directly to each member, then to the user manager. The argument of event is the end of the URL.
func (s Service) tell(ctx context.Context, in Session, event func(path string) proto.Message) error {
	for i, uuids := range [][]string{in.Users, in.Participants, in.Devices} {
		for _, uuid := range uuids {
			if err := s.Direct(ctx, kinds[i], uuid, event("/"+kinds[i]+"s")); err != nil {
				return err
			}
		}
	}
	return publish(ctx, s.Redis, messagesTopic, ModuleMessage("service"+s.Key, messagesTopic, event("/users")))
}

// Direct publishes events to one user, participant or device.
func (s Service) Direct(ctx context.Context, kind, uuid string, events ...proto.Message) error {
	topic := fmt.Sprintf("websocket.%s.%s.events", kind, uuid)
	return publish(ctx, s.Redis, topic, TeraEvent(topic, events...))
}

// Status does what OpenTera's REST API does when a device posts its status: JSON text, and a timestamp.
func (s Service) Status(ctx context.Context, device, status string, at float64) error {
	text := func(v string) *opentera.Value {
		return &opentera.Value{ArgValue: &opentera.Value_StringValue{StringValue: v}}
	}
	return publish(ctx, s.Redis, rpcTopic, &opentera.RPCMessage{Method: "update_device_status",
		Args: []*opentera.Value{text(device), text(status), {ArgValue: &opentera.Value_DoubleValue{DoubleValue: at}}}})
}

// Archive publishes the state of an archive.
func (s Service) Archive(ctx context.Context, event *opentera.ArchiveEvent) error {
	const topic = "service.FileTransferService.events"
	return publish(ctx, s.Redis, topic, TeraEvent(topic, event))
}

// Kick disconnects the principal with that UUID, as a logout does.
func (s Service) Kick(ctx context.Context, uuid string) error {
	topic := "module.TeraServer.TwistedModule.events." + uuid
	return publish(ctx, s.Redis, topic, ModuleMessage("module.TeraServer.FlaskModule.messages", topic,
		&opentera.ServerCommand{Type: opentera.ServerCommand_CMD_CLIENT_DISCONNECT}))
}
