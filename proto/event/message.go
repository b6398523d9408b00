package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
)

// newMessage returns an empty message of the given full name, nil if it is not one that the log holds. A DatabaseEvent is one too, but
// its rows have a form of their own: see newObject.
func newMessage(name string) proto.Message {
	switch name {
	case "opentera.protobuf.UserEvent":
		return new(opentera.UserEvent)
	case "opentera.protobuf.ParticipantEvent":
		return new(opentera.ParticipantEvent)
	case "opentera.protobuf.DeviceEvent":
		return new(opentera.DeviceEvent)
	case "opentera.protobuf.JoinSessionEvent":
		return new(opentera.JoinSessionEvent)
	case "opentera.protobuf.LeaveSessionEvent":
		return new(opentera.LeaveSessionEvent)
	case "opentera.protobuf.JoinSessionReplyEvent":
		return new(opentera.JoinSessionReplyEvent)
	case "opentera.protobuf.StopSessionEvent":
		return new(opentera.StopSessionEvent)
	case "opentera.protobuf.ArchiveEvent":
		return new(opentera.ArchiveEvent)
	case loginEvent: // for auditors; no socket receives it
		return new(opentera.LoginEvent)
	}
	return nil
}

// parse parses the ProtoJSON of a message of the given full name. Its errors omit those of the JSON packages, which quote the input.
func parse(name, body string) (proto.Message, error) {
	message := newMessage(name)
	if message == nil {
		return nil, fmt.Errorf("unknown type %.80q", name)
	}
	if !utf8.ValidString(body) {
		return nil, errors.New("body: not valid UTF-8")
	}

	// protojson accepts "@type" only inside an Any, so it is removed first
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &fields) != nil || fields == nil {
		return nil, errors.New("body: not a JSON object")
	}
	if text, ok := fields["@type"]; ok {
		var url string
		if json.Unmarshal(text, &url) != nil || url[strings.LastIndexByte(url, '/')+1:] != name {
			return nil, fmt.Errorf("body: @type is not that of %s", name)
		}
		delete(fields, "@type")
	}
	plain, err := json.Marshal(fields)
	if err != nil || protojson.Unmarshal(plain, message) != nil {
		return nil, fmt.Errorf("body: not the ProtoJSON of %s", name)
	}
	return message, nil
}
