package db

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Row is one row of terasocket.events. The texts are as PostgreSQL prints them; "" stands for null.
type Row struct {
	Seq        int64
	XID        uint64
	At         time.Time
	Topic      string
	Type       string
	Op         string
	ObjectType string
	ObjectID   int64
	Body       string
	Audience   string
	Former     string
	FormerBody string
}

// eventLog reads terasocket.events.
type eventLog struct {
	pool *pgxpool.Pool
}

//go:embed sql/hinted.sql
var hintedSQL string

//go:embed sql/by_seq.sql
var bySeqSQL string

//go:embed sql/of_hint.sql
var ofHintSQL string

//go:embed sql/missed.sql
var missedSQL string

// hinted reads what the hints point at, at most limit rows, in their order, and gives the newest of their snapshots.
func (l eventLog) hinted(ctx context.Context, hints []Hint, limit int) (rows []Row, newest Snapshot, err error) {
	xids := make([]string, len(hints))
	first, last := make([]int64, len(hints)), make([]int64, len(hints))
	for i, h := range hints {
		xids[i], first[i], last[i] = strconv.FormatUint(h.XID, 10), h.First, h.Last
	}
	return newestOf(l.pool.Query(ctx, hintedSQL, xids, first, last, limit))
}

// ofHint gives the seqs of all rows that a hint points at, ascending.
func (l eventLog) ofHint(ctx context.Context, h Hint) ([]int64, error) {
	result, err := l.pool.Query(ctx, ofHintSQL, strconv.FormatUint(h.XID, 10), h.First, h.Last)
	if err != nil {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	seqs, err := pgx.CollectRows(result, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	return seqs, nil
}

// bySeq reads these rows, in the order of seq, and gives the newest of their snapshots. One that is not there any more is
// left out.
func (l eventLog) bySeq(ctx context.Context, seqs []int64) (rows []Row, newest Snapshot, err error) {
	return newestOf(l.pool.Query(ctx, bySeqSQL, seqs))
}

// newestOf reads rows, and the newest of the snapshots with them.
func newestOf(result pgx.Rows, err error) (rows []Row, newest Snapshot, _ error) {
	found, err := withSnapshots(result, err)
	if err != nil {
		return nil, Snapshot{}, err
	}
	rows = make([]Row, len(found))
	text := ""
	for i, r := range found {
		rows[i] = r.Row
		if r.Snapshot == text {
			continue
		}
		text = r.Snapshot
		s, err := ParseSnapshot(text)
		if err != nil {
			return nil, Snapshot{}, err
		}
		if s = s.before(r.XID); s.isAfter(newest) {
			newest = s
		}
	}
	return rows, newest, nil
}

type rowWithSnapshot struct {
	Row
	Snapshot string
}

func withSnapshots(result pgx.Rows, err error) ([]rowWithSnapshot, error) {
	if err != nil {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	rows, err := pgx.CollectRows(result, pgx.RowToStructByPos[rowWithSnapshot])
	if err != nil {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	return rows, nil
}

// found is an answer of eventLog.missed.
type found struct {
	now         Snapshot
	seqs        []int64 // of all rows that the cursor does not see, ascending; with until, only those that until sees
	oldest      int64   // seq that is held, 0 when there is none
	holdsNewest bool    // whether that row is there
}

// missed looks for rows beyond the cursor, and for the row newest.
func (l eventLog) missed(ctx context.Context, cursor Snapshot, until *Snapshot, newest int64) (f found, err error) {
	var text string
	var untilText *string
	if until != nil {
		s := until.String()
		untilText = &s
	}
	if err := l.pool.QueryRow(ctx, missedSQL, cursor.String(), untilText, newest).Scan(&text, &f.seqs, &f.oldest, &f.holdsNewest); err != nil {
		return found{}, fmt.Errorf("look for missed rows: %w", err)
	}
	f.now, err = ParseSnapshot(text)
	return f, err
}

// snapshot gives the snapshot now, and the newest seq that it sees, 0 when there is none.
func (l eventLog) snapshot(ctx context.Context) (now Snapshot, newest int64, err error) {
	var text string
	if err := l.pool.QueryRow(ctx, "SELECT pg_current_snapshot()::text, coalesce(max(seq), 0) FROM terasocket.events").Scan(&text, &newest); err != nil {
		return Snapshot{}, 0, fmt.Errorf("take a snapshot: %w", err)
	}
	now, err = ParseSnapshot(text)
	return now, newest, err
}

// timeline says on which timeline the database is, by the seq with which it begins.
func (l eventLog) timeline(ctx context.Context) (first int64, err error) {
	if err := l.pool.QueryRow(ctx, "SELECT terasocket.enter_timeline()").Scan(&first); err != nil {
		return 0, fmt.Errorf("ask for the timeline: %w", err)
	}
	return first, nil
}
