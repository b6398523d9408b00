package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// change is a numbered change that committed.
type change struct {
	op, mark  string // C, U, S (soft delete and nothing else), D; M: a message
	object    string // type, or kind of the recipient of a message
	id        int
	told      string
	wasIn     int // project of a participant before the change, 0 unless it moved
	isIn      int // project of a participant, session of an asset
	writer, n int
	isSilent  bool
	commit    time.Time

	times int // how often a message is in the log
}

// logRow is a row of the event log for clients, with the change that it announces.
type logRow struct {
	seq      uint64
	at       time.Time // captured
	phase    int
	op, mark string // C, U, G, D; M: a message
	object   string
	id       int
	uuid     string
	presence string // USER_CONNECTED etc.
	change   *change

	had        bool // it existed before
	wasIn, now int  // its place before, and now
}

func (r *logRow) key() string { return fmt.Sprint(r.object, " ", r.id) }

// thing is the state of an object while the log is read.
type thing struct {
	changes []*change // in commit order
	told    int       // how many of them are announced, or superseded by a newer one
	exists  bool
	isIn    int
	dead    bool // its deletion was announced
}

// readLog reads the log in the order of seq and compares it with what committed: each message is announced once; the numbers of
// an object never decrease, some may be skipped, and the last is announced.
func (p *proof) readLog(ctx context.Context) error {
	things, messages, err := p.readChanges(ctx)
	if err != nil {
		return err
	}
	rows, err := p.pool.Query(ctx, `
		SELECT e.seq, e.at, (SELECT count(*) FROM chaos.phases f WHERE f.last_seq < e.seq)::int, coalesce(e.op, 'M'),
		       coalesce(e.object_type, lower(substring(e.type FROM '([A-Z][a-z]+)Event$')), ''), coalesce(e.object_id, 0)::int,
		       coalesce(e.body ->> 'archiveUrl', e.body ->> 'user_firstname', e.body ->> (e.object_type || '_name'), ''),
		       lower(coalesce(e.body ->> 'ownerUuid', e.body ->> 'userUuid', e.body ->> 'participantUuid', e.body ->> 'deviceUuid', '')),
		       coalesce(e.body ->> 'type', '')
		FROM   terasocket.events e
		WHERE  e.seq > $1 AND e.seq <= (SELECT max(last_seq) FROM chaos.phases) AND e.type LIKE 'opentera.%'
		ORDER  BY e.seq`, p.from)
	if err != nil {
		return err
	}
	p.rows = map[uint64]*logRow{}
	var next logRow
	_, err = pgx.ForEachRow(rows, []any{&next.seq, &next.at, &next.phase, &next.op, &next.object, &next.id, &next.mark, &next.uuid, &next.presence}, func() error {
		r := next
		p.rows[r.seq] = &r
		p.order = append(p.order, &r)
		switch {
		case strings.HasSuffix(r.presence, "CONNECTED"):
		case r.op == "M":
			if r.change = messages[r.uuid+" "+r.mark]; r.change == nil {
				p.complain("message %d is of no transaction that committed: %s %q", r.seq, r.uuid, r.mark)
			} else if r.change.times++; r.change.times > 1 {
				p.complain("message %s to %s is in the log %d times", r.mark, r.uuid, r.change.times)
			}
		case things[r.key()] == nil:
			p.complain("event %d is of an object that nobody changed: %s %s %q", r.seq, r.op, r.key(), r.mark)
		default:
			p.follow(&r, things[r.key()])
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range messages {
		if m.times == 0 {
			p.complain("message %s to %s was committed %s and never announced", m.mark, m.told, stamp(m.commit))
		}
	}
	for key, o := range things {
		last := o.changes[len(o.changes)-1]
		isGone := last.op == "D" || last.op == "S"
		if isGone && o.exists || !isGone && o.told < len(o.changes) {
			p.complain("of %s the last change %s %q, committed %s, was never announced", key, last.op, last.mark, stamp(last.commit))
		}
	}
	return nil
}

// readChanges returns what committed: by object, and messages by recipient and mark.
func (p *proof) readChanges(ctx context.Context) (map[string]*thing, map[string]*change, error) {
	rows, err := p.pool.Query(ctx, `
		SELECT op, mark, object_type, object_id, told, coalesce(was_in, 0), coalesce(is_in, 0), writer, n, is_silent, pg_xact_commit_timestamp(xid::xid)
		FROM   chaos.changes
		WHERE  NOT (op = 'M' AND writer = 0 AND n <= $1) -- sentinels that came before
		ORDER  BY pg_xact_commit_timestamp(xid::xid), id`, p.sentinel)
	if err != nil {
		return nil, nil, err
	}
	things, messages := map[string]*thing{}, map[string]*change{}
	var next change
	_, err = pgx.ForEachRow(rows, []any{&next.op, &next.mark, &next.object, &next.id, &next.told, &next.wasIn, &next.isIn, &next.writer, &next.n, &next.isSilent, &next.commit}, func() error {
		c := next
		if c.op == "M" {
			messages[c.told+" "+c.mark] = &c
			return nil
		}
		key := fmt.Sprint(c.object, " ", c.id)
		o := things[key]
		if o == nil {
			o = &thing{exists: c.op != "C", isIn: c.isIn}
			if c.wasIn != 0 {
				o.isIn = c.wasIn
			}
			things[key] = o
		}
		o.changes = append(o.changes, &c)
		return nil
	})
	return things, messages, err
}

// follow finds the change that a row of an object announces, and sets where the object was before and is now.
func (p *proof) follow(r *logRow, o *thing) {
	r.had, r.wasIn = o.exists, o.isIn
	if o.dead {
		p.complain("event %d is of an object that is gone: %s %s %q", r.seq, r.op, r.key(), r.mark)
		return
	}
	if r.op == "D" || r.op == "G" {
		last := o.changes[len(o.changes)-1]
		if isGone := last.op == "D" || last.op == "S"; !isGone || r.op == "G" && last.op != "S" || !o.exists {
			p.complain("event %d says that %s is gone, %s; its last change is %s %q", r.seq, r.key(), r.op, last.op, last.mark)
		}
		o.exists, o.dead, o.told, r.change = false, true, len(o.changes), last
		return
	}
	from := max(0, o.told-1) // two changes announced in two parts of one snapshot are announced by the last
	for i, c := range o.changes[from:] {
		if c.mark == r.mark && (c.op == "C" || c.op == "U") {
			o.told, o.isIn, o.exists = from+i+1, c.isIn, true
			r.change, r.now = c, c.isIn
			return
		}
	}
	p.complain("event %d of %s says %q, which did not commit, or is older than what was told", r.seq, r.key(), r.mark)
}

// question is a query that returns what is wrong.
type question struct{ what, sql string }

var logQuestions = []question{
	{"captured, and not announced", "SELECT what || ' ' || op || ' ' || xid FROM terasocket.changes WHERE what <> 'presence' LIMIT 20"},
	{"not captured, and not announced", "SELECT table_name || ': ' || message FROM terasocket.capture_errors WHERE announced_at IS NULL LIMIT 20"},
	// 53100: the disk is full; 55P03: the table was locked for too long
	{"not captured properly", "SELECT table_name || ' ' || sqlstate || ': ' || message FROM terasocket.capture_errors WHERE sqlstate NOT IN ('53100', '55P03') LIMIT 20"},
	{"set aside", "SELECT object_type || ' ' || id || ': ' || sqlstate || ' ' || message FROM terasocket.set_aside LIMIT 20"},
	{"a hole in the log", `
		SELECT before || ' ' || seq FROM (SELECT e.seq, lag(e.seq) OVER (ORDER BY e.seq) AS before FROM terasocket.events e) x
		WHERE seq <> before + 1 AND NOT EXISTS (SELECT FROM terasocket.epochs b WHERE b.begin = x.seq - 1 AND b.old_end = x.before) LIMIT 20`},
	// connects and disconnects alternate, beginning with CONNECTED
	{"connects or disconnects twice", `
		SELECT who || ' ' || seq || ': ' || type FROM (
			SELECT e.seq, e.body ->> 'type' AS type, w.who, lag(e.body ->> 'type') OVER (PARTITION BY w.who ORDER BY e.seq) AS before
			FROM   terasocket.events e, LATERAL (SELECT coalesce(e.body ->> 'userUuid', e.body ->> 'participantUuid', e.body ->> 'deviceUuid') AS who) w
			WHERE  e.body ->> 'type' LIKE '%CONNECTED') x
		WHERE type = before OR before IS NULL AND type LIKE '%DISCONNECTED' LIMIT 20`},
}

// ask complains of the rows that these return.
func (p *proof) ask(ctx context.Context, questions []question) error {
	for _, q := range questions {
		found, err := texts(ctx, p.pool, q.sql)
		if err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
		for _, f := range found {
			p.complain("%s: %s", q.what, f)
		}
	}
	return p.pool.QueryRow(ctx, "SELECT (SELECT count(*) FROM terasocket.capture_errors), (SELECT count(*) FROM terasocket.epochs)").Scan(&p.uncaptured, &p.epochs)
}

func texts(ctx context.Context, pool *pgxpool.Pool, sql string) ([]string, error) {
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
