package event

import "errors"

// ErrBroken means that the log does not continue what was read before: it belongs to another epoch, or rows were trimmed before they were
// read. The reader must begin anew.
var ErrBroken = errors.New("the event log does not continue what was read")

// ErrRestarted accompanies ErrBroken if nothing is missing because PostgreSQL was merely restarted.
var ErrRestarted = errors.New("PostgreSQL was started again")

// ErrUnusable means that a statement cannot work with the schema or the rights of this role: an operator must act.
var ErrUnusable = errors.New("the database does not have what this version needs")

// Beginning is the state to start from: nothing up to Seq is delivered.
type Beginning struct {
	Epoch, Seq uint64
	Aliases    map[string]string // tag -> routing keys, JSON text
}

// Page is a part of the log.
type Page struct {
	Events  []Event
	Last    uint64 // the seq to continue after
	IsLast  bool   // there are no more rows
	Trimmed bool   // the log was trimmed beyond the requested seq: events may be missing
}
