package bridge

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed sql/take.sql
var takeSQL string

const (
	batchSize     = 128              // messages in one transaction
	writeLimit    = 30 * time.Second // for one
	lostState     = "TB001"          // the bridge is another's
	refusedState  = "22023"          // publish() says no
	tooBigState   = "54000"
	zeroByteState = "22P05"
	notJSONState  = "22P02"
)

// write writes what is heard, in order, until ctx ends or the bridge is lost. What the database does not take at the moment is
// tried again for as long as it needs; what it refuses is counted and passed over.
func (r *reign) write(ctx context.Context) error {
	for {
		batch, err := r.stream.take(ctx, batchSize)
		if err != nil {
			return err
		}
		if err := r.writeBatch(ctx, batch); err != nil {
			return err
		}
	}
}

// writeBatch writes messages, as many as may share a transaction at a time.
func (r *reign) writeBatch(ctx context.Context, batch []heard) error {
	var items []item
	n := 0 // messages whose items are written, or among those
	flush := func() error {
		if err := r.writeItems(ctx, items); err != nil {
			return err
		}
		r.stream.done(n)
		items, n = nil, 0
		return nil
	}
	for _, h := range batch {
		if h.topic == r.sub.replies { // it is compared with the database as of all messages before it
			if err := flush(); err != nil {
				return err
			}
			r.answered(ctx, h.payload)
			r.stream.done(1)
			continue
		}
		reading := decode(h)
		r.note(reading)
		for _, i := range reading.items {
			if len(items) > 0 && (i.takesTurns() || items[len(items)-1].takesTurns()) {
				if err := flush(); err != nil {
					return err
				}
			}
			items = append(items, i)
		}
		r.last = &h
		n++
	}
	return flush()
}

// writeItems writes items in one transaction.
func (r *reign) writeItems(ctx context.Context, items []item) error {
	if len(items) == 0 {
		return nil
	}
	if r.last != nil {
		mark := r.last.mark()
		r.mark, r.last = mark[:], nil
	}
	r.nth++
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := r.tryItems(ctx, items)
		if err == nil || errors.Is(err, errLost) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Log.Warn("what OpenTera published is not written, trying again", "op", "bridge", "events", len(items), "err", err)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

func (r *reign) tryItems(ctx context.Context, items []item) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	what, places, contents := make([]string, len(items)), make([]string, len(items)), make([]string, len(items))
	for i, item := range items {
		what[i], places[i], contents[i] = item.what, item.place, item.content
	}
	type refused struct {
		N              int
		State, Problem string
	}
	rows, err := r.Pool.Query(ctx, takeSQL, r.term, r.nth, r.mark, what, places, contents)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[refused])
	if lost(err) {
		return errLost
	} else if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	for _, no := range list {
		item := items[no.N-1]
		r.refuse(refusal{item.topic, item.typeName, reasonOf(no.State), ""}, no.State)
	}
	return nil
}

// lost says whether an error is that another gateway has taken the bridge.
func lost(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == lostState
}

// reasonOf is the label of a refusal of the database.
func reasonOf(state string) string {
	switch state {
	case refusedState:
		return notAllowed
	case tooBigState:
		return tooBig
	case zeroByteState, notJSONState:
		return malformed
	}
	return broken
}

// note counts what was read, and remembers whom it was about.
func (r *reign) note(read reading) {
	for _, i := range read.seen {
		r.Metrics.received.WithLabelValues(i.topic, i.typeName).Inc()
	}
	for _, refused := range read.refused {
		r.refuse(refused, "")
	}
	r.touch(read.touched)
}

// refuse counts and logs what does not become rows, never its content: not the database's words either, which quote it.
func (r *reign) refuse(no refusal, state string) {
	r.Metrics.refused.WithLabelValues(no.reason).Inc()
	if time.Since(r.complained) < time.Second {
		return // a flood is in the metrics
	}
	r.complained = time.Now()
	r.Log.Warn("what was published on Redis is refused", "op", "bridge", "topic", no.topic, "event", no.typeName, "reason", no.reason, "problem", no.problem, "sqlstate", state)
}
