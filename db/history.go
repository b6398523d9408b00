package db

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// History reads the event log for clients that come back.
type History struct {
	Pool *pgxpool.Pool
}

//go:embed sql/places.sql
var placesSQL string

//go:embed sql/began.sql
var beganSQL string

//go:embed sql/resume.sql
var resumeSQL string

// Place is where a client stands in the log that has heard the row Cursor: it has heard, or may not hear, every row of
// the transactions that the snapshot of that row sees, and of the row's own those up to it.
type Place struct {
	Cursor int64
	Behind int64 // what it may have missed is behind this seq
	Last   int64 // and not beyond this one

	xid      uint64 // of the row
	snapshot Snapshot
	now      Snapshot // when its place was looked for
}

// IsNew says whether this row was committed after the client's place was looked for: it is not of the past.
func (p Place) IsNew(xid uint64) bool { return !p.now.Sees(xid) }

// Missed says whether the client may have missed this row of the past. New rows are left out: a client that leaves in the
// middle could have heard one, and would not be told of those before it any more.
func (p Place) Missed(seq int64, xid uint64) bool {
	if p.IsNew(xid) {
		return false
	}
	if xid == p.xid {
		return seq > p.Cursor
	}
	return !p.snapshot.Sees(xid)
}

// lacks says whether rows that the client has missed may be trimmed though its cursor is not: those of a transaction that
// was running when the cursor was recorded, has ended since, and may have begun before the oldest row that is held, when
// ids below begun were in use.
func (p Place) lacks(begun uint64) bool {
	return slices.ContainsFunc(p.snapshot.running, func(xid uint64) bool { return xid != p.xid && xid < begun && !p.IsNew(xid) })
}

//go:embed sql/ends.sql
var endsSQL string

// Places gives the places of these cursors, without those that the log does not hold, or of whose past it lacks a part,
// and the seq of the oldest row that is held, 0 when there is none.
func (h *History) Places(ctx context.Context, cursors []int64) (places map[int64]Place, oldest int64, err error) {
	var batch pgx.Batch
	batch.Queue("SELECT pg_current_snapshot()::text")
	batch.Queue(placesSQL, cursors)
	batch.Queue(beganSQL, cursors)
	batch.Queue(endsSQL)
	answers := h.Pool.SendBatch(ctx, &batch)
	defer func() { _ = answers.Close() }()
	fail := func(err error) (map[int64]Place, int64, error) {
		return nil, 0, fmt.Errorf("look for cursors in the event log: %w", err)
	}
	places = map[int64]Place{}
	var p Place
	var text string
	if err := answers.QueryRow().Scan(&text); err != nil {
		return fail(err)
	}
	if p.now, err = ParseSnapshot(text); err != nil {
		return fail(err)
	}
	rows, _ := answers.Query() // its error is that of the rows
	if _, err := pgx.ForEachRow(rows, []any{&p.Cursor, &p.xid, &text}, func() error {
		snapshot, err := ParseSnapshot(text)
		p.snapshot = snapshot.before(p.xid)
		places[p.Cursor] = p
		return err
	}); err != nil {
		return fail(err)
	}
	var began began
	var xid uint64
	var seq int64
	rows, _ = answers.Query()
	if _, err := pgx.ForEachRow(rows, []any{&xid, &seq}, func() error {
		began.xids, began.seqs = append(began.xids, xid), append(began.seqs, seq)
		return nil
	}); err != nil {
		return fail(err)
	}
	var last int64
	var begun uint64
	if err := answers.QueryRow().Scan(&oldest, &begun, &last); err != nil {
		return fail(err)
	}
	began.accumulate()
	for cursor, p := range places {
		if oldest > 1 && p.lacks(begun) {
			delete(places, cursor)
			continue
		}
		p.Last = last
		p.Behind = min(cursor, began.lowest(p.snapshot)-1)
		places[cursor] = p
	}
	return places, oldest, nil
}

// began says with which seq transactions begin, by their ids, ascending.
type began struct {
	xids   []uint64
	seqs   []int64
	onward []int64 // the lowest seq of this transaction and all later ones
}

func (b *began) accumulate() {
	b.onward = slices.Clone(b.seqs)
	for i := len(b.onward) - 2; i >= 0; i-- {
		b.onward[i] = min(b.onward[i], b.onward[i+1])
	}
}

// lowest is the lowest seq of the transactions that a snapshot does not see.
func (b *began) lowest(s Snapshot) int64 {
	lowest := int64(math.MaxInt64)
	if i, _ := slices.BinarySearch(b.xids, s.xmax); i < len(b.xids) {
		lowest = b.onward[i]
	}
	for _, xid := range s.running {
		if i, isThere := slices.BinarySearch(b.xids, xid); isThere {
			lowest = min(lowest, b.seqs[i])
		}
	}
	return lowest
}

// Stretch is a part of the log.
type Stretch struct {
	Rows   []Row
	Oldest int64 // seq of the oldest row that is held, 0 when there is none
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
	result, _ := answers.Query() // its error is that of the rows
	rows, err := pgx.CollectRows(result, pgx.RowToStructByPos[Row])
	if err != nil {
		return Stretch{}, fmt.Errorf("read the event log: %w", err)
	}
	s := Stretch{Rows: rows}
	if err := answers.QueryRow().Scan(&s.Oldest); err != nil {
		return Stretch{}, fmt.Errorf("look how far the event log reaches back: %w", err)
	}
	return s, nil
}
