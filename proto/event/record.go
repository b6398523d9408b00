package event

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Record is one row of the event log terasocket.events, as read.
type Record struct {
	Seq   int64     // identity of the row, from 1
	XID   uint64    // transaction that wrote it
	At    time.Time // when it was recorded, to the microsecond
	Topic string    // OpenTera's topic, becomes TeraEvent.Header.topic

	// Type is the full name of a message that sockets may hear, such as
	// "opentera.protobuf.DatabaseEvent".
	Type string

	Op         string // of a DatabaseEvent: "C" create, "U" update, "D" delete; otherwise ""
	ObjectType string // of a DatabaseEvent: one of ObjectTypes; of a ServerCommand: "user", "participant" or "device"
	ObjectID   int64  // primary key of the object

	// Body of a DatabaseEvent is its object_value: the JSON text of one object,
	// handed on byte for byte. Body of any other type is the ProtoJSON of the
	// message, with or without "@type".
	Body string

	// Audience holds the routing keys of those who receive Body, "" for nobody.
	Audience string

	// Former holds the routing keys of those who lost sight of the object, ""
	// for nobody; only a DatabaseEvent may have them. FormerBody is the
	// object_value of the DB_DELETE that they receive.
	Former     string
	FormerBody string
}

// Decode returns the events that a row stands for: one, or two when somebody
// lost sight of the object. The last is then a DB_DELETE to Former, but not to
// those of them who are still in Audience. A service's own event may be two, a
// full one for superadmins and one for everybody else: see splitService.
//
// A row that breaks the rules of Record is an error. It names the row's seq and
// what is wrong; it never holds any part of a body. What a body says is data and
// not judged: null, an unknown enum number or a missing key are no errors. But
// a key or an enum name that the message type lacks is one, since the event
// that remains without it is not the one that was published.
func Decode(r Record) ([]Event, error) {
	events, err := decode(r)
	if err != nil {
		return nil, fmt.Errorf("decode event %d: %w", r.Seq, err)
	}
	return events, nil
}

func decode(r Record) ([]Event, error) {
	if r.Seq < 1 {
		return nil, errors.New("seq is not positive")
	}
	if !utf8.ValidString(r.Topic) {
		return nil, errors.New("topic is not valid UTF-8")
	}

	e := Event{Seq: uint64(r.Seq), XID: r.XID, At: r.At, Topic: r.Topic, To: r.Audience, ObjectType: r.ObjectType, ObjectID: r.ObjectID}
	if r.Type != databaseEvent {
		if r.Op != "" || r.Former != "" {
			return nil, fmt.Errorf("op or former audience on %.80q", r.Type)
		}
		message, err := parse(r.Type, r.Body)
		if err != nil {
			return nil, err
		}
		e.Message = message
		if r.Type == loginEvent {
			e.To = "" // nobody, whatever the row says
		}
		return []Event{e}, nil
	}

	op, err := parseOp(r.Op)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(ObjectTypes[:], r.ObjectType) {
		return nil, fmt.Errorf("unknown object type %.80q", r.ObjectType)
	}
	e.Message, err = newDatabaseEvent(op, r.ObjectType, r.Body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	events := []Event{e}
	if r.ObjectType == "service" && op != deleted {
		if events, err = splitService(e, r.Body); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	if r.Former == "" {
		return events, nil
	}

	gone := e
	gone.To, gone.NotTo = r.Former, r.Audience
	gone.Message, err = newDatabaseEvent(deleted, r.ObjectType, r.FormerBody)
	if err != nil {
		return nil, fmt.Errorf("former body: %w", err)
	}
	return append(events, gone), nil
}
