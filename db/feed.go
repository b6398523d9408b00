package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// FeedConfig says how to read the event log. Zero values stand for the defaults given.
type FeedConfig struct {
	BatchRows int           // rows that one Next returns at most (256)
	LookEvery time.Duration // how often to look for rows that no notification announced (5 s)
	Log       *slog.Logger
	Metrics   *Metrics
}

// statementLimit is for one statement of the Feed or Trimmer: on a connection that is half-open it would never end.
const statementLimit = 30 * time.Second

// Feed hands out the rows of the event log, each once, in the order of their commits. After a catch-up, transactions
// that overlapped may come in the order of their seqs.
type Feed struct {
	cfg      FeedConfig
	log      eventLog
	listener *Listener

	timeline int64            // terasocket.enter_timeline()
	cursor   Snapshot         // all rows of the transactions that it sees were handed out, but for backlog
	done     map[int64]uint64 // seq -> xid of the rows beyond cursor that were handed out
	newest   int64            // the highest seq that was handed out, or was there before

	hints   []Hint    // to be read next, after backlog and rest
	rest    []int64   // of a hint at more rows than one batch, ascending
	backlog []int64   // missed rows, ascending
	next    *Snapshot // becomes cursor once backlog is empty
	gap     bool      // look at the log before anything else
	before  *Snapshot // at the last look
	looked  time.Time
}

// NewFeed starts at this moment: rows of transactions that have ended are history. The listener must be connected
// already, so that nothing falls between the two.
func NewFeed(ctx context.Context, pool *pgxpool.Pool, listener *Listener, cfg FeedConfig) (*Feed, error) {
	setDefault(&cfg.BatchRows, 256)
	setDefault(&cfg.LookEvery, 5*time.Second)
	f := &Feed{cfg: cfg, log: eventLog{pool}, listener: listener, done: map[int64]uint64{}, looked: time.Now()}
	var database string
	err := pool.QueryRow(ctx, whichDatabase).Scan(&database)
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask for the database: %w", err)
	case database != listener.database:
		return nil, errOtherDatabase
	}
	if f.timeline, err = f.log.timeline(ctx); err != nil {
		return nil, err
	}
	if f.cursor, f.newest, err = f.log.snapshot(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// ErrBroken says that rows are missing, and that nobody can say which: the database has failed over to another timeline,
// or rows were trimmed before they were handed out. Next goes on behind the gap. Whoever follows must begin anew.
var ErrBroken = errors.New("the event log is broken off: rows are missing")

// Next waits for rows and returns them. The error is the database's, or ctx's: nothing is lost by it, call again; or
// ErrBroken.
func (f *Feed) Next(ctx context.Context) ([]Row, error) {
	for {
		if f.pending() == 0 && !f.gap {
			f.hints, f.gap = f.listener.take()
			// never idle: look all the same, or done would grow for ever
			if !f.gap && f.isOverdue() {
				if err := f.look(ctx); err != nil {
					return nil, err
				}
			}
		}
		hasWork := f.gap || f.pending() > 0
		rows, err := f.read(ctx)
		if err != nil {
			return nil, err
		}
		if rows = f.handOut(rows); len(rows) > 0 {
			return rows, nil
		}
		if hasWork {
			continue
		}
		wait := time.NewTimer(time.Until(f.looked.Add(f.cfg.LookEvery)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, ctx.Err()
		case <-f.listener.awake:
			wait.Stop()
		case <-wait.C:
			if err := f.look(ctx); err != nil {
				return nil, err
			}
		}
	}
}

func (f *Feed) pending() int { return len(f.hints) + len(f.rest) + len(f.backlog) }

// read does the next piece of work: catching up, then what was missed, then what the hints point at.
func (f *Feed) read(ctx context.Context) ([]Row, error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	switch {
	case f.gap:
		return nil, f.catchUp(ctx)
	case len(f.backlog) > 0:
		return f.readBacklog(ctx)
	case len(f.rest) > 0:
		return f.readRest(ctx)
	case len(f.hints) > 0:
		return f.readHints(ctx)
	}
	return nil, nil
}

func (f *Feed) readBacklog(ctx context.Context) ([]Row, error) {
	n := min(len(f.backlog), f.cfg.BatchRows)
	rows, _, err := f.log.bySeq(ctx, f.backlog[:n])
	if err != nil {
		return nil, err
	}
	f.backlog = f.backlog[n:]
	if len(rows) < n {
		return nil, f.broken(rows, n)
	}
	return rows, nil
}

func (f *Feed) readHints(ctx context.Context) ([]Row, error) {
	// of a transaction that the cursor sees, everything was handed out: such a hint is forged, or late
	wanted := f.hints[:0]
	for _, h := range f.hints {
		if f.cursor.Sees(h.XID) {
			f.cfg.Metrics.Ignored.Inc()
			continue
		}
		wanted = append(wanted, h)
	}
	f.hints = wanted
	if len(wanted) == 0 {
		return nil, nil
	}
	rows, newest, err := f.log.hinted(ctx, wanted, f.cfg.BatchRows)
	if err != nil {
		return nil, err
	}
	if err := f.complete(ctx, rows, newest); err != nil || len(f.backlog) > 0 {
		return nil, err
	}
	if len(rows) < f.cfg.BatchRows {
		f.hints = nil
		return rows, nil
	}
	last := rows[len(rows)-1]
	for i, h := range wanted {
		if h.XID == last.XID && h.First <= last.Seq && last.Seq <= h.Last {
			// a statement of 100,000 rows must not be looked for again with each batch
			if f.rest, err = f.log.ofHint(ctx, Hint{XID: h.XID, First: last.Seq + 1, Last: h.Last}); err != nil {
				return nil, err
			}
			f.hints = wanted[i+1:]
			break
		}
	}
	return rows, nil
}

// readRest goes on with a hint at many rows.
func (f *Feed) readRest(ctx context.Context) ([]Row, error) {
	n := min(len(f.rest), f.cfg.BatchRows)
	rows, newest, err := f.log.bySeq(ctx, f.rest[:n])
	if err != nil {
		return nil, err
	}
	if err := f.complete(ctx, rows, newest); err != nil || len(f.backlog) > 0 {
		return nil, err
	}
	f.rest = f.rest[n:]
	if len(rows) < n {
		return nil, f.broken(rows, n)
	}
	return rows, nil
}

// broken is for rows of which some are not there any more. What is still there is found by those who begin anew.
func (f *Feed) broken(rows []Row, n int) error {
	f.handOut(rows)
	return fmt.Errorf("%w: %d were trimmed before they were delivered", ErrBroken, n-len(rows))
}

// handOut drops the rows that were handed out before and notes the others.
func (f *Feed) handOut(rows []Row) []Row {
	fresh := rows[:0]
	for _, r := range rows {
		if _, isDone := f.done[r.Seq]; isDone || f.cursor.Sees(r.XID) {
			continue
		}
		f.done[r.Seq], f.newest = r.XID, max(f.newest, r.Seq)
		fresh = append(fresh, r)
	}
	f.cfg.Metrics.Rows.Add(float64(len(fresh)))
	f.advance()
	return fresh
}

// advance moves the cursor when all that was missed before it has been read.
func (f *Feed) advance() {
	if f.next == nil || len(f.backlog) > 0 {
		return
	}
	f.cursor, f.next = *f.next, nil
	for seq, xid := range f.done {
		if f.cursor.Sees(xid) {
			delete(f.done, seq)
		}
	}
}
