package migrations_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	protoevent "terasocket/proto/event"
	protocol "terasocket/proto/opentera"
)

// published are the messages that clients may receive.
var published = []proto.Message{
	(*protocol.UserEvent)(nil), (*protocol.ParticipantEvent)(nil), (*protocol.DeviceEvent)(nil), (*protocol.JoinSessionEvent)(nil),
	(*protocol.JoinSessionReplyEvent)(nil), (*protocol.LeaveSessionEvent)(nil), (*protocol.StopSessionEvent)(nil), (*protocol.ArchiveEvent)(nil),
}

// author generates messages.
type author struct{ *rand.Rand }

func (a author) uuid() string {
	s := fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a.Uint32(), a.Uint32()>>16, a.Uint32()>>16, a.Uint32()>>16, a.Uint64()>>16)
	if a.IntN(4) == 0 {
		return strings.ToUpper(s)
	}
	return s
}

func (a author) text() string {
	runes := []rune("aZ09 _\\\"'/<>&\t\n\r\x01\x7f\u00e9\u2028\ufeff\uffff\U0001f600{}[]:,")
	s := make([]rune, a.IntN(12))
	for i := range s {
		s[i] = runes[a.IntN(len(runes))]
	}
	return string(s)
}

// message returns a valid message, with every field set or unset.
func (a author) message() proto.Message {
	m := published[a.IntN(len(published))].ProtoReflect().New()
	fields := m.Descriptor().Fields()
	required := requiredOf(m.Descriptor())
	for i := range fields.Len() {
		f := fields.Get(i)
		if a.IntN(3) == 0 && !slices.Contains(required, f.Name()) {
			continue
		}
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			for range a.IntN(4) {
				list.Append(protoreflect.ValueOfString(a.uuid()))
			}
		case f.Kind() == protoreflect.EnumKind:
			values := f.Enum().Values()
			m.Set(f, protoreflect.ValueOfEnum(values.Get(a.IntN(values.Len())).Number()))
		case strings.HasSuffix(string(f.Name()), "_uuid"):
			m.Set(f, protoreflect.ValueOfString(a.uuid()))
		default:
			m.Set(f, protoreflect.ValueOfString(a.text()))
		}
	}
	return m.Interface()
}

// requiredOf returns the required fields of a message.
func requiredOf(d protoreflect.MessageDescriptor) []protoreflect.Name {
	switch d.Name() {
	case "UserEvent":
		return []protoreflect.Name{"user_uuid"}
	case "ParticipantEvent":
		return []protoreflect.Name{"participant_uuid"}
	case "DeviceEvent":
		return []protoreflect.Name{"device_uuid"}
	case "ArchiveEvent":
		return []protoreflect.Name{"archive_uuid", "owner_uuid"}
	}
	return []protoreflect.Name{"session_uuid"}
}

func nameOf(m proto.Message) string { return string(m.ProtoReflect().Descriptor().FullName()) }

// What is published is what is received.
func TestPublishedIsReceived(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a := author{rand.New(rand.NewPCG(3, 5))}
	seen := map[string]int{}
	var messages []proto.Message
	for range 400 {
		m := a.message()
		seen[nameOf(m)]++
		messages = append(messages, m)
		text, err := protojson.MarshalOptions{UseProtoNames: a.IntN(2) == 0, UseEnumNumbers: a.IntN(2) == 0, EmitDefaultValues: a.IntN(2) == 0}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		json := strings.Replace(string(text), "{", `{"@type":"type.googleapis.com/`+nameOf(m)+`",`, 1)
		f.exec("SELECT terasocket.publish($1, $2::jsonb)", managerTopic, json)
	}
	f.announce()
	rows := f.rows()
	if len(rows) != len(messages) || len(seen) != len(published) {
		t.Fatalf("%d of %d messages are received; published %v", len(rows), len(messages), seen)
	}
	for i, r := range rows {
		if e, err := protoevent.Decode(r); err != nil || !proto.Equal(e.Message, messages[i]) {
			t.Errorf("published %v, received %v, %v", messages[i], e.Message, err)
		}
	}
}

// The time to check the longest list grows no faster than its length.
func TestPublishOfALongList(t *testing.T) {
	t.Parallel()
	f := setup(t)
	list := strings.TrimSuffix(strings.Repeat(`"`+anyUUID+`", `, 6000), ", ")
	f.exec("SET statement_timeout = '20s'")
	r := f.publish(managerTopic, typed("JoinSessionEvent", `, "sessionUuid": "`+anyUUID+`", "sessionUsers": [`+list+`]`))
	if n := strings.Count(r.Body, anyUUID); n != 6001 {
		t.Errorf("%d UUIDs", n)
	}
}
