package migrations_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	protoevent "terasocket/proto/event"
	protocol "terasocket/proto/opentera"
)

// published are the messages that clients may hear.
var published = []proto.Message{
	(*protocol.UserEvent)(nil), (*protocol.ParticipantEvent)(nil), (*protocol.DeviceEvent)(nil), (*protocol.JoinSessionEvent)(nil),
	(*protocol.JoinSessionReplyEvent)(nil), (*protocol.LeaveSessionEvent)(nil), (*protocol.StopSessionEvent)(nil), (*protocol.ArchiveEvent)(nil),
}

// author makes messages up.
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

// message is a valid one, with every field set or not.
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

// requiredOf are the fields without which a message says nothing.
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

// What is published as protobuf or as JSON is what is heard.
func TestPublishedIsHeard(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a := author{rand.New(rand.NewPCG(3, 5))}
	seen := map[string]int{}
	for range 400 {
		m := a.message()
		seen[nameOf(m)]++
		binary, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		text, err := protojson.MarshalOptions{UseProtoNames: a.IntN(2) == 0, UseEnumNumbers: a.IntN(2) == 0, EmitDefaultValues: a.IntN(2) == 0}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		json := strings.Replace(string(text), "{", `{"@type":"type.googleapis.com/`+nameOf(m)+`",`, 1)
		var seqs [2]int64
		if err := f.conn.QueryRow(t.Context(), "SELECT terasocket.publish($1, $2, $3::bytea), terasocket.publish($1, $4::jsonb)",
			managerTopic, nameOf(m), binary, json).Scan(&seqs[0], &seqs[1]); err != nil {
			t.Fatalf("%s: %v", json, err)
		}
		for _, seq := range seqs {
			events, err := protoevent.Decode(record(t, f.conn, seq))
			if err != nil || len(events) != 1 || !proto.Equal(events[0].Message, m) {
				t.Errorf("published %s, heard %v, %v", json, events, err)
			}
		}
	}
	if len(seen) != len(published) {
		t.Errorf("the test publishes too little: %v", seen)
	}
}

// decodes is what the SQL decoder makes of bytes: a message, or a refusal that names the event.
func decodes(t testing.TB, conn *pgx.Conn, name string, binary []byte) (body string, ok bool) {
	t.Helper()
	err := conn.QueryRow(t.Context(), "SELECT terasocket.checked($1, terasocket.decoded($1, $2))::text", name, binary).Scan(&body)
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return body, true
	case !errors.As(err, &refused) || refused.Code != "22023" || !strings.HasPrefix(refused.Message, "publish: event "):
		t.Errorf("%s %x: %v", name, binary, err)
	}
	return "", false
}

// agrees compares the SQL decoder with Go's: what it takes, Go takes, without unknown fields, as the same message.
func agrees(t testing.TB, conn *pgx.Conn, m proto.Message, binary []byte) (taken bool) {
	t.Helper()
	body, ok := decodes(t, conn, nameOf(m), binary)
	if !ok {
		return false
	}
	want := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(binary, want); err != nil || len(want.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("%s %x is taken; Go says %v", nameOf(m), binary, err)
	}
	events, err := protoevent.Decode(protoevent.Record{Seq: 1, Type: nameOf(m), Body: body})
	if err != nil || !proto.Equal(events[0].Message, want) {
		t.Errorf("%s %x is taken as %s, want %v (%v)", nameOf(m), binary, body, want, err)
	}
	return true
}

// Bytes that are nearly messages: refused with reason, or taken as Go takes them.
func TestPublishDecodesAsGoDoes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a := author{rand.New(rand.NewPCG(8, 13))}
	taken := 0
	const rounds = 3000
	for range rounds {
		m := a.message()
		binary, err := proto.MarshalOptions{}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for range a.IntN(3) {
			switch i := a.IntN(len(binary) + 1); a.IntN(6) {
			case 0:
				binary = binary[:i]
			case 1:
				binary = append(binary, binary[i:]...) // the last field once more
			case 2:
				binary = slices.Insert(binary, i, byte(a.Uint32()))
			default:
				if i < len(binary) {
					binary[i] ^= 1 << a.IntN(8)
				}
			}
		}
		if agrees(t, f.conn, m, binary) {
			taken++
		}
	}
	if taken < rounds/5 || taken > rounds*4/5 {
		t.Errorf("%d of %d are taken: the test looks at one side only", taken, rounds)
	}
	// a repeated scalar: the last one counts; lists grow; numbers may be longer than they need be
	twice := []byte("\x0a\x01x\x0a\x24" + anyUUID + "\x10\x81\x00\x1a\x00")
	if !agrees(t, f.conn, &protocol.UserEvent{}, twice) {
		t.Error("refused")
	}
}

// The longest message of the smallest fields takes time in proportion to its length.
func TestPublishDecodesLongLists(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := &protocol.JoinSessionEvent{SessionUuid: anyUUID}
	for range 6500 {
		m.SessionUsers = append(m.SessionUsers, anyUUID)
	}
	binary, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	f.exec("SET statement_timeout = '20s'")
	if !agrees(t, f.conn, m, binary) {
		t.Error("refused")
	}
	if _, ok := decodes(t, f.conn, nameOf(m), []byte("\x1a\x24"+anyUUID+strings.Repeat("\x0a\x00", 100_000))); !ok {
		t.Error("refused")
	}
}
