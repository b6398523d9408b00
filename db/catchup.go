package db

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// catchUp finds what was missed while nobody listened.
func (f *Feed) catchUp(ctx context.Context) error {
	timeline, err := f.log.timeline(ctx)
	if err != nil {
		return err
	}
	if timeline != f.timeline {
		return f.beginAnew(ctx, timeline, "the database is on another timeline")
	}
	now, seqs, err := f.missed(ctx, nil)
	if err != nil {
		return err
	}
	f.cfg.Metrics.CatchUps.Inc()
	f.backlog, f.next, f.gap, f.before = f.notDone(seqs), &now, false, nil
	f.cfg.Log.Info("catching up from the event log", "rows", len(f.backlog))
	f.advance()
	return nil
}

// beginAnew is for a log that does not follow on what was handed out: on another timeline, transaction ids and seqs may be
// given to others.
func (f *Feed) beginAnew(ctx context.Context, timeline int64, why string) error {
	now, newest, err := f.log.snapshot(ctx)
	if err != nil {
		return err
	}
	f.timeline, f.cursor, f.newest, f.done, f.gap = timeline, now, newest, map[int64]uint64{}, false
	f.hints, f.rest, f.backlog, f.next, f.before = nil, nil, nil, nil, nil
	return fmt.Errorf("%w: %s", ErrBroken, why)
}

// missed gives the snapshot now and the seqs of all rows that the cursor does not see; with until, only those that until
// sees. It begins anew when the log cannot be what it was: the newest row that was handed out is not there, though older
// ones are (the server has crashed, and forgotten what it committed asynchronously); or everything up to it is trimmed, and
// nobody has looked for so long that what came next may be trimmed as well.
func (f *Feed) missed(ctx context.Context, until *Snapshot) (now Snapshot, seqs []int64, err error) {
	found, err := f.log.missed(ctx, f.cursor, until, f.newest)
	switch {
	case err != nil || found.holdsNewest || f.newest == 0 || found.oldest == f.newest+1:
	case 0 < found.oldest && found.oldest < f.newest:
		err = f.beginAnew(ctx, f.timeline, "the database has forgotten rows that were delivered")
	case f.isOverdue():
		err = f.beginAnew(ctx, f.timeline, "rows may have been trimmed before they were delivered")
	}
	return found.now, found.seqs, err
}

// isOverdue says whether the last look at the log was longer ago than it should be.
func (f *Feed) isOverdue() bool { return time.Since(f.looked) > 4*f.cfg.LookEvery }

// look finds rows that no notification announced, of transactions that had ended at the last look.
func (f *Feed) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	until := f.before
	if until == nil {
		until = &f.cursor // the first look: only take the snapshot
	}
	now, seqs, err := f.missed(ctx, until)
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

// complete looks for rows that newest, a snapshot of these rows, sees and that no notification announced. They become
// the backlog, to be handed out first: a client that hears a row and comes back with it is told nothing more of what that
// row's snapshot sees.
func (f *Feed) complete(ctx context.Context, rows []Row, newest Snapshot) error {
	if !newest.isAfter(f.cursor) {
		return nil
	}
	now, seqs, err := f.missed(ctx, &newest)
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

func (f *Feed) unannounced(seqs []int64) {
	f.backlog = seqs
	if n := len(seqs); n > 0 {
		f.cfg.Metrics.Unannounced.Add(float64(n))
		f.cfg.Log.Warn("rows in the event log that no notification announced", "rows", n)
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
