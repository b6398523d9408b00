package event

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
	_ "terasocket/proto/terasocket" // our own messages, for UnmarshalNew
)

// Received is one event as a client received it in a protobuf frame.
type Received struct {
	Seq     uint64          `json:"seq"`
	Time    time.Time       `json:"time"` // when it was announced
	Topic   string          `json:"topic"`
	Event   json.RawMessage `json:"event"` // ProtoJSON, with @type
	Message proto.Message   `json:"-"`
}

// ParseFrame parses a TeraMessage with one TeraEvent with one event, as a client does.
func ParseFrame(frame []byte) (Received, error) {
	r, err := parseFrame(frame)
	if err != nil {
		return Received{}, fmt.Errorf("read frame: %w", err)
	}
	return r, nil
}

func parseFrame(frame []byte) (Received, error) {
	var message opentera.TeraMessage
	if err := proto.Unmarshal(frame, &message); err != nil {
		return Received{}, err
	}
	var outer opentera.TeraEvent
	if err := message.GetMessage().UnmarshalTo(&outer); err != nil {
		return Received{}, err
	}
	if len(outer.GetEvents()) != 1 {
		return Received{}, fmt.Errorf("%d events in it, want 1", len(outer.GetEvents()))
	}
	inner, err := outer.GetEvents()[0].UnmarshalNew()
	if err != nil {
		return Received{}, err
	}
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(outer.GetEvents()[0])
	if err != nil {
		return Received{}, err
	}
	header := outer.GetHeader()
	return Received{
		Seq:     header.GetSeq(),
		Time:    time.UnixMicro(int64(header.GetTime() * 1e6)),
		Topic:   header.GetTopic(),
		Event:   text,
		Message: inner,
	}, nil
}
