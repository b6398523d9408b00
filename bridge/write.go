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
	strikes       = 3       // attempts alone before an item is refused
	writtenState  = "00000" // written by an earlier call whose answer was lost
	lostState     = "TB001" // another gateway holds the bridge
	refusedState  = "22023" // rejected by publish()
	tooBigState   = "54000"
	zeroByteState = "22P05"
	notJSONState  = "22P02"
	lockedState   = "55P03"
	memoryState   = "53200"
)

// write writes messages in order until ctx ends or the bridge is lost. It retries as long as the database is unavailable; what
// the database rejects is counted and skipped.
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

// writeBatch writes messages, as many at a time as may share a transaction.
func (r *reign) writeBatch(ctx context.Context, batch []heard) error {
	var items []item
	n := 0 // messages whose items are written, or in items
	flush := func() error {
		if err := r.writeItems(ctx, items); err != nil {
			return err
		}
		r.stream.done(n)
		items, n = nil, 0
		return nil
	}
	for _, h := range batch {
		if h.topic == r.sub.replies { // compared with the database as of all messages before it
			if err := flush(); err != nil {
				return err
			}
			r.answered(ctx, h.payload)
			r.stream.done(1)
			continue
		}
		reading := decode(h)
		reading.items, r.skip = reading.items[min(r.skip, len(reading.items)):], 0
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

// writeItems writes items, in one transaction if the database accepts that. If they may be too much, or one is at fault or must
// wait for a lock, it tries half of them, down to one alone, so that those before it are written. An item that fails alone,
// while the database takes other things, is refused. One that waits for a lock waits, and those after it too; joins and leaves
// not for long, since reconciliation corrects them.
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

// blame reports whether fewer items may succeed after an error, and why a single item is refused; "": it is not at fault.
func blame(err error) (reason string, isTooMuch bool) {
	var no *pgconn.PgError
	switch {
	case isState(err, lockedState), isState(err, memoryState):
		return "", true
	case errors.As(err, &no) && strings.HasPrefix(no.Code, "22"): // a data exception in the parameters
		return malformed, true
	case errors.As(err, &no) && strings.HasPrefix(no.Code, "54"), errors.Is(err, context.DeadlineExceeded):
		return tooBig, true
	}
	return "", false
}

// takesOther reports whether the database commits another write of ours now.
func (r *reign) takesOther(ctx context.Context) bool {
	_, _, err := r.lead(ctx, r.term)
	return err == nil
}

// tryItems writes the first n items in one transaction. written is n, or what an earlier call wrote whose answer was lost.
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
	mark, part := r.markAfter(items[:n])
	rows, err := r.Pool.Query(ctx, takeSQL, r.term, r.nth, mark, part, what, places, contents)
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
			if written = no.N; written < 0 || written > len(items) { // PostgreSQL has lost its last commits
				return 0, errLost
			}
			break
		}
		item, reason := items[no.N-1], reasonOf(no.State)
		if item.refused != "" {
			reason = item.refused
		}
		r.refuse(refusal{item.topic, item.typeName, reason, ""}, no.State)
	}
	r.mark, r.part = r.markAfter(items[:written])
	r.nth += int64(written)
	return written, nil
}

// markAfter returns the mark of the last message with items written once these are, and how many; 0: all.
func (r *reign) markAfter(items []item) (mark []byte, part int) {
	for _, item := range slices.Backward(items) {
		if item.of != nil {
			mark := item.of.mark()
			return mark[:], item.part
		}
	}
	return r.mark, r.part
}

// lost reports whether an error means that another gateway has taken the bridge.
func lost(err error) bool { return isState(err, lostState) }

func isState(err error, state string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == state
}

// reasonOf returns the metric label of a refusal by the database.
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

// note counts the events of a message and remembers whom it was about.
func (r *reign) note(read reading) {
	for _, i := range read.seen {
		r.Metrics.received.WithLabelValues(i.topic, i.typeName).Inc()
	}
	for _, refused := range read.refused {
		r.refuse(refused, "")
	}
	r.touch(read.touched)
}

// refuse counts and logs a refused event, never its content, nor the database's message, which quotes it.
func (r *reign) refuse(no refusal, state string) {
	r.Metrics.refused.WithLabelValues(no.reason).Inc()
	if time.Since(r.complained) < time.Second {
		return // a flood shows in the metrics
	}
	r.complained = time.Now()
	r.Log.Warn("what was published on Redis is refused", "op", "bridge", "topic", no.topic, "event", no.typeName, "reason", no.reason, "problem", no.problem, "sqlstate", state)
}
