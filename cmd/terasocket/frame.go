package main

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
	_ "terasocket/proto/terasocket" // our own messages, for UnmarshalNew
)

// received is one event as a client got it in a protobuf frame.
type received struct {
	Seq   uint64          `json:"seq"`
	Time  time.Time       `json:"time"` // when it was recorded
	Topic string          `json:"topic"`
	Event json.RawMessage `json:"event"` // ProtoJSON, with @type

	message proto.Message
}

// parseFrame reads a TeraMessage with one TeraEvent with one event.
func parseFrame(frame []byte) (received, error) {
	var message opentera.TeraMessage
	if err := proto.Unmarshal(frame, &message); err != nil {
		return received{}, fmt.Errorf("read frame: %w", err)
	}
	var event opentera.TeraEvent
	if err := message.GetMessage().UnmarshalTo(&event); err != nil {
		return received{}, fmt.Errorf("read frame: %w", err)
	}
	if len(event.GetEvents()) != 1 {
		return received{}, fmt.Errorf("read frame: %d events in it, want 1", len(event.GetEvents()))
	}
	inner, err := event.GetEvents()[0].UnmarshalNew()
	if err != nil {
		return received{}, fmt.Errorf("read frame: %w", err)
	}
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(event.GetEvents()[0])
	if err != nil {
		return received{}, fmt.Errorf("read frame: %w", err)
	}
	header := event.GetHeader()
	return received{
		Seq:     header.GetSeq(),
		Time:    time.UnixMicro(int64(header.GetTime() * 1e6)),
		Topic:   header.GetTopic(),
		Event:   text,
		message: inner,
	}, nil
}

// isCursor says that there is nothing but a cursor in it.
func (r received) isCursor() bool {
	return r.message.ProtoReflect().Descriptor().FullName() == "terasocket.v1.Cursor"
}

// String is a line for people: time, seq, what happened, and the object.
func (r received) String() string {
	at := r.Time.Local().Format("15:04:05.000")
	if e, ok := r.message.(*opentera.DatabaseEvent); ok {
		return fmt.Sprintf("%s  #%d  %-9s  %-20s  %s", at, r.Seq, e.GetType(), e.GetObjectType(), e.GetObjectValue())
	}
	return fmt.Sprintf("%s  #%d  %s  %s", at, r.Seq, r.message.ProtoReflect().Descriptor().Name(), r.Event)
}
