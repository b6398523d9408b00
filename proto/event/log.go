package event

import "errors"

// ErrBroken says that the log does not follow on what was read before: it is another past, or rows were trimmed before they
// were read. Whoever follows must begin anew.
var ErrBroken = errors.New("the event log does not follow on what was read")

// ErrRestarted comes with ErrBroken where nothing is missing, but PostgreSQL was started again, with all that it had.
var ErrRestarted = errors.New("PostgreSQL was started again")

// ErrUnusable says that a statement will fail for ever, by the schema or the rights of this role: an operator must do
// something.
var ErrUnusable = errors.New("the database does not have what this version needs")

// Beginning is the state to start from: nothing up to Seq is delivered.
type Beginning struct {
	Epoch, Seq uint64
	Aliases    map[string]string // tag -> routing keys, JSON text
}

// Page is a part of the log.
type Page struct {
	Events  []Event
	Last    uint64 // seq to go on behind
	IsLast  bool   // there is no more
	Trimmed bool   // the log was trimmed beyond the seq that was asked for: some of it may be missing
}
