package ws

import (
	"context"
	"fmt"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// History gives what happened while a client was away.
type History interface {
	// After gives events that a client that has heard the log up to cursor may have missed, in order: a page of them,
	// beyond the seq behind (0 at first, then Page.Last). Some it may have heard. Errors: *TrimmedError, or that nobody
	// can say now.
	After(ctx context.Context, cursor, behind uint64) (Page, error)
}

// Page is a part of the log.
type Page struct {
	Events []event.Event
	Last   uint64 // seq to go on behind
	IsLast bool   // there is no more
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
