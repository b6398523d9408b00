// Package event decodes rows of the event log, and encodes the frames that clients read.
//
// A Record is a row as read. Decode checks it and returns one Event: a change of an object, a message, or something for gateways only
// (rights, aliases, kicks). FormFor decides what a recipient gets of it, and Encode serializes that as one TeraMessage with exactly one
// event inside, since existing clients read only the first. ParseFrame is the client's side of Encode.
//
// The package knows nothing of databases, sockets and rights: routing keys pass through it as opaque text. Everything is safe for
// concurrent use as long as nobody modifies an Event or its Message.
package event

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Kind is the kind of an Event.
type Kind uint8

// Clients receive only events of the first two kinds.
const (
	Message Kind = iota // one of OpenTera's messages, or our own: presence, sessions, archives
	Object              // an object was created, changed or deleted
	Rights              // a principal gained or lost tags
	Alias               // the routing keys of an alias have changed
	Settled             // from now on the former viewers are the present ones
	Kick                // sockets of a principal must be closed
)

// Event is one decoded row of the log.
type Event struct {
	Seq          uint64    // number in the event log, from 1: the client's resume cursor
	Announcement uint64    // the rows of one announcement lead from one committed state to the next
	At           time.Time // when it was announced, to the microsecond
	Topic        string    // OpenTera's topic, valid UTF-8
	Kind         Kind

	// Present holds the routing keys of those who may see it, Former those of its former viewers; JSON text, "" for nobody.
	// Former is judged by the rights as of seq FormerAsOf, when the object was last announced; 0: as of the last Settled event.
	Present, Former string
	FormerAsOf      uint64

	// ObjectType and ObjectID are type and id of an Object: "participant", 7. For Rights and Kick they are kind and id of the principal.
	ObjectType string
	ObjectID   int64

	Message proto.Message // of kind Message; otherwise nil

	Gained, Lost []string // tags, of kind Rights

	// Tag is the alias that has changed, Keys its routing keys, Was the former ones; JSON text, "" for none.
	Tag, Keys, Was string

	Token int64 // of kind Kick: closes sockets whose connect token has a counter up to this one

	object object
}

// New returns an event with a message that is not in the log, such as a Cursor.
func New(seq uint64, at time.Time, topic string, m proto.Message) Event {
	return Event{Seq: seq, At: at, Topic: topic, Kind: Message, Message: m}
}

// TypeName returns the message's name without its package: "UserEvent", "DatabaseEvent", "Rights".
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
