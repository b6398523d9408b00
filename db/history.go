package db

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// History reads the event log for clients that come back.
type History struct {
	Pool *pgxpool.Pool
}

//go:embed sql/places.sql
var placesSQL string

//go:embed sql/resume.sql
var resumeSQL string

// Place is where a client stands in the log that has heard the row Cursor: it has heard, or may not hear, every row of
// the transactions that the snapshot of that row sees, and of the row's own those up to it.
type Place struct {
	Cursor int64
	Behind int64 // what it may have missed, of the transactions that Now sees, is behind this seq
	Now    Snapshot

	xid      uint64 // of the row
	snapshot Snapshot
}

// Missed says whether the client may have missed this row.
func (p Place) Missed(seq int64, xid uint64) bool {
	if xid == p.xid {
		return seq > p.Cursor
	}
	return !p.snapshot.Sees(xid)
}

// Places gives the places of these cursors, without those that the log does not hold, and the seq of the oldest row that
// is held, 0 when there is none.
func (h *History) Places(ctx context.Context, cursors []int64) (places map[int64]Place, oldest int64, err error) {
	var batch pgx.Batch
	batch.Queue(placesSQL, cursors)
	batch.Queue(oldestSQL)
	answers := h.Pool.SendBatch(ctx, &batch)
	defer func() { _ = answers.Close() }()
	rows, err := answers.Query()
	if err != nil {
		return nil, 0, fmt.Errorf("look for cursors in the event log: %w", err)
	}
	places = map[int64]Place{}
	var p Place
	var text, now string
	if _, err := pgx.ForEachRow(rows, []any{&p.Cursor, &p.xid, &text, &p.Behind, &now}, func() error {
		snapshot, err := ParseSnapshot(text)
		if err != nil {
			return err
		}
		p.snapshot = snapshot.before(p.xid)
		p.Now, err = ParseSnapshot(now)
		places[p.Cursor] = p
		return err
	}); err != nil {
		return nil, 0, fmt.Errorf("look for cursors in the event log: %w", err)
	}
	if err := answers.QueryRow().Scan(&oldest); err != nil {
		return nil, 0, fmt.Errorf("look how far the event log reaches back: %w", err)
	}
	return places, oldest, nil
}

// Stretch is a part of the log.
type Stretch struct {
	Rows   []Row
	Now    Snapshot // of the moment in which the rows were read; zero when there are none
	Oldest int64    // seq of the oldest row that is held, 0 when there is none
}

const oldestSQL = "SELECT coalesce(min(seq), 0) FROM terasocket.events"

// After gives what clients at these places may have missed: at most limit rows behind this seq, in the order of seq. Each
// must be asked whether it missed it.
func (h *History) After(ctx context.Context, places []Place, behind int64, limit int) (Stretch, error) {
	earliest := places[0].snapshot
	for _, p := range places[1:] {
		if earliest.isAfter(p.snapshot) {
			earliest = p.snapshot
		}
	}
	var batch pgx.Batch
	batch.Queue(resumeSQL, earliest.String(), behind, limit)
	batch.Queue(oldestSQL) // asked last: what is held now was held while the rows were read
	answers := h.Pool.SendBatch(ctx, &batch)
	defer func() { _ = answers.Close() }()
	found, err := withSnapshots(answers.Query())
	if err != nil {
		return Stretch{}, err
	}
	s := Stretch{Rows: make([]Row, len(found))}
	for i, r := range found {
		s.Rows[i] = r.Row
	}
	if len(found) > 0 {
		if s.Now, err = ParseSnapshot(found[0].Snapshot); err != nil {
			return Stretch{}, err
		}
	}
	if err := answers.QueryRow().Scan(&s.Oldest); err != nil {
		return Stretch{}, fmt.Errorf("look how far the event log reaches back: %w", err)
	}
	return s, nil
}
