package eventlog

import (
	"context"
	_ "embed"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/proto/event"
)

// eventLog reads terasocket.events.
type eventLog struct {
	pool *pgxpool.Pool
}

// Of reading.
const (
	statementLimit = 30 * time.Second // on a connection that is half-open a statement would never end
	pageRows       = 256              // that one read returns at most
	pageBytes      = 4 << 20          // of bodies and keys as they are stored, about, that one read returns at most
)

//go:embed sql/read.sql
var readSQL string

// read is what one look at the log gives.
type read struct {
	epoch, trimmed uint64
	snapshot       string // of the last complete announcement, "" for none
	rows           []event.Record
	isMore         bool // there may be more rows than these
}

// read gives at most limit rows with behind < seq <= until, in order.
func (l eventLog) read(ctx context.Context, behind, until uint64, limit int) (r read, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	rows, err := l.pool.Query(ctx, readSQL, int64(behind), int64(until), limit, pageBytes)
	if err != nil {
		return read{}, described("read the event log", err)
	}
	var snapshot *string
	var row event.Record
	isThere, follows := false, false
	_, err = pgx.ForEachRow(rows, append([]any{&r.epoch, &r.trimmed, &follows, &snapshot}, columns(&row)...), func() error {
		isThere = true
		if snapshot != nil {
			r.snapshot = *snapshot
		}
		if row.Seq > 0 {
			r.rows = append(r.rows, row)
		}
		return nil
	})
	switch {
	case err != nil:
		return read{}, described("read the event log", err)
	case !isThere:
		return read{}, described("read the event log", errNoState)
	}
	r.isMore = follows || len(r.rows) == limit
	return r, nil
}

// columns are where a row goes.
func columns(r *event.Record) []any {
	return []any{&r.Seq, &r.Announcement, &r.At, &r.Topic, &r.Type, &r.Op, &r.ObjectType, &r.ObjectID, &r.Body, &r.Gone, &r.Present, &r.Former}
}
