package bridge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/access"
	"terasocket/proto/opentera"
)

// item is one thing to write: its kind, place and content, as terasocket.bridge_take() takes them.
type item struct {
	what, place, content string
	typeName             string // of the event: "JoinSessionEvent"
	topic                string // label
	of                   *heard // its message
	part                 int    // number of items of its message up to this one; 0 for the last: all
	refused              string // why a withdrawn item was refused
}

// The kinds of items.
const (
	isPublished = "publish"
	isStatus    = "status"
	isOnline    = "online"
	isOffline   = "offline"
)

// takesTurns reports whether it locks a row of terasocket.online. Two of those in one transaction would lock in our order.
func (i item) takesTurns() bool { return i.what != isPublished }

// withdrawn replaces an item that the database rejects outright, so that the number of items stays the same.
func (i item) withdrawn(reason string) item {
	i.what, i.place, i.content, i.refused = isPublished, "", "", reason
	return i
}

// otherType labels a type that is not OpenTera's; noType, an unknown one.
const otherType = "other"

// typesOn returns the types that have a meaning on a topic (its label).
func typesOn(topic string) []string {
	session := []string{"JoinSessionEvent", "LeaveSessionEvent", "StopSessionEvent", "JoinSessionReplyEvent"}
	people := []string{"UserEvent", "ParticipantEvent", "DeviceEvent"}
	switch topic {
	case "direct":
		return append(append(session, people...), "ArchiveEvent", "DatabaseEvent")
	case "user_manager_messages":
		return append(session, people...)
	case "user_manager_events":
		return people
	case "archive":
		return []string{"ArchiveEvent"}
	}
	return []string{"ServerCommand"}
}

// reading is a decoded message.
type reading struct {
	items   []item
	seen    []item // all its events, also those without interest
	refused []refusal
	touched []string // UUIDs of the people and sessions concerned, in lower case
}

// notUUID is the problem of an event with an invalid UUID. PostgreSQL rejects a zero byte in a text, and with it the whole
// batch.
const notUUID = "is of somebody whose UUID is none"

// refusal says why an event does not become rows. It never quotes the event.
type refusal struct{ topic, typeName, reason, problem string }

// touch notes the people and sessions concerned, ignoring invalid UUIDs.
func (r *reading) touch(uuids ...string) {
	for _, uuid := range uuids {
		if uuidForm.MatchString(uuid) {
			r.touched = append(r.touched, strings.ToLower(uuid))
		}
	}
}

func (r *reading) refuse(topic, typeName, reason, problem string) {
	r.refused = append(r.refused, refusal{topic, typeName, reason, problem})
}

// decode reads one message. Bad events are refused one by one.
func decode(h heard) (r reading) {
	label := topicLabel(h.topic)
	if h.isTooBig {
		r.refuse(label, otherType, tooBig, "is of more than 1 MiB, or its topic of more than 256 bytes")
		return r
	}
	source, events, why, problem := unwrap(h.topic, h.payload)
	if why != "" {
		r.refuse(label, otherType, why, problem)
		return r
	}
	if len(events) > access.MaxEvents { // 1 MiB holds half a million empty ones
		r.refuse(label, otherType, tooBig, fmt.Sprintf("has more than %d events", access.MaxEvents))
		return r
	}
	if strings.HasPrefix(source, ourSource) {
		return reading{} // our own message
	}
	for _, event := range events {
		r.event(h.topic, label, source, event)
	}
	for n := range r.items {
		r.items[n].of, r.items[n].part = &h, (n+1)%len(r.items)
	}
	return r
}

// unwrap opens the envelope: TeraModuleMessage on topics for messages and commands, otherwise TeraEvent.
func unwrap(topic, payload string) (source string, events []*anypb.Any, why, problem string) {
	var head interface{ GetVersion() uint32 }
	if topic == messagesTopic || strings.HasPrefix(topic, commandTopics) {
		var message opentera.TeraModuleMessage
		if err := proto.Unmarshal([]byte(payload), &message); err != nil {
			return "", nil, malformed, "is no TeraModuleMessage"
		}
		head, source, events = message.GetHead(), message.GetHead().GetSource(), message.GetData()
	} else {
		var message opentera.TeraEvent
		if err := proto.Unmarshal([]byte(payload), &message); err != nil {
			return "", nil, malformed, "is no TeraEvent"
		}
		head, events = message.GetHeader(), message.GetEvents()
	}
	switch {
	case head.GetVersion() > 1: // 0: not set
		return "", nil, version, "is of a version that is not known"
	case len(events) == 0:
		return "", nil, malformed, "has nothing in it"
	}
	return source, events, "", ""
}

// event reads one event of a message.
func (r *reading) event(topic, label, source string, event *anypb.Any) {
	_, name, _ := strings.Cut(event.GetTypeUrl(), "opentera.protobuf.")
	if !slices.Contains(typesOn(label), name) {
		r.seen = append(r.seen, item{topic: label, typeName: otherType})
		r.refuse(label, otherType, unknown, "is of a type that has no meaning on this topic")
		return
	}
	this := item{what: isPublished, place: topic, topic: label, typeName: name}
	r.seen = append(r.seen, this)
	if name == "DatabaseEvent" {
		return // OpenTera delivers none; triggers record what changes in the database
	}
	text, problem := access.Publication{Topic: topic, Event: event}.ProtoJSON()
	if problem != "" {
		r.refuse(label, name, malformed, problem)
		return
	}
	message, err := event.UnmarshalNew()
	if err != nil {
		r.refuse(label, name, malformed, "is not of its type")
		return
	}
	this.content = text
	switch label {
	case "user_manager_messages":
		if kind, uuid, comes, isPresence := cameOrWent(message); isPresence {
			r.ofTheirs(this, source, kind, uuid, comes)
			return
		}
		r.touch(involved(message)...)
	case "user_manager_events":
		device, ok := message.(*opentera.DeviceEvent)
		if !ok || device.GetType() != opentera.DeviceEvent_DEVICE_STATUS_CHANGED {
			return // an echo, or what the user manager derived from a message that we have read too
		}
		if this.content, ok = statusOf(device); !ok {
			r.refuse(label, name, malformed, "has a deviceStatus that is not {\"status\": \"...\", \"timestamp\": n}")
			return
		}
		this.what, this.place = isStatus, device.GetDeviceUuid()
		if !uuidForm.MatchString(this.place) {
			r.refuse(label, name, malformed, notUUID)
			return
		}
		r.touch(this.place)
	}
	r.items = append(r.items, this)
}

// ofTheirs handles a connect or disconnect at OpenTera's own server.
func (r *reading) ofTheirs(this item, source, kind, uuid string, comes *bool) {
	switch {
	case !strings.HasPrefix(source, theirSource) || comes == nil:
		r.refuse(this.topic, this.typeName, unknown, "is not for the user manager: only sockets say who comes and goes")
		return
	case !uuidForm.MatchString(uuid):
		r.refuse(this.topic, this.typeName, malformed, notUUID)
		return
	case *comes:
		this.what = isOnline
	default:
		this.what = isOffline
	}
	this.place, this.content = kind, uuid
	r.touch(uuid)
	r.items = append(r.items, this)
}

// cameOrWent returns who connects or disconnects; comes is nil if the event says something else.
func cameOrWent(message proto.Message) (kind, uuid string, comes *bool, isPresence bool) {
	yes, no := true, false
	pick := func(connected, disconnected bool) *bool {
		switch {
		case connected:
			return &yes
		case disconnected:
			return &no
		}
		return nil
	}
	switch e := message.(type) {
	case *opentera.UserEvent:
		return "user", e.GetUserUuid(), pick(e.GetType() == opentera.UserEvent_USER_CONNECTED, e.GetType() == opentera.UserEvent_USER_DISCONNECTED), true
	case *opentera.ParticipantEvent:
		return "participant", e.GetParticipantUuid(),
			pick(e.GetType() == opentera.ParticipantEvent_PARTICIPANT_CONNECTED, e.GetType() == opentera.ParticipantEvent_PARTICIPANT_DISCONNECTED), true
	case *opentera.DeviceEvent:
		return "device", e.GetDeviceUuid(), pick(e.GetType() == opentera.DeviceEvent_DEVICE_CONNECTED, e.GetType() == opentera.DeviceEvent_DEVICE_DISCONNECTED), true
	}
	return "", "", nil, false
}

// involved returns the UUIDs of the session and the people of a session event.
func involved(message proto.Message) []string {
	switch e := message.(type) {
	case *opentera.JoinSessionEvent:
		return slices.Concat([]string{e.GetSessionUuid()}, e.GetSessionUsers(), e.GetSessionParticipants(), e.GetSessionDevices())
	case *opentera.LeaveSessionEvent:
		return slices.Concat([]string{e.GetSessionUuid()}, e.GetLeavingUsers(), e.GetLeavingParticipants(), e.GetLeavingDevices())
	case *opentera.JoinSessionReplyEvent:
		return []string{e.GetSessionUuid(), e.GetUserUuid(), e.GetParticipantUuid(), e.GetDeviceUuid()}
	case *opentera.StopSessionEvent:
		return []string{e.GetSessionUuid()}
	}
	return nil
}

// statusOf returns a device's status: JSON text with a status, itself JSON text, and a timestamp, rounded to float64 like the user
// manager's so that the two can be equal.
func statusOf(device *opentera.DeviceEvent) (content string, ok bool) {
	var status struct {
		Status    *string  `json:"status"`
		Timestamp *float64 `json:"timestamp"`
	}
	if json.Unmarshal([]byte(device.GetDeviceStatus()), &status) != nil || status.Status == nil || status.Timestamp == nil {
		return "", false
	}
	text, err := json.Marshal(status)
	return string(text), err == nil
}
