package event

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/proto/opentera"
)

// Encoding is how a TeraMessage is written into a frame.
type Encoding uint8

const (
	// Protobuf is the binary form, with header.seq.
	Protobuf Encoding = iota
	// JSON is the ProtoJSON that existing clients parse: default values printed, and no key that OpenTera lacks, so no header.seq.
	JSON
	// JSONWithSeq is JSON with header.seq, a decimal number in a string.
	JSONWithSeq
)

// Encode returns one serialized TeraMessage that holds a TeraEvent with one event: what the recipients of this form of e receive. Equal
// events give equal Protobuf frames; the white space of JSON frames differs from build to build, as protojson's does.
//
// It is an error if the row has nothing for this form, a string in the message or the topic is not valid UTF-8, the encoding is unknown,
// or a google.protobuf message, whose ProtoJSON need not be an object, is to be encoded as JSON. An Event returned by Decode never fails
// with a form returned by FormFor.
func (e *Event) Encode(form Form, encoding Encoding) ([]byte, error) {
	frame, err := e.encode(form, encoding)
	if err != nil {
		return nil, fmt.Errorf("encode event %d: %w", e.Seq, err)
	}
	return frame, nil
}

// message returns what the recipients of this form receive.
func (e *Event) message(form Form) (proto.Message, error) {
	switch {
	case e.Kind == Object:
		return e.databaseEvent(form)
	case e.Kind != Message || form != Plain:
		return nil, fmt.Errorf("form %d is not one of a %s", form, e.TypeName())
	case e.Message == nil || !e.Message.ProtoReflect().IsValid():
		return nil, errors.New("no message")
	}
	return e.Message, nil
}

func (e *Event) encode(form Form, encoding Encoding) ([]byte, error) {
	message, err := e.message(form)
	if err != nil {
		return nil, err
	}
	header := &opentera.TeraEvent_Header{
		Version: 1,
		Time:    float64(e.At.UnixMicro()) / 1e6, // the double nearest to the microsecond
		Topic:   e.Topic,
	}
	switch encoding {
	case Protobuf:
		header.Seq = &e.Seq
		return encodeProtobuf(header, message)
	case JSON:
		return encodeJSON(header, message)
	case JSONWithSeq:
		header.Seq = &e.Seq
		return encodeJSON(header, message)
	}
	return nil, fmt.Errorf("unknown encoding %d", encoding)
}

func encodeProtobuf(header *opentera.TeraEvent_Header, message proto.Message) ([]byte, error) {
	options := proto.MarshalOptions{Deterministic: true}

	inner := new(anypb.Any)
	if err := anypb.MarshalFrom(inner, message, options); err != nil {
		return nil, err
	}
	outer := new(anypb.Any)
	if err := anypb.MarshalFrom(outer, &opentera.TeraEvent{Header: header, Events: []*anypb.Any{inner}}, options); err != nil {
		return nil, err
	}
	return options.Marshal(&opentera.TeraMessage{Message: outer})
}

// encodeJSON writes the two envelopes by hand: protojson would serialize, look up and parse the content of each Any again.
func encodeJSON(header *opentera.TeraEvent_Header, message proto.Message) ([]byte, error) {
	options := protojson.MarshalOptions{EmitDefaultValues: true}
	descriptor := message.ProtoReflect().Descriptor()
	if descriptor.ParentFile().Package() == "google.protobuf" {
		return nil, fmt.Errorf("%s has a ProtoJSON of its own", descriptor.FullName())
	}

	frame := make([]byte, 0, 512+proto.Size(message)*5/4)
	frame = append(frame, `{"message":{"@type":"type.googleapis.com/opentera.protobuf.TeraEvent","header":`...)
	frame, err := options.MarshalAppend(frame, header)
	if err != nil {
		return nil, err
	}
	frame = append(frame, `,"events":[{"@type":"type.googleapis.com/`...)
	frame = append(frame, descriptor.FullName()...)
	frame = append(frame, '"')

	brace := len(frame)
	frame, err = options.MarshalAppend(frame, message)
	if err != nil {
		return nil, err
	}
	if frame[brace+1] == '}' { // no fields: {}
		frame = append(frame[:brace], '}')
	} else {
		frame[brace] = ','
	}
	return append(frame, "]}}"...), nil
}
