package audit

import (
	"slices"
	"sync"
	"time"

	"terasocket/access"
)

// Run is a range of consecutive seqs, all of which were sent.
type Run struct{ First, Last uint64 }

// Row describes what was sent to one socket, in one mode, between two flushes.
type Row struct {
	Kind       string    `json:"kind"`
	UUID       string    `json:"uuid"`
	Principal  int32     `json:"id"`
	Gateway    string    `json:"gateway"`
	Connection uint64    `json:"connection"` // the gateway's number of the socket; 0 for the console
	Opened     time.Time `json:"opened"`
	Address    string    `json:"address"` // "": unknown
	Mode       string    `json:"mode"`    // live, replay, delete, snapshot or console
	Frames     int       `json:"frames"`
	Seqs       []Run     `json:"seqs"` // in the order of sending; none for a snapshot
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"`

	number int64 // identifies the row on its gateway
}

const (
	live     = "live"
	replay   = "replay"
	deletion = "delete" // a DB_DELETE, which has only an object's keys, live or replayed
	snapshot = "snapshot"
	console  = "console" // the contents were shown in the console
)

// trail collects what was sent to one socket since the last flush.
type trail struct {
	recorder *Recorder
	socket   Row // the fields common to all its rows

	mu   sync.Mutex
	rows []Row // one per mode, more if one is full
}

// rowCost is the memory of a row, counted in runs.
const rowCost = 12

// Trail begins the trail of a socket, and returns the function that records a sent frame: the seq of an event, 0 for a snapshot.
func (r *Recorder) Trail(who access.Identity, conn uint64, opened time.Time, addr string) (sent func(seq uint64, isReplay, isDelete bool, at time.Time)) {
	t := &trail{recorder: r, socket: Row{Kind: who.Kind.String(), UUID: who.UUID, Principal: who.ID, Connection: conn, Opened: opened, Address: addr}}
	return t.sent
}

func (t *trail) sent(seq uint64, isReplay, isDelete bool, at time.Time) {
	mode := live
	switch {
	case seq == 0:
		mode = snapshot
	case isDelete:
		mode = deletion
	case isReplay:
		mode = replay
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.row(mode, at)
	if row == nil || !row.add(t.recorder, seq) {
		t.recorder.lose(1)
		return
	}
	row.Frames++
	row.Until = at
}

// row returns the row being filled, nil if there is no memory for it.
func (t *trail) row(mode string, at time.Time) *Row {
	for i := range t.rows {
		if t.rows[i].Mode == mode && len(t.rows[i].Seqs) < maxRuns {
			return &t.rows[i]
		}
	}
	if !t.recorder.take(rowCost) {
		return nil
	}
	if len(t.rows) == 0 {
		t.recorder.follow(t)
	}
	row := t.socket
	row.Mode, row.Since, row.Until, row.number = mode, at, at, t.recorder.numbers.Add(1)
	t.rows = append(t.rows, row)
	return &t.rows[len(t.rows)-1]
}

func (row *Row) add(r *Recorder, seq uint64) bool {
	if seq == 0 {
		return true
	}
	if n := len(row.Seqs); n > 0 && row.Seqs[n-1].Last+1 == seq {
		row.Seqs[n-1].Last = seq
		return true
	}
	if !r.take(1) {
		return false
	}
	row.Seqs = append(row.Seqs, Run{seq, seq})
	return true
}

// empty returns the rows. A row without frames, for which memory ran out, is dropped and its memory released.
func (t *trail) empty() []Row {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := slices.DeleteFunc(t.rows, func(row Row) bool { return row.Frames == 0 })
	t.recorder.held.Add(-rowCost * int64(len(t.rows)-len(rows)))
	t.rows = nil
	return rows
}
