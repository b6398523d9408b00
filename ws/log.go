package ws

import (
	"context"

	"terasocket/access"
	"terasocket/proto/event"
)

// Source is the event log from the position where this gateway began.
type Source interface {
	// Begin returns the state to start from: nothing up to Seq is delivered. Everything is settled as of Seq: if Rights or
	// Alias rows follow the last Settled row, Begin waits for the next one. It is called at the start and after ErrBroken.
	Begin(ctx context.Context) (event.Beginning, error)

	// Next waits for events and returns some in the order of seq, each once. After an error it can be called again and
	// continues where it was; after ErrBroken, Begin must be called first.
	Next(ctx context.Context) ([]event.Event, error)
}

// Standings looks up what a principal holds.
type Standings interface {
	// Standing reads holdings, epoch and the last seq of the log in one statement.
	Standing(ctx context.Context, p access.Principal) (access.Standing, error)
}

// ReplayLog reads the events that clients missed.
type ReplayLog interface {
	// Reaches reports whether the log holds all events after since, across every epoch up to this one, and the rights before since
	// that were not settled there, and returns the oldest seq that it holds (0: none). It does not reach a cursor of another past,
	// nor one above the newest seq.
	Reaches(ctx context.Context, since uint64) (ok bool, oldest uint64, err error)

	// After returns a page of events with behind < seq <= until, in order, of all kinds. Trimmed is set if the log was trimmed
	// beyond behind before or during the read.
	After(ctx context.Context, behind, until uint64) (event.Page, error)

	// RightsSince returns the Rights events of p and all Alias events, in order, up to until. They begin after the last Settled
	// event with seq <= since (or at the start of the log), since a cursor may lie between a change of rights and the objects
	// that follow from it.
	RightsSince(ctx context.Context, p access.Principal, since, until uint64) ([]event.Event, error)

	// ToldKeys returns the routing keys of an object in the last announced state, "" if it is deleted.
	ToldKeys(ctx context.Context, objectType string, id int64) (string, error)
}

// PresenceReader returns who is online or busy, and device states.
type PresenceReader interface {
	// Presence returns what the viewer may see of it, as the events that would announce it. Their seq is not used.
	Presence(ctx context.Context, viewer access.Identity) ([]event.Event, error)
}

// Replacer closes, with 4000, the sockets that a principal opened on any gateway with tokens older than the given one. Errors:
// the database's.
type Replacer interface {
	Replace(ctx context.Context, identity access.Identity) error
}

// TokenRedeemer exchanges a connect token, which is good once, for an identity.
type TokenRedeemer interface {
	// Redeem returns the token's identity. Errors: access.ErrRefused; any other means that the token could not be checked.
	Redeem(ctx context.Context, kind access.Kind, token string) (access.Identity, error)
}

var (
	// ErrBroken means that the epoch changed, or that rows were trimmed before they were read.
	ErrBroken = event.ErrBroken

	// ErrRestarted comes with ErrBroken if no event is missing.
	ErrRestarted = event.ErrRestarted

	// ErrUnusable means that the database lacks what the statement needs; retrying is useless.
	ErrUnusable = event.ErrUnusable
)
