package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// auditChecks check that deliveries can be recorded, and who can change the records.
func (d *doctor) auditChecks() []check {
	return []check{{name: "audit", needs: []string{"migrations", "rights"}, ask: d.serving.asks(d.deliveriesAreKept)}}
}

// deliveries is the state of terasocket.deliveries.
type deliveries struct {
	role        string
	mayChange   bool       // the role may update or delete rows
	since, over *time.Time // begin and end of the oldest week; nil: none
	coveredTo   *time.Time // end of the current week's partition, or of the last one
	madeTo      *time.Time // end of the newest partition
}

func (d *doctor) deliveriesAreKept(ctx context.Context, tx pgx.Tx) (Finding, error) {
	if !d.AuditDeliveries {
		return skip("not asked for", "where serve runs with --audit-deliveries, say it here as well"), nil
	}
	var isThere bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('terasocket.deliveries') IS NOT NULL AND to_regprocedure('terasocket.keep_deliveries(interval)') IS NOT NULL").Scan(&isThere); err != nil || !isThere {
		return fail("terasocket.deliveries, or the function that keeps it, is missing", "run `terasocket migrate up`"), err
	}
	var is deliveries
	err := tx.QueryRow(ctx, `SELECT current_user::text, has_table_privilege(t.oid, 'UPDATE, DELETE, TRUNCATE'), weeks.*
		FROM   (SELECT 'terasocket.deliveries'::regclass AS oid) t,
		LATERAL (SELECT min(w.since) AS since, min(w.since) + interval '7 days' AS over,
		                max(w.since) FILTER (WHERE w.since <= clock_timestamp()) + interval '7 days' AS until,
		                max(w.since) + interval '7 days' AS made
		         FROM   pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relnamespace = 'terasocket'::regnamespace, -- as in terasocket.delivery_weeks
		         LATERAL (SELECT substring(c.relname FROM '^deliveries_([1-9]\d{7})$') AS day) d,
		         LATERAL (SELECT make_date(left(d.day, 4)::integer, 1, 1) + make_interval(months => substr(d.day, 5, 2)::integer - 1, days => right(d.day, 2)::integer - 1) AS first) f,
		         LATERAL (SELECT f.first AT TIME ZONE 'UTC' AS since) w
		         WHERE i.inhparent = t.oid AND to_char(f.first, 'YYYYMMDD') = d.day) weeks`).
		Scan(&is.role, &is.mayChange, &is.since, &is.over, &is.coveredTo, &is.madeTo)
	return judgeDeliveries(is, d.now(), d.AuditRetention), err
}

// judgeDeliveries allows gateways, which drop weeks once an hour, a day.
func judgeDeliveries(is deliveries, now time.Time, retention time.Duration) Finding {
	switch {
	case is.since == nil:
		return warn("nothing was recorded yet", "start `terasocket serve --audit-deliveries`")
	case is.coveredTo == nil || is.coveredTo.Before(now):
		return fail("there is no week for what is sent now: it cannot be recorded",
			"see that a gateway runs with --audit-deliveries, and its log for \"weeks of terasocket.deliveries not made\"")
	}
	found := "recorded by weeks, from " + is.since.UTC().Format(time.DateOnly) + " on"
	switch {
	case is.madeTo.Before(now.Add(8 * 24 * time.Hour)):
		return warn(found+"; after "+is.madeTo.UTC().Format(time.DateOnly)+" there is no week", "gateways make weeks two weeks ahead: see their log for \"weeks of terasocket.deliveries not made\"")
	case is.over.Before(now.Add(-retention - 24*time.Hour)):
		return warn(found+fmt.Sprintf("; it should hold %s", retention),
			"gateways drop weeks, but for a transaction that has read them: see transactions, and that they run with this --audit-retention")
	case is.mayChange:
		return warn(found+"; "+is.role+", as which gateways serve, may change and delete what is recorded",
			"serve as a role of its own, which owns nothing: `terasocket migrate grants ROLE --audit-deliveries` prints what it needs")
	}
	return fine("%s; %s may add to it and change nothing", found, is.role)
}
