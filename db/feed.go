package db

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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

	cursor Snapshot         // all rows of the transactions that it sees were handed out, but for backlog
	done   map[int64]uint64 // seq -> xid of the rows beyond cursor that were handed out

	hints   []Hint    // to be read next, after backlog
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
	var err error
	if f.cursor, err = f.log.snapshot(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// Next waits for rows and returns them. The error is the database's, or ctx's; nothing is lost by it, call again.
func (f *Feed) Next(ctx context.Context) ([]Row, error) {
	for {
		if len(f.hints)+len(f.backlog) == 0 && !f.gap {
			f.hints, f.gap = f.listener.take()
			// never idle: look all the same, or done would grow for ever
			if !f.gap && time.Since(f.looked) > 4*f.cfg.LookEvery {
				if err := f.look(ctx); err != nil {
					return nil, err
				}
			}
		}
		hasWork := f.gap || len(f.hints)+len(f.backlog) > 0
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

// read does the next piece of work: catching up, then what was missed, then what the hints point at.
func (f *Feed) read(ctx context.Context) ([]Row, error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	switch {
	case f.gap:
		return nil, f.catchUp(ctx)
	case len(f.backlog) > 0:
		return f.readBacklog(ctx)
	case len(f.hints) > 0:
		return f.readHints(ctx)
	}
	return nil, nil
}

// catchUp finds what was missed while nobody listened.
func (f *Feed) catchUp(ctx context.Context) error {
	now, seqs, err := f.log.missed(ctx, f.cursor, nil)
	if err != nil {
		return err
	}
	f.cfg.Metrics.CatchUps.Inc()
	f.backlog, f.next, f.gap, f.before = f.notDone(seqs), &now, false, nil
	f.cfg.Log.Info("catching up from the event log", "rows", len(f.backlog))
	f.advance()
	return nil
}

// look finds rows that no notification announced, of transactions that had ended at the last look.
func (f *Feed) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	until := f.before
	if until == nil {
		until = &f.cursor // the first look: only take the snapshot
	}
	now, seqs, err := f.log.missed(ctx, f.cursor, until)
	if err != nil {
		f.cfg.Metrics.lag.failed(f.looked)
		return fmt.Errorf("look at the event log: %w", err)
	}
	if f.before == nil {
		f.cfg.Metrics.lag.looked(time.Time{}) // it found nothing yet
	} else {
		f.cfg.Metrics.lag.looked(f.looked)
	}
	f.looked, f.before = time.Now(), &now
	if until.isAfter(f.cursor) {
		f.next = until
	}
	f.unannounced(f.notDone(seqs))
	f.advance()
	return nil
}

func (f *Feed) unannounced(seqs []int64) {
	f.backlog = seqs
	if n := len(seqs); n > 0 {
		f.cfg.Metrics.Unannounced.Add(float64(n))
		f.cfg.Log.Warn("rows in the event log that no notification announced", "rows", n)
	}
}

func (f *Feed) readBacklog(ctx context.Context) ([]Row, error) {
	n := min(len(f.backlog), f.cfg.BatchRows)
	rows, err := f.log.bySeq(ctx, f.backlog[:n])
	if err != nil {
		return nil, err
	}
	if len(rows) < n {
		f.cfg.Log.Error("events were trimmed before they were delivered", "rows", n-len(rows))
	}
	f.backlog = f.backlog[n:]
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
			f.hints = wanted[i:]
			f.hints[0].First = last.Seq + 1
			break
		}
	}
	return rows, nil
}

// complete looks for rows that newest, a snapshot of these rows, sees and that no notification announced. They become
// the backlog, to be handed out first: a client that hears a row and comes back with it is told nothing more of what that
// row's snapshot sees.
func (f *Feed) complete(ctx context.Context, rows []Row, newest Snapshot) error {
	if !newest.isAfter(f.cursor) {
		return nil
	}
	now, seqs, err := f.log.missed(ctx, f.cursor, &newest)
	if err != nil {
		return err
	}
	if newest.isAfter(now) {
		f.cfg.Log.Error("a row of the event log has a snapshot of the future: its neighbours may come late", "event", rows[len(rows)-1].Seq)
		return nil
	}
	pending := make(map[int64]bool, len(rows))
	for _, r := range rows {
		pending[r.Seq] = true
	}
	f.unannounced(slices.DeleteFunc(f.notDone(seqs), func(seq int64) bool { return pending[seq] }))
	if len(f.backlog) == 0 {
		f.next = &newest
	}
	return nil
}

// handOut drops the rows that were handed out before and notes the others.
func (f *Feed) handOut(rows []Row) []Row {
	fresh := rows[:0]
	for _, r := range rows {
		if _, isDone := f.done[r.Seq]; isDone || f.cursor.Sees(r.XID) {
			continue
		}
		f.done[r.Seq] = r.XID
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

func (f *Feed) notDone(seqs []int64) []int64 {
	fresh := seqs[:0]
	for _, seq := range seqs {
		if _, isDone := f.done[seq]; !isDone {
			fresh = append(fresh, seq)
		}
	}
	return fresh
}
