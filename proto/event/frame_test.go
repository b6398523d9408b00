package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// wantParsesBack encodes a form of e in every encoding, parses the frames with the protobuf library alone, and compares the results.
func wantParsesBack(t *testing.T, e *event.Event, form event.Form, content proto.Message) {
	t.Helper()
	for name, encoding := range encodings {
		frame := encode(t, e, form, encoding)
		outer := new(opentera.TeraMessage)
		unmarshal := protojson.Unmarshal
		if encoding == event.Protobuf {
			unmarshal = proto.Unmarshal
			received, err := event.ParseFrame(frame)
			if err != nil || received.Seq != e.Seq || received.Topic != e.Topic || !proto.Equal(received.Message, content) {
				t.Errorf("ParseFrame: %+v, %v", received, err)
			}
		}
		if err := unmarshal(frame, outer); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		envelope := new(opentera.TeraEvent)
		if err := outer.Message.UnmarshalTo(envelope); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := &opentera.TeraEvent_Header{Version: 1, Time: float64(e.At.UnixMicro()) / 1e6, Topic: e.Topic, Seq: &e.Seq}
		if encoding == event.JSON {
			want.Seq = nil
		}
		if !proto.Equal(envelope.Header, want) {
			t.Errorf("%s: header %v, want %v", name, envelope.Header, want)
		}
		if len(envelope.Events) != 1 {
			t.Fatalf("%s: %d events, want 1", name, len(envelope.Events))
		}
		message, err := envelope.Events[0].UnmarshalNew()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !proto.Equal(message, content) {
			t.Errorf("%s: message %v, want %v", name, message, content)
		}
		for _, a := range append(envelope.Events, outer.Message) {
			if !strings.HasPrefix(a.TypeUrl, "type.googleapis.com/opentera.protobuf.") {
				t.Errorf("%s: type URL %s", name, a.TypeUrl)
			}
		}
	}
}

func encode(t *testing.T, e *event.Event, form event.Form, encoding event.Encoding) []byte {
	t.Helper()
	frame, err := e.Encode(form, encoding)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func parseJSON(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestParseFrameRefuses(t *testing.T) {
	t.Parallel()
	wrap := func(m proto.Message) []byte {
		outer, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := proto.Marshal(&opentera.TeraMessage{Message: outer})
		if err != nil {
			t.Fatal(err)
		}
		return frame
	}
	for name, frame := range map[string][]byte{
		"rubbish":      []byte("Not allowed to send message"),
		"no event":     wrap(&opentera.TeraEvent{}),
		"another":      wrap(&opentera.UserEvent{}),
		"unknown type": wrap(&opentera.TeraEvent{Events: []*anypb.Any{{TypeUrl: "type.googleapis.com/opentera.protobuf.Nothing"}}}),
	} {
		if _, err := event.ParseFrame(frame); err == nil || !strings.HasPrefix(err.Error(), "read frame: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
