package audit

import (
	"slices"
	"sync"
	"time"

	"terasocket/access"
)

// Run is events with consecutive seqs, all of which were sent.
type Run struct{ First, Last uint64 }

// Row is what was sent to one socket, in one way, between two flushes.
type Row struct {
	Kind       string    `json:"kind"`
	UUID       string    `json:"uuid"`
	Principal  int32     `json:"id"`
	Gateway    string    `json:"gateway"`
	Connection uint64    `json:"connection"` // the gateway's number of the socket
	Opened     time.Time `json:"opened"`
	Address    string    `json:"address"` // "" = not known
	Mode       string    `json:"mode"`    // live, replay or snapshot
	Frames     int       `json:"frames"`
	Seqs       []Run     `json:"seqs"` // in the order in which they were sent; none of a snapshot
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"`
}

const (
	live     = "live"
	replay   = "replay"
	snapshot = "snapshot"
)

// trail is what was sent to one socket since the recorder last looked.
type trail struct {
	recorder *Recorder
	socket   Row // what all rows of it have in common

	mu   sync.Mutex
	rows []Row // one a mode
}

// rowCost is what a row takes of the recorder's memory, counted in runs.
const rowCost = 12

// Trail begins the trail of a socket, and returns what notes on it that a frame was sent: the seq of an event, 0 of a snapshot.
func (r *Recorder) Trail(who access.Identity, conn uint64, opened time.Time, addr string) (sent func(seq uint64, isReplay bool, at time.Time)) {
	t := &trail{recorder: r, socket: Row{Kind: who.Kind.String(), UUID: who.UUID, Principal: who.ID, Connection: conn, Opened: opened, Address: addr}}
	return t.sent
}

func (t *trail) sent(seq uint64, isReplay bool, at time.Time) {
	mode := live
	switch {
	case seq == 0:
		mode = snapshot
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

// row is the one that is being filled; nil when there is no memory for it.
func (t *trail) row(mode string, at time.Time) *Row {
	for i := range t.rows {
		if t.rows[i].Mode == mode {
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
	row.Mode, row.Since, row.Until = mode, at, at
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

// empty gives what was noted. A row of no frames, since there was no memory for the first, gives its own back.
func (t *trail) empty() []Row {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := slices.DeleteFunc(t.rows, func(row Row) bool { return row.Frames == 0 })
	t.recorder.held.Add(-rowCost * int64(len(t.rows)-len(rows)))
	t.rows = nil
	return rows
}
