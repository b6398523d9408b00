package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// announcementChecks check that captured changes are announced.
func (d *doctor) announcementChecks() []check {
	return []check{
		{name: "capture-errors", needs: []string{"migrations"}, ask: d.owning.asks(captureGoesWell)},
		{name: "filled", needs: []string{"migrations"}, ask: d.owning.asks(isFilled)},
		{name: "changes", needs: []string{"migrations"}, ask: d.owning.asks(changesAreAnnounced)},
		{name: "set-aside", needs: []string{"migrations"}, ask: d.owning.asks(nothingIsSetAside)},
	}
}

// captureGoesWell looks for changes that triggers could not record as usual.
func captureGoesWell(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var n, waiting, last int64
	if err := tx.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE announced_at IS NULL), coalesce(max(id), 0) FROM terasocket.capture_errors").
		Scan(&n, &waiting, &last); err != nil || n == 0 {
		return fine("none"), err
	}
	var first, at time.Time
	var table, op, state, message string
	err := tx.QueryRow(ctx, `SELECT (SELECT min(at) FROM terasocket.capture_errors), at, table_name, op, sqlstate, left(message, 200)
		FROM terasocket.capture_errors WHERE id = $1`, last).Scan(&first, &at, &table, &op, &state, &message)
	found := fmt.Sprintf("%d since %s; the newest at %s: %s of %s: SQLSTATE %s, %s", n, stamp(first), stamp(at), op, table, state, message)
	if waiting > 0 {
		return fail(fmt.Sprintf("%s; %d of them are not announced yet", found, waiting),
			"a gateway announces them: see that one runs, and its log. Mend the cause: a changed OpenTera needs a newer terasocket; the table's context says where"), err
	}
	return warn(found+"; all are announced", "mend the cause: a changed OpenTera needs a newer terasocket; the table's context says where. "+
		fmt.Sprintf("Then, as the owner, run: DELETE FROM terasocket.capture_errors WHERE id <= %d;", last)), err
}

// isFilled: nothing is announced before the tables of what clients were told are filled.
func isFilled(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var is bool
	var step string
	err := tx.QueryRow(ctx, "SELECT terasocket.is_filled(), coalesce((SELECT fill_type FROM terasocket.announcer), '')").Scan(&is, &step)
	if err == nil && !is {
		return fail("OpenTera's objects are still being read, at "+step+": until then nothing is announced, and no socket is let in",
			"a gateway does it, or `terasocket migrate up`: see that one runs"), nil
	}
	return fine("all of OpenTera's objects are known"), err
}

// changesAreAnnounced looks at pending changes: how many, how old, and how close to the bound of terasocket.changes.
func changesAreAnnounced(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var rows, size int64
	var oldest time.Duration
	var isOver bool
	err := tx.QueryRow(ctx, `SELECT count(*), coalesce(clock_timestamp() - min(c.at), '0'), pg_relation_size('terasocket.changes'), terasocket.changes_overflow()
		FROM (SELECT at FROM terasocket.changes ORDER BY xid, id LIMIT 10000) c`).Scan(&rows, &oldest, &size, &isOver)
	return judgeChanges(rows, oldest, size, isOver), err
}

// judgeChanges: gateways announce within a second. A long transaction does not count: its changes are not visible yet.
func judgeChanges(rows int64, oldest time.Duration, size int64, isOver bool) Finding {
	found := fmt.Sprintf("%d wait", rows)
	if rows >= 10_000 {
		found = "10,000 or more wait"
	}
	found += fmt.Sprintf(", the table has %d MB", size>>20)
	const todo = "a gateway announces them: see that one runs, and its log for \"not announced\""
	switch {
	case isOver:
		return fail(found+", more than its bound (terasocket.max_changes_bytes): what changes is not recorded any more one by one",
			todo+"; it then reads all objects anew, and every client begins anew")
	case rows > 0 && oldest > time.Minute:
		return fail(fmt.Sprintf("%s, the oldest for %s", found, oldest.Round(time.Second)), todo)
	}
	return fine("%s", found)
}

// nothingIsSetAside lists objects that could not be announced.
func nothingIsSetAside(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, `SELECT format('%s %s since %s (SQLSTATE %s, %s)', object_type, id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), sqlstate, left(message, 200))
		FROM terasocket.set_aside ORDER BY at DESC`)
	if err != nil {
		return Finding{}, err
	}
	aside, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(aside) == 0 {
		return fine("none"), err
	}
	const most = 3
	found := strings.Join(aside[:min(most, len(aside))], "; ")
	if len(aside) > most {
		found += fmt.Sprintf("; and %d more", len(aside)-most)
	}
	return warn("could not be announced: "+found, "clients see an older state of these. Each is tried again when it changes: mend the cause, and write it again in OpenTera"), nil
}
