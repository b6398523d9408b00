package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// logChecks check the event log and the notification queue, and what holds them up.
func (d *doctor) logChecks() []check {
	return []check{
		{name: "notify-queue", needs: []string{"primary"}, ask: d.owning.asks(queueHasRoom)},
		{name: "log", needs: []string{"migrations"}, ask: d.owning.asks(d.logIsTrimmed)},
		{name: "transactions", needs: []string{"database"}, ask: d.owning.asks(d.nobodyHoldsUp)},
	}
}

// isMainSession matches OpenTera's main session in pg_stat_activity: its main thread keeps one transaction open for as long as
// it runs, idle, with ACCESS SHARE on OpenTera's tables. It has written nothing, has no snapshot and does not listen, so it
// holds up only migrate down; ending it would break OpenTera until its next start.
const isMainSession = `(state = 'idle in transaction' AND backend_xid IS NULL AND backend_xmin IS NULL AND EXISTS (
	SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = pg_stat_activity.pid AND l.mode = 'AccessShareLock'
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND c.relname LIKE 't\_%' AND c.relnamespace = (` + openTeraSchema + `)))`

func queueHasRoom(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var usage float64
	var holder string
	err := tx.QueryRow(ctx, `SELECT pg_notification_queue_usage(), coalesce((SELECT format('%s, process %s of role %s, idle in transaction since %s',
		datname, pid, usename, to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'))
		FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND NOT (datname = current_database() AND `+isMainSession+`) ORDER BY xact_start LIMIT 1), '')`).
		Scan(&usage, &holder)
	return judgeQueue(usage, holder), err
}

// judgeQueue: from 90 % on, terasocket sends nothing; at 100 % every commit with a NOTIFY in it fails, of any program.
func judgeQueue(usage float64, holder string) Finding {
	found := fmt.Sprintf("%.0f %% full", usage*100)
	todo := "a session that listens has a transaction open: end it"
	if holder != "" {
		todo += ". The longest: " + holder
	}
	switch {
	case usage >= 0.5:
		return fail(found, todo)
	case usage >= 0.1:
		return warn(found, todo)
	}
	return fine("%s", found)
}

func (d *doctor) logIsTrimmed(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var rows int64
	var oldest, newest time.Duration
	if err := tx.QueryRow(ctx, `SELECT count(*), coalesce(clock_timestamp() - min(at), '0'), coalesce(clock_timestamp() - max(at), '0')
		FROM terasocket.events`).Scan(&rows, &oldest, &newest); err != nil {
		return Finding{}, err
	}
	return judgeLog(rows, oldest, newest, d.Retention, d.MaxRows), nil
}

// judgeLog allows the trimmer, which runs every minute, some time.
func judgeLog(rows int64, oldest, newest, retention time.Duration, maxRows int64) Finding {
	if rows == 0 {
		return fine("empty")
	}
	found := fmt.Sprintf("%d events, the oldest %s old, the newest %s", rows, oldest.Round(time.Second), newest.Round(time.Second))
	if oldest > retention+10*time.Minute || rows > maxRows+maxRows/10 {
		return warn(found+fmt.Sprintf("; it should hold %s and %d events at most", retention, maxRows),
			"gateways trim it: see that one runs, with these --log-retention and --log-max-rows, and its log for \"event log not trimmed\"")
	}
	return fine("%s", found)
}

// nobodyHoldsUp lists long transactions: their changes are not announced yet, and they keep vacuum from cleaning up.
func (d *doctor) nobodyHoldsUp(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, `SELECT format('process %s of role %s in %s (%s, %s)', pid, usename, datname, coalesce(state, '?'), date_trunc('second', clock_timestamp() - xact_start)),
		       format('SELECT pg_terminate_backend(%s);', pid)
		FROM   pg_stat_activity
		WHERE  pid <> pg_backend_pid() AND backend_type = 'client backend' AND datname = current_database() AND clock_timestamp() - xact_start > $1::interval
		AND    NOT `+isMainSession+`
		UNION  ALL
		SELECT format('prepared transaction %L of role %s (%s)', gid, owner, date_trunc('second', clock_timestamp() - prepared)), format('ROLLBACK PREPARED %L;', gid)
		FROM   pg_prepared_xacts WHERE database = current_database() AND clock_timestamp() - prepared > $1::interval`, d.long)
	if err != nil {
		return Finding{}, err
	}
	var open, ends []string
	var what, end string
	if _, err = pgx.ForEachRow(rows, []any{&what, &end}, func() error {
		open, ends = append(open, what), append(ends, end)
		return nil
	}); err != nil {
		return Finding{}, err
	}
	if len(open) > 0 {
		return warn(fmt.Sprintf("open for more than %s: %s", d.long, strings.Join(open, ", ")),
			"let their programs end them; to end them by force, and undo what they did, run: "+strings.Join(ends, " ")), nil
	}
	var seesAll bool
	var mains []string
	if err := tx.QueryRow(ctx, `SELECT pg_has_role('pg_read_all_stats', 'USAGE'), ARRAY(SELECT pid::text FROM pg_stat_activity
		WHERE datname = current_database() AND clock_timestamp() - xact_start > $1::interval AND `+isMainSession+` ORDER BY 1)`, d.long).Scan(&seesAll, &mains); err != nil {
		return Finding{}, err
	}
	if len(mains) > 0 {
		return fine("none that holds anything up for more than %s; OpenTera's main session (process %s) is idle and stays so: it is in the way of migrate down alone",
			d.long, strings.Join(mains, ", ")), nil
	}
	if !seesAll {
		return fine("none of this role's is open for more than %s; those of others it may not see (GRANT pg_read_all_stats)", d.long), nil
	}
	return fine("none open for more than %s", d.long), nil
}
