// Package event turns rows of the event log into what a gateway acts on, and into the frames that clients read.
//
// A Record is a row as it was read. Decode checks it and gives one Event: a change of an object, a message, or something
// that only gateways hear (rights, aliases, kicks). FormFor says what somebody hears of it, and Encode serializes that as
// one TeraMessage with exactly one event inside, since existing clients read only the first. ParseFrame is the client's
// side of Encode.
//
// The package knows nothing of databases, sockets and rights: routing keys pass through it as opaque text. All of it is
// safe for concurrent use as long as nobody changes an Event or its Message.
package event

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Kind says what an Event is about.
type Kind uint8

// The kinds. Clients hear of the first two only.
const (
	Message Kind = iota // one of OpenTera's messages, or our own: presence, sessions, archives
	Object              // an object was created, changed or deleted
	Rights              // a principal gained or lost tags
	Alias               // the routing keys that an alias stands for have changed
	Settled             // who saw what before is from now on who sees it
	Kick                // sockets of a principal are to be closed
)

// Event is one decoded row of the log.
type Event struct {
	Seq          uint64    // number in the event log, from 1: the client's resume cursor
	Announcement uint64    // rows of one announcement lead from one committed state to the next
	At           time.Time // when it was announced, to the microsecond
	Topic        string    // OpenTera's topic, valid UTF-8
	Kind         Kind

	// Present holds the routing keys of those who may see it, Former those of whoever could see the object before; JSON
	// text, "" for nobody.
	Present, Former string

	// ObjectType and ObjectID are type and primary key of an Object: "participant", 7. Of Rights and Kick they are kind
	// and primary key of the principal.
	ObjectType string
	ObjectID   int64

	Message proto.Message // of kind Message; otherwise nil

	Gained, Lost []string // tags, of kind Rights

	// Tag is the alias that has changed, Keys the routing keys that it stands for now, Was those of before; JSON text, ""
	// for none.
	Tag, Keys, Was string

	Token int64 // of kind Kick: sockets that were opened with a connect token up to this counter are to be closed

	object object
}

// New makes an event of a message that is not in the log, such as a Cursor.
func New(seq uint64, at time.Time, topic string, m proto.Message) Event {
	return Event{Seq: seq, At: at, Topic: topic, Kind: Message, Message: m}
}

// TypeName is the name of the message, without its package, that clients or gateways hear: "UserEvent", "DatabaseEvent",
// "Rights".
func (e *Event) TypeName() string {
	switch e.Kind {
	case Message:
		if e.Message == nil {
			return "none"
		}
		return string(e.Message.ProtoReflect().Descriptor().Name())
	case Object:
		return "DatabaseEvent"
	case Rights:
		return "Rights"
	case Alias:
		return "Alias"
	case Settled:
		return "Settled"
	case Kick:
		return "Kick"
	}
	return "none"
}
