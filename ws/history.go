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

// Place is where a client stands in the log, and until where it is to be told: what had happened when the place was
// looked for. What happens later comes live, in the order of commits. (If it came with a later page, an event with a
// smaller seq could follow one that was recorded after it, and be lost by whoever is cut off in between.)
type Place interface {
	Behind() uint64              // what it may have missed and Sees is behind this seq
	Missed(seq, xid uint64) bool // whether it may have missed that event
	Sees(xid uint64) bool        // whether that transaction had ended
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
	// transactions it reflects: an event of one that it does not came after it.
	Presence(ctx context.Context, viewer access.Principal) (events []event.Event, reflects func(xid uint64) bool, err error)
}

// isPresence says whether an event announces what a Roster gives.
func isPresence(e *event.Event) bool {
	switch e.Message.(type) {
	case *opentera.UserEvent, *opentera.ParticipantEvent, *opentera.DeviceEvent:
		return true
	}
	return false
}
