package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// wantParsesBack encodes e in every encoding, parses the frames with the
// protobuf library alone, and compares what comes out.
func wantParsesBack(t *testing.T, e *event.Event) {
	t.Helper()
	for name, encoding := range encodings {
		frame := encode(t, e, encoding)
		outer := new(opentera.TeraMessage)
		unmarshal := protojson.Unmarshal
		if encoding == event.Protobuf {
			unmarshal = proto.Unmarshal
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
		if !proto.Equal(message, e.Message) {
			t.Errorf("%s: message %v, want %v", name, message, e.Message)
		}
		for _, a := range append(envelope.Events, outer.Message) {
			if !strings.HasPrefix(a.TypeUrl, "type.googleapis.com/opentera.protobuf.") {
				t.Errorf("%s: type URL %s", name, a.TypeUrl)
			}
		}
	}
}

func encode(t *testing.T, e *event.Event, encoding event.Encoding) []byte {
	t.Helper()
	frame, err := e.Encode(encoding)
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
