package ws

import (
	"context"
	"fmt"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// History gives what happened while clients were away.
type History interface {
	// Places says where clients stand that have heard the log up to these cursors, one for each: nil where the log does
	// not hold the cursor any more. oldest is the seq of the oldest event that is held, 0 when there is none.
	Places(ctx context.Context, cursors []uint64) (places []Place, oldest uint64, err error)

	// After gives a page of events behind this seq, in order: all that clients at these places may have missed.
	After(ctx context.Context, places []Place, behind uint64) (Page, error)
}

// Place is where a client stands in the log. It is looked for after the client is in the hub: what is new since comes live.
type Place interface {
	Behind() uint64              // what the client may have missed is behind this seq
	Last() uint64                // and not beyond this one
	Missed(seq, xid uint64) bool // whether it may have missed that event, which is not new
	IsNew(xid uint64) bool       // whether the transaction has ended since the place was looked for
}

// Page is a part of the log.
type Page struct {
	Events []event.Event
	Last   uint64 // seq to go on behind
	IsLast bool   // there is no more
	Oldest uint64 // seq of the oldest event that is held, 0 when there is none
}

// TrimmedError says that the log does not reach back to what a client has missed.
type TrimmedError struct {
	Oldest uint64 // seq of the oldest event that is held, 0 when there is none
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("the log does not reach back that far: its oldest event is %d", e.Oldest)
}

// Roster gives who is online, busy and in which state.
type Roster interface {
	// Presence gives what this principal may see of it, as the events that would announce it, and a test for which
	// transactions it reflects: an event of one that it does not came after it. Who resumes from their seq is told
	// everything since the handshake (Identity.Snapshot): the events of that time are held until the snapshot is told.
	Presence(ctx context.Context, viewer access.Identity) (events []event.Event, reflects func(xid uint64) bool, err error)
}

// isPresence says whether an event announces what a Roster gives.
func isPresence(e *event.Event) bool {
	switch e.Message.(type) {
	case *opentera.UserEvent, *opentera.ParticipantEvent, *opentera.DeviceEvent:
		return true
	}
	return false
}
