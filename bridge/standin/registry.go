package standin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
)

// kinds in the order in which the user manager processes them.
var kinds = []string{"user", "participant", "device"}

// registry is the user manager's state for one kind.
type registry struct {
	online []string          // UUIDs, in order of arrival
	busy   map[string]string // UUID -> session
	status map[string]status // of devices
}

type status struct {
	Status    string  `json:"status"`
	Timestamp float64 `json:"timestamp"`
}

func registries() map[string]*registry {
	state := make(map[string]*registry)
	for _, kind := range kinds {
		state[kind] = &registry{online: []string{}, busy: make(map[string]string), status: make(map[string]status)}
	}
	return state
}

// Online returns the sorted UUIDs of the users, participants or devices that it believes to be online.
func (m *UserManager) Online(kind string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.state[kind].online))
}

// Busy returns the sessions of those that it believes to be busy, by UUID.
func (m *UserManager) Busy(kind string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.state[kind].busy)
}

// Status returns a device's status and timestamp; ok is false without one.
func (m *UserManager) Status(uuid string) (text string, timestamp float64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.state["device"].status[uuid]
	return s.Status, s.Timestamp, ok
}

// take handles a message; an error makes it raise.
func (m *UserManager) take(ctx context.Context, payload []byte) error {
	var message opentera.TeraModuleMessage
	if err := proto.Unmarshal(payload, &message); err != nil {
		return &fault{err}
	}
	for _, data := range message.GetData() {
		event, err := data.UnmarshalNew()
		if err != nil {
			return &fault{err}
		}
		if err := m.manage(ctx, event); err != nil {
			return err
		}
	}
	return nil
}

func (m *UserManager) manage(ctx context.Context, event proto.Message) error {
	switch e := event.(type) {
	case *opentera.UserEvent:
		return m.comeOrGo(ctx, "user", e.GetUserUuid(), e.GetType() == opentera.UserEvent_USER_CONNECTED, event)
	case *opentera.ParticipantEvent:
		return m.comeOrGo(ctx, "participant", e.GetParticipantUuid(), e.GetType() == opentera.ParticipantEvent_PARTICIPANT_CONNECTED, event)
	case *opentera.DeviceEvent:
		return m.comeOrGo(ctx, "device", e.GetDeviceUuid(), e.GetType() == opentera.DeviceEvent_DEVICE_CONNECTED, event)
	case *opentera.JoinSessionEvent:
		return m.move(ctx, e.GetSessionUuid(), true, e.GetSessionUsers(), e.GetSessionParticipants(), e.GetSessionDevices())
	case *opentera.LeaveSessionEvent:
		return m.move(ctx, e.GetSessionUuid(), false, e.GetLeavingUsers(), e.GetLeavingParticipants(), e.GetLeavingDevices())
	case *opentera.StopSessionEvent:
		return m.move(ctx, e.GetSessionUuid(), false, m.busyWith("user", e.GetSessionUuid()), m.busyWith("participant", e.GetSessionUuid()), m.busyWith("device", e.GetSessionUuid()))
	case *opentera.JoinSessionReplyEvent:
		if e.GetJoinReply() != opentera.JoinSessionReplyEvent_REPLY_ACCEPTED {
			return m.move(ctx, e.GetSessionUuid(), false, some(e.GetUserUuid()), some(e.GetParticipantUuid()), some(e.GetDeviceUuid()))
		}
	}
	return nil // it ignores anything else
}

// some returns a list of the UUID unless it is empty.
func some(uuid string) []string {
	if uuid == "" {
		return nil
	}
	return []string{uuid}
}

func (m *UserManager) busyWith(kind, session string) (uuids []string) {
	for uuid, s := range m.Busy(kind) {
		if s == session {
			uuids = append(uuids, uuid)
		}
	}
	slices.Sort(uuids)
	return uuids
}

// comeOrGo records the change and publishes the event again. Online shows the change once the event is published.
func (m *UserManager) comeOrGo(ctx context.Context, kind, uuid string, comes bool, event proto.Message) error {
	if _, err := m.alive(ctx, kind, uuid); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.state[kind]
	r.online = slices.DeleteFunc(r.online, func(other string) bool { return !comes && other == uuid })
	if comes && !slices.Contains(r.online, uuid) {
		r.online = append(r.online, uuid)
	}
	if !comes {
		delete(r.status, uuid)
	}
	return m.say(ctx, event)
}

// move moves everybody listed into a session, or out of it, and publishes an event for each.
func (m *UserManager) move(ctx context.Context, session string, joins bool, lists ...[]string) error {
	for i, kind := range kinds {
		for _, uuid := range lists[i] {
			if err := m.moveOne(ctx, session, joins, kind, uuid); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveOne moves one of them. Busy shows the change once the event is published.
func (m *UserManager) moveOne(ctx context.Context, session string, joins bool, kind, uuid string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	busy := m.state[kind].busy
	if in, isBusy := busy[uuid]; joins && !isBusy {
		busy[uuid] = session
	} else if !joins && in == session {
		delete(busy, uuid)
	}
	person, err := m.alive(ctx, kind, uuid)
	if err != nil && (kind == "user" || !errors.Is(err, errNobody)) {
		return err // for an unknown participant or device the event has the UUID alone
	}
	return m.say(ctx, moved(kind, uuid, person, joins))
}

var errNobody = errors.New("there is nobody with that UUID")

func (m *UserManager) alive(ctx context.Context, kind, uuid string) (Person, error) {
	person, ok, err := m.people(ctx, kind, uuid)
	if err == nil && !ok {
		err = &fault{fmt.Errorf("%s %q: %w", kind, uuid, errNobody)}
	}
	return person, err
}

func moved(kind, uuid string, p Person, joins bool) proto.Message {
	switch kind {
	case "user":
		e := &opentera.UserEvent{UserUuid: uuid, UserFullname: p.Name, Type: opentera.UserEvent_USER_LEFT_SESSION}
		if joins {
			e.Type = opentera.UserEvent_USER_JOINED_SESSION
		}
		return e
	case "participant":
		e := &opentera.ParticipantEvent{ParticipantUuid: uuid, ParticipantName: p.Name, ParticipantProjectName: p.Project, ParticipantSiteName: p.Site,
			Type: opentera.ParticipantEvent_PARTICIPANT_LEFT_SESSION}
		if joins {
			e.Type = opentera.ParticipantEvent_PARTICIPANT_JOINED_SESSION
		}
		return e
	}
	e := &opentera.DeviceEvent{DeviceUuid: uuid, DeviceName: p.Name, Type: opentera.DeviceEvent_DEVICE_LEFT_SESSION}
	if joins {
		e.Type = opentera.DeviceEvent_DEVICE_JOINED_SESSION
	}
	return e
}
