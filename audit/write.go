package audit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/access"
)

var (
	//go:embed sql/record.sql
	recordSQL string
	//go:embed sql/keep.sql
	keepSQL string
)

// ErrCannot means that the database lacks the table or the function, or this role a right on them.
var ErrCannot = errors.New("deliveries cannot be recorded")

// Start creates the weeks that are due. Errors: ErrCannot. Other failures are logged and retried.
func (r *Recorder) Start(ctx context.Context) error {
	err := r.Keep(ctx)
	if err == nil {
		var mayInsert bool
		err = r.Pool.QueryRow(ctx, "SELECT has_table_privilege('terasocket.deliveries', 'INSERT')").Scan(&mayInsert)
		if err == nil && !mayInsert {
			return fmt.Errorf("%w: this role lacks INSERT on terasocket.deliveries: `terasocket migrate grants ROLE --audit-deliveries` prints the GRANT", ErrCannot)
		}
	}
	switch code(err) {
	case "42883", "42P01": // undefined_function, undefined_table
		return fmt.Errorf("%w in this database: run `terasocket migrate up`", ErrCannot)
	case "42501": // insufficient_privilege
		return fmt.Errorf("%w: this role lacks a right, which `terasocket migrate grants ROLE --audit-deliveries` prints: %w", ErrCannot, err)
	}
	if err != nil {
		r.Log.Error("weeks of terasocket.deliveries not made or dropped, trying again", "op", "audit", "err", err)
	}
	return nil
}

// hasNoWeek reports whether there is no partition for a row: check_violation without a constraint.
func hasNoWeek(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "23514" && refused.ConstraintName == ""
}

// code returns the SQLSTATE of an error, "" if it has none.
func code(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// Keep creates the weeks that are due, and drops those that are over. Errors: the database's. A problem with a single week is only
// logged.
func (r *Recorder) Keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementWait)
	defer cancel()
	var dropped int
	var problems string
	if err := r.Pool.QueryRow(ctx, keepSQL, r.Retention).Scan(&dropped, &problems); err != nil {
		return fmt.Errorf("keep the weeks of terasocket.deliveries: %w", err)
	}
	if problems != "" {
		r.Log.Error("weeks of terasocket.deliveries not made or dropped, trying again in an hour", "op", "audit", "err", problems)
	}
	if dropped > 0 {
		r.Log.Info("weeks of terasocket.deliveries dropped after their retention", "op", "audit", "weeks", dropped)
	}
	return nil
}

// Flush records everything sent so far. What it cannot record is kept for the next time. Errors: the database's.
func (r *Recorder) Flush(ctx context.Context) (err error) {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	r.collect()
	isKept := false
	for len(r.rows) > 0 {
		batch := r.next()
		if err = r.record(ctx, batch); hasNoWeek(err) && !isKept {
			r.metrics.errors.Inc()
			if isKept, err = true, r.Keep(ctx); err == nil {
				continue
			}
		}
		var refused []Row
		if hasNoWeek(err) {
			refused, err = r.divided(ctx, batch)
		}
		if err != nil {
			r.metrics.errors.Inc()
			r.batch = max(1, len(batch)/2)
			break
		}
		r.batch = min(r.batch+r.batch/8+1, maxBatch)
		r.refuse(refused)
		for i := range batch {
			r.held.Add(-rowCost - int64(len(batch[i].Seqs)))
		}
		r.metrics.rows.Add(float64(len(batch) - len(refused)))
		if r.rows = r.rows[len(batch):]; len(r.rows) == 0 {
			r.rows = nil
		}
	}
	oldest := time.Time{}
	if len(r.rows) > 0 {
		oldest = r.rows[0].Since
	}
	r.metrics.oldest.Store(&oldest)
	if lost := r.lost.Swap(0); lost > 0 {
		r.Log.Error("the audit is not whole: too much waited to be recorded, and deliveries were lost", "op", "audit", "frames", lost)
	}
	return err
}

// next returns the rows of the next statement: one, or more if they have at most maxRuns.
func (r *Recorder) next() []Row {
	n, runs := 1, len(r.rows[0].Seqs)
	for ; n < min(r.batch, len(r.rows)); n++ {
		if runs += len(r.rows[n].Seqs); runs > maxRuns {
			break
		}
	}
	return r.rows[:n]
}

// Shown records at once that the console shows the contents of an event to somebody. Errors: the database's.
func (r *Recorder) Shown(ctx context.Context, who access.Identity, seq uint64, addr string) error {
	now := time.Now()
	err := r.record(ctx, []Row{{Kind: who.Kind.String(), UUID: who.UUID, Principal: who.ID, Opened: now, Address: addr, Mode: console, Frames: 1,
		Seqs: []Run{{seq, seq}}, Since: now, Until: now, number: r.numbers.Add(1)}})
	if err == nil {
		r.metrics.rows.Inc()
	}
	return err
}

// divided records as many rows as possible, by halves; refused are those for which no week can be created.
func (r *Recorder) divided(ctx context.Context, rows []Row) (refused []Row, err error) {
	half := (len(rows) + 1) / 2
	for _, part := range [][]Row{rows[:half], rows[half:]} {
		var more []Row
		switch err = r.record(ctx, part); {
		case !hasNoWeek(err):
		case len(part) == 1:
			more, err = part, nil
		default:
			more, err = r.divided(ctx, part)
		}
		if err != nil {
			return nil, err
		}
		refused = append(refused, more...)
	}
	return refused, nil
}

// refuse counts rows as lost.
func (r *Recorder) refuse(rows []Row) {
	frames := 0
	for i := range rows {
		frames += rows[i].Frames
	}
	if frames > 0 {
		r.metrics.lost.Add(float64(frames))
		r.Log.Error("the audit is not whole: terasocket.deliveries has no week for these, and none can be made: see the clock, and terasocket doctor --audit-deliveries",
			"op", "audit", "frames", frames, "until", rows[0].Until)
	}
}

// collect collects the rows of all trails.
func (r *Recorder) collect() {
	r.mu.Lock()
	trails := r.trails
	r.trails = nil
	r.mu.Unlock()
	for _, t := range trails {
		r.rows = append(r.rows, t.empty()...)
	}
}

func (r *Recorder) record(ctx context.Context, rows []Row) error {
	n := len(rows)
	kinds, uuids, principals := make([]string, n), make([]string, n), make([]int32, n)
	connections, opened, addresses, modes := make([]int64, n), make([]time.Time, n), make([]string, n), make([]string, n)
	frames, seqs, since, until, numbers := make([]int32, n), make([]string, n), make([]time.Time, n), make([]time.Time, n), make([]int64, n)
	for i := range rows {
		row := &rows[i]
		kinds[i], uuids[i], principals[i], connections[i], opened[i] = row.Kind, row.UUID, row.Principal, int64(row.Connection), row.Opened
		addresses[i], modes[i], frames[i], seqs[i], since[i], until[i] = row.Address, row.Mode, int32(row.Frames), ranges(row.Seqs), row.Since, row.Until
		numbers[i] = row.number
	}
	ctx, cancel := context.WithTimeout(ctx, statementWait)
	defer cancel()
	if _, err := r.Pool.Exec(ctx, recordSQL, r.Gateway, kinds, uuids, principals, connections, opened, addresses, modes, frames, seqs, since, until, numbers); err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	return nil
}

// ranges returns an array of int8range as text.
func ranges(runs []Run) string {
	text := make([]byte, 0, 2+len(runs)*40)
	text = append(text, '{')
	for i, run := range runs {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, `"[`...)
		text = strconv.AppendUint(text, run.First, 10)
		text = append(text, ',')
		text = strconv.AppendUint(text, run.Last, 10)
		text = append(text, `]"`...)
	}
	return string(append(text, '}'))
}
