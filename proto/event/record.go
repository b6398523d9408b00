package event

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Record is one row of the event log terasocket.events, as read. The texts are as PostgreSQL prints them, "" for null.
type Record struct {
	Seq          int64     // from 1
	Announcement int64     // number of its announcement
	At           time.Time // to the microsecond
	Topic        string    // OpenTera's topic, for TeraEvent.Header.topic

	// Type is the full name of a message for sockets, such as "opentera.protobuf.DatabaseEvent", or for gateways, such as
	// "terasocket.Rights".
	Type string

	Op         string // of a DatabaseEvent: "C" created, "U" changed, "G" soft-deleted, "D" deleted; otherwise ""
	ObjectType string // of a DatabaseEvent: one of ObjectTypes; of Rights and Kick: "user", "participant" or "device"
	ObjectID   int64  // primary key of the object

	// Body is the object_value of a DatabaseEvent: the JSON text of one object, passed on byte for byte. For another OpenTera type it is
	// the ProtoJSON of the message, with or without "@type".
	Body string

	Gone    string // of a DatabaseEvent: object_value of the DB_DELETE
	Present string // routing keys of those who see it
	Former  string // of a DatabaseEvent: routing keys of its former viewers

	FormerAsOf int64 // see Event
}

const (
	databaseEvent = "opentera.protobuf.DatabaseEvent"
	loginEvent    = "opentera.protobuf.LoginEvent"
)

// Decode decodes a row into its event.
//
// A row that breaks the rules of Record is an error, which names the row's seq and the problem, and never contains any part of a body.
// The contents of a body are not judged: null, an unknown enum number or a missing key are no errors. But a key or an enum name that the
// message type lacks is one, since the event without it would not be the one that was published.
func Decode(r Record) (Event, error) {
	e, err := decode(r)
	if err != nil {
		return Event{}, fmt.Errorf("decode event %d: %w", r.Seq, err)
	}
	return e, nil
}

func decode(r Record) (Event, error) {
	switch {
	case r.Seq < 1:
		return Event{}, errors.New("seq is not positive")
	case r.Announcement < 0:
		return Event{}, errors.New("announcement is negative")
	case r.FormerAsOf < 0 || r.FormerAsOf >= r.Seq:
		return Event{}, errors.New("former is as of no seq before it")
	case !utf8.ValidString(r.Topic):
		return Event{}, errors.New("topic is not valid UTF-8")
	}
	e := Event{
		Seq: uint64(r.Seq), Announcement: uint64(r.Announcement), At: r.At, Topic: r.Topic,
		ObjectType: r.ObjectType, ObjectID: r.ObjectID,
	}
	var err error
	if r.Type == databaseEvent {
		e.Kind, e.Present, e.Former, e.FormerAsOf = Object, r.Present, r.Former, uint64(r.FormerAsOf)
		e.object, err = newObject(r)
		return e, err
	}
	if r.Op != "" || r.Former != "" || r.FormerAsOf != 0 {
		return Event{}, fmt.Errorf("op or former on %.80q", r.Type)
	}
	if isOurs, err := e.decodeOurs(r); isOurs || err != nil {
		return e, err
	}
	e.Kind = Message
	if r.Type != loginEvent { // a login event has no recipients, whatever the row says
		e.Present = r.Present
	}
	e.Message, err = parse(r.Type, r.Body)
	return e, err
}
