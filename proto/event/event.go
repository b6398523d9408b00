// Package event turns rows of the event log into OpenTera's messages, and
// messages into frames.
//
// A Record is a row as it was read. Decode checks it and makes the one or two
// Events that it stands for; Encode serializes an Event as one TeraMessage with
// exactly one event inside, since existing clients read only the first.
//
// The package knows nothing of databases, sockets and rights: routing keys pass
// through it as opaque text. All of it is safe for concurrent use as long as
// nobody changes an Event or its Message.
package event

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Event is one message for one audience.
type Event struct {
	Seq   uint64    // number in the event log, from 1: the client's resume cursor
	XID   uint64    // transaction that recorded it
	At    time.Time // when it was recorded, to the microsecond
	Topic string    // OpenTera's topic, valid UTF-8

	// To holds the routing keys of the recipients, "" for nobody. NotTo holds
	// those of principals who must not get it even when they are in To, "" when
	// nobody is excluded.
	To, NotTo string

	// ObjectType and ObjectID are whom or what the row is about, where it says so: "user", 7.
	ObjectType string
	ObjectID   int64

	// Message is the event itself, such as a *opentera.DatabaseEvent. It is
	// never nil in what Decode returns.
	Message proto.Message
}
