package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/access"
	"terasocket/proto/opentera"
)

// typeURL precedes the full name of a message in OpenTera's Any.
const typeURL = "type.googleapis.com/"

// bodyError describes an error in the body of a publish request. It never quotes the body, except names of types.
type bodyError struct {
	problem string
	index   int // of the event, from 0; -1: the whole body
}

func (e *bodyError) Error() string { return e.problem }

// parsers by Content-Type. Their errors are *bodyError.
var parsers = map[string]func([]byte) ([]access.Publication, error){
	"application/x-protobuf": parseProtobuf,
	"application/json":       parseJSON,
}

func parseProtobuf(body []byte) ([]access.Publication, error) {
	if n := countEvents(body); n > access.MaxEvents {
		return nil, checkCount(n)
	}
	var event opentera.TeraEvent
	if err := proto.Unmarshal(body, &event); err != nil {
		return nil, &bodyError{"the body is no serialized TeraEvent", -1}
	}
	return publications(event.GetHeader().GetTopic(), event.GetEvents())
}

// countEvents counts without decoding: 16 MiB hold 8 million empty events, which take a hundred times the memory.
func countEvents(body []byte) (n int) {
	const events = 2 // the field's number in TeraEvent
	for len(body) > 0 {
		number, _, size := protowire.ConsumeField(body)
		if size < 0 {
			break // proto.Unmarshal refuses it
		}
		if number == events {
			n++
		}
		body = body[size:]
	}
	return n
}

// eventTexts reads an array, and of one that is too long only the beginning.
type eventTexts []json.RawMessage

func (e *eventTexts) UnmarshalJSON(array []byte) error {
	*e = nil
	decoder := json.NewDecoder(bytes.NewReader(array))
	if token, err := decoder.Token(); err != nil || token == nil {
		return err
	} else if token != json.Delim('[') {
		return errors.New("no array")
	}
	for decoder.More() && len(*e) <= access.MaxEvents {
		var text json.RawMessage
		if err := decoder.Decode(&text); err != nil {
			return err
		}
		*e = append(*e, text)
	}
	return nil
}

func parseJSON(body []byte) ([]access.Publication, error) {
	var event struct {
		Header json.RawMessage `json:"header"`
		Events eventTexts      `json:"events"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&event); err != nil {
		return nil, &bodyError{"the body is not the JSON of a TeraEvent, an object with header and events", -1}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, &bodyError{"something follows the TeraEvent", -1}
	}
	var header opentera.TeraEvent_Header
	if len(event.Header) > 0 && protojson.Unmarshal(event.Header, &header) != nil {
		return nil, &bodyError{"header is not the JSON of a TeraEvent's", -1}
	}
	if err := checkCount(len(event.Events)); err != nil {
		return nil, err
	}
	events := make([]*anypb.Any, len(event.Events))
	for i, text := range event.Events {
		events[i] = new(anypb.Any)
		if protojson.Unmarshal(text, events[i]) != nil {
			return nil, &bodyError{`event is not the JSON of a message of OpenTera with its "@type"`, i}
		}
	}
	return publications(header.GetTopic(), events)
}

func checkCount(n int) error {
	if n < 1 || n > access.MaxEvents {
		return &bodyError{fmt.Sprintf("events must be 1 to %d", access.MaxEvents), -1}
	}
	return nil
}

// publications pairs the events with their topic. The database checks their contents.
func publications(topic string, events []*anypb.Any) ([]access.Publication, error) {
	if topic == "" {
		return nil, &bodyError{"header has no topic", -1}
	}
	if err := checkCount(len(events)); err != nil {
		return nil, err
	}
	all := make([]access.Publication, len(events))
	for i, e := range events {
		name, ok := strings.CutPrefix(e.GetTypeUrl(), typeURL)
		if !ok || name == "" {
			return nil, &bodyError{"event has no type that begins with " + typeURL, i}
		}
		all[i] = access.Publication{Topic: topic, Event: e}
	}
	return all, nil
}
