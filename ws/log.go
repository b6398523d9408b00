package ws

import (
	"context"

	"terasocket/access"
	"terasocket/proto/event"
)

// Source is the event log from the position where this gateway began.
type Source interface {
	// Begin gives the state to start from: nothing up to Seq is delivered. As of Seq everything is settled: if Rights or
	// Alias rows came after the last Settled row, Begin waits for the next one. It is called at the start and after
	// ErrBroken.
	Begin(ctx context.Context) (event.Beginning, error)

	// Next waits for events and returns some, in the order of seq, each once. After an error it can be called again and
	// goes on where it was; after ErrBroken, Begin is called first.
	Next(ctx context.Context) ([]event.Event, error)
}

// Standings says what a principal holds.
type Standings interface {
	// Standing reads holdings, epoch and the last seq of the log in one statement.
	Standing(ctx context.Context, p access.Principal) (access.Standing, error)
}

// ReplayLog is the part of the event log that clients missed.
type ReplayLog interface {
	// Reaches says whether the log holds all events behind since, through every epoch up to this one, and which seq is the
	// oldest that it holds (0: none). A cursor of another past and one above the newest seq are not reached.
	Reaches(ctx context.Context, since uint64) (ok bool, oldest uint64, err error)

	// After gives a page of events with behind < seq <= until, in order, of all kinds. Trimmed is set when the log was
	// trimmed beyond behind before or while it was read.
	After(ctx context.Context, behind, until uint64) (event.Page, error)

	// RightsSince gives the Rights events of p and all Alias and Settled events, in order, up to until. They begin behind
	// the last Settled event with seq <= since (if there is none, at the start of the log): a cursor may lie between a
	// change of rights and the objects that follow from it.
	RightsSince(ctx context.Context, p access.Principal, since, until uint64) ([]event.Event, error)

	// ToldKeys gives the routing keys of an object in the last announced state, "" when it is gone.
	ToldKeys(ctx context.Context, objectType string, id int64) (string, error)
}

// PresenceReader gives who is online, busy and in which state.
type PresenceReader interface {
	// Presence gives what this principal may see of it, as the events that would announce it. Their seq does not matter.
	Presence(ctx context.Context, viewer access.Identity) ([]event.Event, error)
}

// Replacer closes the sockets that a principal has opened on any gateway with tokens from before its own, with 4000. Errors: the
// database's.
type Replacer interface {
	Replace(ctx context.Context, identity access.Identity) error
}

// TokenRedeemer lets a client in for a connect token, which is good once.
type TokenRedeemer interface {
	// Redeem says whose token it was. Errors: access.ErrRefused, or that nobody can say now.
	Redeem(ctx context.Context, kind access.Kind, token string) (access.Identity, error)
}

// Errors of a Source and of a ReplayLog.
var (
	// ErrBroken says that the epoch changed, or that rows were trimmed before they were read.
	ErrBroken = event.ErrBroken

	// ErrRestarted comes with ErrBroken where no event is missing.
	ErrRestarted = event.ErrRestarted

	// ErrUnusable says that the database lacks what the statement needs: to ask again is of no use.
	ErrUnusable = event.ErrUnusable
)
