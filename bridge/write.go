package bridge

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed sql/take.sql
var takeSQL string

const (
	batchSize     = 128     // messages in one transaction
	itemsSize     = 256     // items
	strikes       = 3       // so often an item is tried alone before it is refused
	writtenState  = "00000" // by an earlier call, whose answer was lost
	lostState     = "TB001" // the bridge is another's
	refusedState  = "22023" // publish() says no
	tooBigState   = "54000"
	zeroByteState = "22P05"
	notJSONState  = "22P02"
	lockedState   = "55P03"
	memoryState   = "53200"
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
		if len(items)+len(reading.items) > itemsSize { // the items of a message share a transaction if they can
			if err := flush(); err != nil {
				return err
			}
		}
		for _, i := range reading.items {
			if len(items) == itemsSize || len(items) > 0 && (i.takesTurns() || items[len(items)-1].takesTurns()) {
				if err := flush(); err != nil {
					return err
				}
			}
			items = append(items, i)
		}
		n++
	}
	return flush()
}

// writeItems writes items: in one transaction, if the database takes that. If it may be too much, or one of them is at fault or has
// to wait for a lock, half of them is tried, down to one alone: what comes before it is written. One that the database does not
// take alone, while it takes other things, is refused. One that waits for a lock waits, and what comes after it too; of the user
// manager's not for long, since who is busy is compared with it.
func (r *reign) writeItems(ctx context.Context, items []item) error {
	n, failed, pause := len(items), 0, firstPause
	var blocked time.Time // since when the first waits alone
	for len(items) > 0 {
		n = min(n, len(items))
		written, err := r.tryItems(ctx, items, n)
		if err == nil {
			items, n, failed, pause, blocked = items[written:], 2*n, 0, firstPause, time.Time{}
			continue
		}
		if errors.Is(err, errLost) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Log.Warn("what OpenTera published is not written, trying again", "op", "bridge", "events", n, "err", err)
		reason, isTooMuch := blame(err)
		switch {
		case !isTooMuch || !r.takesOther(ctx):
		case n > 1:
			n /= 2
		case reason != "":
			if failed++; failed >= strikes {
				items[0] = items[0].withdrawn(reason)
			}
		case blocked.IsZero():
			blocked = time.Now()
		case items[0].topic == topicLabel(messagesTopic) && isState(err, lockedState) && time.Since(blocked) > r.Blocked:
			items[0] = items[0].withdrawn(notTaken)
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, longestPause)
	}
	return nil
}

// blame says whether fewer items may do where some have failed, and why one is refused that was alone; "": it is not at fault.
func blame(err error) (reason string, isTooMuch bool) {
	var no *pgconn.PgError
	switch {
	case isState(err, lockedState), isState(err, memoryState):
		return "", true
	case errors.As(err, &no) && strings.HasPrefix(no.Code, "22"): // data: before it was an item
		return malformed, true
	case errors.As(err, &no) && strings.HasPrefix(no.Code, "54"), errors.Is(err, context.DeadlineExceeded):
		return tooBig, true
	}
	return "", false
}

// takesOther says whether the database commits something else of us now.
func (r *reign) takesOther(ctx context.Context) bool {
	_, _, err := r.lead(ctx, r.term)
	return err == nil
}

// tryItems writes the first n items in one transaction. written are how many are: n, or as many as an earlier call has written
// whose answer was lost.
func (r *reign) tryItems(ctx context.Context, items []item, n int) (written int, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Write)
	defer cancel()
	what, places, contents := make([]string, n), make([]string, n), make([]string, n)
	for i, item := range items[:n] {
		what[i], places[i], contents[i] = item.what, item.place, item.content
	}
	type refused struct {
		N       int
		State   string
		Problem *string
	}
	rows, err := r.Pool.Query(ctx, takeSQL, r.term, r.nth, r.markAfter(items[:n]), what, places, contents)
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[refused])
	if lost(err) {
		return 0, errLost
	} else if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	written = n
	for _, no := range list {
		if no.State == writtenState {
			written = no.N
			break
		}
		item, reason := items[no.N-1], reasonOf(no.State)
		if item.refused != "" {
			reason = item.refused
		}
		r.refuse(refusal{item.topic, item.typeName, reason, ""}, no.State)
	}
	r.mark = r.markAfter(items[:written])
	r.nth += int64(written)
	return written, nil
}

// markAfter is that of the last message whose items are written when these are.
func (r *reign) markAfter(items []item) []byte {
	for _, item := range slices.Backward(items) {
		if item.ends != nil {
			mark := item.ends.mark()
			return mark[:]
		}
	}
	return r.mark
}

// lost says whether an error is that another gateway has taken the bridge.
func lost(err error) bool { return isState(err, lostState) }

func isState(err error, state string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == state
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
