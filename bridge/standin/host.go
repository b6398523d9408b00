package standin

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
)

// Host does what a video service does while its session runs (sheet services, 7.1): it invites a member who comes online again, and
// stops the session when its creator goes offline. It listens when Host returns. The channel receives nil when the session was
// stopped, an error when ctx ended first.
func (s Service) Host(ctx context.Context, in Session, creator string) (<-chan error, error) {
	sub := s.Redis.Subscribe(ctx, eventsTopic)
	if _, err := sub.Receive(ctx); err != nil {
		_ = sub.Close()
		return nil, fmt.Errorf("host a session: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		unblock := context.AfterFunc(ctx, func() { _ = sub.Close() })
		defer unblock()
		ended <- s.host(ctx, sub, in, creator)
		_ = sub.Close()
	}()
	return ended, nil
}

func (s Service) host(ctx context.Context, sub *redis.PubSub, in Session, creator string) error {
	members := slices.Concat(in.Users, in.Participants, in.Devices)
	for {
		message, err := sub.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("host a session: %w", err)
		}
		var said opentera.TeraEvent
		if err := proto.Unmarshal([]byte(message.Payload), &said); err != nil {
			return fmt.Errorf("host a session: %w", err)
		}
		for _, data := range said.GetEvents() {
			event, err := data.UnmarshalNew()
			if err != nil {
				return fmt.Errorf("host a session: %w", err)
			}
			who, uuid, comes, goes := cameOrWent(event)
			switch {
			case goes && uuid == creator:
				return s.Stop(ctx, in)
			case comes && slices.Contains(members, uuid):
				if err := s.tell(ctx, who, in.join); err != nil {
					return err
				}
			}
		}
	}
}

// cameOrWent returns whom an event is about, and whether it says that they connected or disconnected.
func cameOrWent(event proto.Message) (who Session, uuid string, comes, goes bool) {
	switch e := event.(type) {
	case *opentera.UserEvent:
		uuid = e.GetUserUuid()
		return Session{Users: []string{uuid}}, uuid, e.GetType() == opentera.UserEvent_USER_CONNECTED, e.GetType() == opentera.UserEvent_USER_DISCONNECTED
	case *opentera.ParticipantEvent:
		uuid = e.GetParticipantUuid()
		return Session{Participants: []string{uuid}}, uuid, e.GetType() == opentera.ParticipantEvent_PARTICIPANT_CONNECTED,
			e.GetType() == opentera.ParticipantEvent_PARTICIPANT_DISCONNECTED
	case *opentera.DeviceEvent:
		uuid = e.GetDeviceUuid()
		return Session{Devices: []string{uuid}}, uuid, e.GetType() == opentera.DeviceEvent_DEVICE_CONNECTED, e.GetType() == opentera.DeviceEvent_DEVICE_DISCONNECTED
	}
	return Session{}, "", false, false
}
