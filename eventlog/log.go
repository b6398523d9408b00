package eventlog

import (
	"context"
	_ "embed"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/proto/event"
)

// eventLog reads terasocket.events.
type eventLog struct {
	pool *pgxpool.Pool
	fits atomic.Int32 // rows to ask for, so that few are read that do not fit into a page; 0: no limit
}

// Limits of reading.
const (
	statementLimit = 30 * time.Second // a statement on a half-open connection would never end
	pageRows       = 256              // maximum number of rows of one read
	pageBytes      = 4 << 20          // maximum size of bodies and keys in one read, and in one row
)

//go:embed sql/read.sql
var readSQL string

// read is the result of one read of the log.
type read struct {
	epoch, trimmed uint64
	snapshot       string // of the last complete announcement, "" for none
	rows           []event.Record
	isMore         bool // there may be more rows
}

// read returns at most limit rows with behind < seq <= until, in order, and fewer if they exceed pageBytes.
func (l *eventLog) read(ctx context.Context, behind, until uint64, limit int) (r read, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	asked := limit
	if fits := int(l.fits.Load()); fits > 0 {
		asked = min(limit, fits)
	}
	rows, err := l.pool.Query(ctx, readSQL, int64(behind), int64(until), asked)
	if err != nil {
		return read{}, described("read the event log", err)
	}
	var snapshot *string
	var row event.Record
	to := append([]any{&r.epoch, &r.trimmed, &snapshot}, columns(&row)...)
	isThere, bytes := false, 0
	for bytes < pageBytes && rows.Next() {
		if err := rows.Scan(to...); err != nil {
			rows.Close()
			return read{}, described("read the event log", err)
		}
		isThere = true
		if snapshot != nil {
			r.snapshot = *snapshot
		}
		if row.Seq > 0 {
			r.rows = append(r.rows, row)
		}
		bytes += len(row.Body) + len(row.Gone) + len(row.Present) + len(row.Former)
	}
	fits := min(2*asked, pageRows)
	if bytes >= pageBytes {
		fits = len(r.rows)
	}
	l.fits.Store(int32(fits))
	rows.Close() // skips the rows that do not fit
	switch err := rows.Err(); {
	case err != nil:
		return read{}, described("read the event log", err)
	case !isThere:
		return read{}, described("read the event log", errNoState)
	}
	r.isMore = bytes >= pageBytes || len(r.rows) == asked
	return r, nil
}

// columns returns the scan targets of a row.
func columns(r *event.Record) []any {
	return []any{&r.Seq, &r.Announcement, &r.At, &r.Topic, &r.Type, &r.Op, &r.ObjectType, &r.ObjectID, &r.Body, &r.Gone, &r.Present, &r.Former, &r.FormerAsOf}
}
