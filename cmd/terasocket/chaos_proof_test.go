package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/db"
)

// proof compares what the clients heard with what the database says that they had to hear.
type proof struct {
	t       *testing.T
	pool    *pgxpool.Pool
	clients []*chaosClient
	from    int64 // seq: what came before is not judged, since the clients were still connecting

	rows  map[uint64]*logRow
	order []*logRow // by commit
	saw   map[sight]map[int]bool
	due   map[*chaosClient]map[uint64]string
	moot  map[*chaosClient]map[uint64]bool // due, but for whoever came back after the object had left his sight
	moves []*logRow                        // of participants, that are not in the log

	checked, unrecorded, lost, leaked, duplicated, reordered int
	complaints                                               []string
	said                                                     map[string]int
}

// logRow is a row of the event log with the change that made it.
type logRow struct {
	seq      uint64
	xid      uint64
	snapshot db.Snapshot
	text     string // of the snapshot
	commit   time.Time
	phase    int
	kind     string // type of message
	op, mark string
	object   string // type, or kind of whom a message is for
	id       int
	uuid     string
	presence string // CONNECTED, DISCONNECTED
	wasIn    int
	isIn     int
	isSilent bool
	writer   int
	n        int
}

// sight is an object in a phase.
type sight struct {
	phase  int
	object string
	id     int
}

// complain notes what is wrong: the first few of each kind.
func (p *proof) complain(format string, args ...any) {
	if p.said == nil {
		p.said = map[string]int{}
	}
	if p.said[format]++; p.said[format] <= 6 {
		p.complaints = append(p.complaints, fmt.Sprintf(format, args...))
	}
}

// read takes the truth from the database, and checks the log against the changes that committed.
func (p *proof) read(ctx context.Context) error {
	rows, err := p.pool.Query(ctx, `
		SELECT e.seq, e.xid::text, e.snapshot::text, pg_xact_commit_timestamp(e.xid::xid),
		       (SELECT count(*) FROM chaos.phases f WHERE f.last_seq < e.seq)::int,
		       e.type, coalesce(e.op, 'M'), m.mark, coalesce(c.object_type, e.object_type, lower(substring(e.type FROM '([A-Z][a-z]+)Event$'))),
		       coalesce(c.object_id, e.object_id, 0)::int,
		       lower(coalesce(e.body ->> 'ownerUuid', e.body ->> 'userUuid', e.body ->> 'participantUuid', e.body ->> 'deviceUuid', '')),
		       coalesce(e.body ->> 'type', ''), coalesce(c.was_in, 0), coalesce(c.is_in, 0), coalesce(c.is_silent, false), coalesce(c.writer, -1), coalesce(c.n, -1),
		       c.mark IS NOT NULL
		FROM   terasocket.events e
		CROSS  JOIN LATERAL (SELECT coalesce(e.body ->> 'archiveUrl', e.body ->> 'user_firstname', e.body ->> (e.object_type || '_name'), '') AS mark) m
		LEFT   JOIN chaos.changes c ON c.xid = e.xid AND (c.mark = m.mark OR c.op = 'D') AND c.op = coalesce(e.op, 'M')
		                           AND (e.object_id = c.object_id AND e.object_type = c.object_type OR e.op IS NULL AND e.body ->> 'ownerUuid' = c.told)
		WHERE  e.seq > $1 AND e.seq <= (SELECT max(last_seq) FROM chaos.phases)
		ORDER  BY 4, e.seq`, p.from)
	if err != nil {
		return err
	}
	defer rows.Close()
	p.rows = map[uint64]*logRow{}
	for rows.Next() {
		r := &logRow{}
		var xid string
		var isNumbered bool
		if err := rows.Scan(&r.seq, &xid, &r.text, &r.commit, &r.phase, &r.kind, &r.op, &r.mark, &r.object, &r.id, &r.uuid, &r.presence,
			&r.wasIn, &r.isIn, &r.isSilent, &r.writer, &r.n, &isNumbered); err != nil {
			return err
		}
		if _, err := fmt.Sscan(xid, &r.xid); err != nil {
			return err
		}
		if r.snapshot, err = db.ParseSnapshot(r.text); err != nil {
			return err
		}
		r.kind = strings.TrimPrefix(r.kind, "opentera.protobuf.")
		p.rows[r.seq] = r
		p.order = append(p.order, r)
		if isPresence := strings.HasSuffix(r.presence, "CONNECTED"); !isNumbered && !isPresence {
			p.complain("event %d is of no change that committed: %s %s %s %s %d %q", r.seq, r.kind, r.op, r.object, r.presence, r.id, r.mark)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for what, sql := range map[string]string{
		"committed, but not exactly once in the log": `
			SELECT c.op || ' ' || c.object_type || ' ' || c.object_id || ' ' || c.mark || ': ' || count(e.seq)
			FROM   chaos.changes c LEFT JOIN terasocket.events e ON e.xid = c.xid AND coalesce(e.op, 'M') = c.op
			       AND (e.object_type = c.object_type AND e.object_id = c.object_id AND (c.op = 'D' OR coalesce(e.body ->> 'user_firstname', e.body ->> (e.object_type || '_name')) = c.mark)
			            OR e.body ->> 'archiveUrl' = c.mark AND e.body ->> 'ownerUuid' = c.told)
			WHERE  NOT EXISTS (SELECT FROM terasocket.capture_errors f WHERE f.xid = c.xid AND f.table_name = 't_' || c.object_type || 's')
			GROUP  BY c.op, c.object_type, c.object_id, c.mark HAVING count(e.seq) <> 1 LIMIT 20`,
		"not recorded": "SELECT table_name || ': ' || message FROM terasocket.capture_errors WHERE sqlstate <> '53100' LIMIT 20",
		// statements that found no room in the log: each must be counted, and no other
		"counted wrongly": `
			SELECT c.xid || ' ' || c.object_type || ': ' || c.missing || ' changes are not in the log, ' || c.counted || ' were counted'
			FROM  (SELECT c.xid, c.object_type, count(DISTINCT c.mark) FILTER (WHERE e.seq IS NULL) AS missing,
			              (SELECT count(*) FROM terasocket.capture_errors f WHERE f.xid = c.xid AND f.table_name = 't_' || c.object_type || 's') AS counted
			       FROM   chaos.changes c
			       LEFT   JOIN terasocket.events e ON e.xid = c.xid AND e.op = c.op AND e.object_type = c.object_type AND e.object_id = c.object_id
			       WHERE  c.op <> 'M' AND EXISTS (SELECT FROM terasocket.capture_errors f WHERE f.xid = c.xid)
			       GROUP  BY c.xid, c.object_type) c
			WHERE  c.missing <> c.counted LIMIT 20`,
		// everybody comes and goes in turn, beginning with CONNECTED
		"comes or goes twice": `
			SELECT who || ' ' || seq || ': ' || type FROM (
				SELECT e.seq, e.body ->> 'type' AS type, w.who,
				       lag(e.body ->> 'type') OVER (PARTITION BY w.who ORDER BY pg_xact_commit_timestamp(e.xid::xid), e.seq) AS before
				FROM   terasocket.events e, LATERAL (SELECT coalesce(e.body ->> 'userUuid', e.body ->> 'participantUuid', e.body ->> 'deviceUuid') AS who) w
				WHERE  e.body ->> 'type' LIKE '%CONNECTED') x
			WHERE type = before OR before IS NULL AND type LIKE '%DISCONNECTED' LIMIT 20`,
	} {
		found, err := texts(ctx, p.pool, sql)
		if err != nil {
			return err
		}
		for _, f := range found {
			p.complain("%s: %s", what, f)
		}
	}
	if err := p.pool.QueryRow(ctx, "SELECT count(*) FROM terasocket.capture_errors").Scan(&p.unrecorded); err != nil {
		return err
	}
	if err := p.readMoves(ctx); err != nil {
		return err
	}
	return p.readSights(ctx)
}

// readMoves reads the moves of participants that found no room in the log.
func (p *proof) readMoves(ctx context.Context) error {
	rows, err := p.pool.Query(ctx, `
		SELECT c.object_id, c.was_in, c.is_in, pg_xact_commit_timestamp(c.xid::xid)
		FROM   chaos.changes c LEFT JOIN terasocket.events e ON e.xid = c.xid AND e.op = 'U' AND e.object_id = c.object_id
		WHERE  c.object_type = 'participant' AND c.was_in IS NOT NULL AND e.seq IS NULL`)
	if err != nil {
		return err
	}
	r := logRow{op: "U", object: "participant"}
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.wasIn, &r.isIn, &r.commit}, func() error {
		move := r
		p.moves = append(p.moves, &move)
		return nil
	})
	return err
}

func texts(ctx context.Context, pool *pgxpool.Pool, sql string) ([]string, error) {
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (p *proof) readSights(ctx context.Context) error {
	p.saw = map[sight]map[int]bool{}
	rows, err := p.pool.Query(ctx, "SELECT phase, object_type, object_id, viewer FROM chaos.saw")
	if err != nil {
		return err
	}
	var s sight
	var viewer int
	_, err = pgx.ForEachRow(rows, []any{&s.phase, &s.object, &s.id, &viewer}, func() error {
		if p.saw[s] == nil {
			p.saw[s] = map[int]bool{}
		}
		p.saw[s][viewer] = true
		return nil
	})
	return err
}

// entitle works out, from what each user saw in each phase, what each client had to hear.
func (p *proof) entitle() {
	p.due, p.moot = map[*chaosClient]map[uint64]string{}, map[*chaosClient]map[uint64]bool{}
	byUUID, byID := map[string]*chaosClient{}, map[string]*chaosClient{}
	var users []*chaosClient
	for _, c := range p.clients {
		p.due[c], p.moot[c] = map[uint64]string{}, map[uint64]bool{}
		byUUID[c.uuid], byID[c.String()] = c, c
		if c.kind == access.User {
			users = append(users, c)
		}
	}
	for _, r := range p.order {
		tell := func(s sight, what string, but sight) {
			for _, u := range users {
				if p.saw[s][u.id] && !p.saw[but][u.id] {
					p.due[u][r.seq] = what
				}
			}
		}
		switch {
		case r.presence != "":
			what := r.presence + " " + r.uuid
			subject := byUUID[r.uuid]
			if subject == nil {
				p.complain("event %d is about somebody who never connected: %s", r.seq, what)
				continue
			}
			p.due[subject][r.seq] = what
			s := sight{r.phase, subject.kind.String(), subject.id}
			if subject.kind == access.Participant {
				s = sight{r.phase, "project", projectOf(subject.id)}
			}
			tell(s, what, sight{})
		case r.op == "M":
			if c := byUUID[r.uuid]; c != nil {
				p.due[c][r.seq] = "M archive " + r.uuid + " " + r.mark
			}
		default:
			s, gone := sight{r.phase, r.object, r.id}, sight{}
			if r.object == "asset" { // it may be gone for good
				s = sight{r.phase, "session", r.isIn}
			}
			if r.object == "participant" {
				s = sight{r.phase, "project", r.isIn}
				if r.wasIn != 0 {
					gone = sight{r.phase, "project", r.wasIn}
				}
			}
			tell(s, fmt.Sprintf("%s %s %d %s", r.op, r.object, r.id, r.mark), sight{})
			if gone != (sight{}) {
				tell(gone, fmt.Sprintf("D %s %d ", r.object, r.id), s)
			}
		}
	}
}

// withhold marks what a replay, which asks for rights and memberships of its own moment, need not tell any more: how a
// participant was while he was in sight, or an asset before it was deleted. That he left it, and that it was, is due all the
// same.
func (p *proof) withhold() {
	all := append(slices.Clone(p.order), p.moves...)
	slices.SortStableFunc(all, func(a, b *logRow) int { return a.commit.Compare(b.commit) })
	for _, c := range p.clients {
		if c.kind != access.User || len(c.visits) < 2 {
			continue
		}
		outOfSight := map[int]bool{} // by participant or asset, whose ids differ, later on
		phase := 0
		for _, r := range slices.Backward(all) {
			if r.seq > 0 {
				phase = r.phase
			}
			if r.object == "asset" {
				if outOfSight[r.id] && p.due[c][r.seq] != "" {
					p.moot[c][r.seq] = true
				}
				outOfSight[r.id] = outOfSight[r.id] || r.wasIn != 0
				continue
			}
			if r.object != "participant" || r.wasIn == 0 {
				continue
			}
			if outOfSight[r.id] && strings.HasPrefix(p.due[c][r.seq], "U ") {
				p.moot[c][r.seq] = true
			}
			if !p.saw[sight{phase, "project", r.isIn}][c.id] {
				outOfSight[r.id] = true
			}
		}
	}
}

// projectOf is where chaos_world.sql puts a participant who may connect. Those stay there.
func projectOf(participant int) int { return 9101 + (participant-100000)%6 }

// compare goes through what each client heard.
func (p *proof) compare() {
	for _, c := range p.clients {
		heard := map[uint64]int{} // seq -> visit
		var inOrder []frameHeard  // first occurrences
		for v := range c.visits {
			inVisit := map[uint64]bool{}
			for _, f := range c.visits[v].frames {
				if int64(f.seq) <= p.from {
					continue
				}
				p.checked++
				due, isDue := p.due[c][f.seq]
				switch {
				case p.rows[f.seq] == nil:
					p.leaked++
					p.complain("%s heard what is not in the log: %d %s", c, f.seq, f.what)
				case !isDue:
					p.leaked++
					p.complain("%s heard what it must not: %d %s", c, f.seq, f.what)
				case due != f.what && !(p.moot[c][f.seq] && due[:1]+f.what[1:] == due[:strings.LastIndexByte(due, ' ')+1]):
					p.leaked++
					p.complain("%s heard %d %q, must hear %q", c, f.seq, f.what, due)
				}
				if inVisit[f.seq] {
					p.complain("%s heard %d twice on one connection", c, f.seq)
				}
				inVisit[f.seq] = true
				if before, again := heard[f.seq]; !again {
					heard[f.seq] = v
					inOrder = append(inOrder, f)
				} else if before != v {
					p.duplicated++
				}
			}
			p.weakOrder(fmt.Sprintf("%s, visit %d", c, v), c.visits[v].frames)
			p.ownOrder(fmt.Sprintf("%s, visit %d", c, v), c.visits[v].frames)
		}
		p.weakOrder(c.String(), inOrder)
		p.ownOrder(c.String(), inOrder)
		missing := slices.Sorted(maps.Keys(p.due[c]))
		missing = slices.DeleteFunc(missing, func(seq uint64) bool { _, ok := heard[seq]; return ok || p.moot[c][seq] })
		for i, seq := range missing {
			p.lost++
			if i < 3 {
				p.complain("%s never heard %d %q, committed %s\n%s", c, seq, p.due[c][seq], stamp(p.rows[seq].commit), p.visitsAround(c, seq))
			}
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// visitsAround tells where a client was when an event should have come.
func (p *proof) visitsAround(c *chaosClient, seq uint64) string {
	r := p.rows[seq]
	var s strings.Builder
	fmt.Fprintf(&s, "    xid %d, snapshot %s, silent %v, phase %d\n", r.xid, r.text, r.isSilent, r.phase)
	for i, v := range c.visits {
		end := v.opened
		if len(v.frames) > 0 {
			end = v.frames[len(v.frames)-1].at
		}
		if i+1 < len(c.visits) && c.visits[i+1].opened.Before(r.commit.Add(-3*time.Second)) || v.opened.After(r.commit.Add(20*time.Second)) {
			continue
		}
		fmt.Fprintf(&s, "    visit %d at %s from %s since=%d", i, v.gateway, stamp(v.opened), v.since)
		if since := p.rows[v.since]; since != nil {
			fmt.Fprintf(&s, " (xid %d, snapshot %s, committed %s)", since.xid, since.text, stamp(since.commit))
		}
		fmt.Fprintf(&s, ", %d frames", len(v.frames))
		if n := len(v.frames); n > 0 {
			fmt.Fprintf(&s, " %d..%d", v.frames[0].seq, v.frames[n-1].seq)
		}
		fmt.Fprintf(&s, ", last heard %s, %s\n", stamp(end), v.end)
	}
	return s.String()
}

// weakOrder: whoever hears an event has heard before it what was committed before it was recorded. That is what a
// client's cursor promises, and holds after a catch-up and in a replay too.
func (p *proof) weakOrder(who string, frames []frameHeard) {
	var newest *logRow
	for _, f := range frames {
		r := p.rows[f.seq]
		if r == nil || r.isSilent { // found by a look at the log, after what came with a notification
			continue
		}
		if newest != nil && newest.xid != r.xid && newest.snapshot.Sees(r.xid) {
			p.reordered++
			p.complain("%s heard %d (xid %d, snapshot %s, committed %s) at %s after %d (xid %d, snapshot %s, committed %s), which was recorded when it was committed",
				who, f.seq, r.xid, r.text, stamp(r.commit), stamp(f.at), newest.seq, newest.xid, newest.text, stamp(newest.commit))
		}
		if newest == nil || isLater(r, newest) {
			newest = r
		}
	}
}

// isLater: snapshots of one server follow each other; the later sees more.
func isLater(a, b *logRow) bool {
	ax, bx := bounds(a.text), bounds(b.text)
	if ax[1] != bx[1] {
		return ax[1] > bx[1]
	}
	if ax[0] != bx[0] {
		return ax[0] > bx[0]
	}
	return len(a.text) < len(b.text)
}

func bounds(text string) (b [2]uint64) {
	_, _ = fmt.Sscanf(text, "%d:%d:", &b[0], &b[1])
	return b
}

// ownOrder does not believe the log: the changes of one object, and those of one writer, come in the order in which they
// were made.
func (p *proof) ownOrder(who string, frames []frameHeard) {
	objects, writers := map[string]*logRow{}, map[int]*logRow{}
	for _, f := range frames {
		r := p.rows[f.seq]
		if r == nil || r.writer < 0 || r.isSilent {
			continue
		}
		if last := writers[r.writer]; last != nil && (last.n > r.n || last.n == r.n && last.seq > r.seq) {
			p.reordered++
			p.complain("%s heard %d (%s) after %d (%s) of the same writer", who, r.seq, r.mark, last.seq, last.mark)
		}
		writers[r.writer] = r
		if r.op == "M" {
			continue
		}
		key := fmt.Sprint(r.object, r.id)
		if last := objects[key]; last != nil && last.commit.After(r.commit) {
			p.reordered++
			p.complain("%s heard %d (%s) after %d (%s) of the same object", who, r.seq, r.mark, last.seq, last.mark)
		}
		objects[key] = r
	}
}

// strongOrder: what came live, without a catch-up, came in the order of commits. It returns how many frames it looked at.
func (p *proof) strongOrder(catchUps map[*process][]time.Time) (n int) {
	for _, c := range p.clients {
		for _, v := range c.visits {
			if v.live.IsZero() {
				continue
			}
			until := time.Now()
			for _, at := range catchUps[v.gateway] {
				if at.After(v.live) && at.Before(until) {
					until = at
				}
			}
			var last *logRow
			for _, f := range v.frames {
				r := p.rows[f.seq]
				if r == nil || r.isSilent || f.at.Before(v.live) || !f.at.Before(until) {
					continue
				}
				n++
				if last != nil && r.commit.Before(last.commit) {
					p.reordered++
					p.complain("%s heard live %d, committed %s, after %d, committed %s", c, r.seq, r.commit.Format("15:04:05.000000"), last.seq, last.commit.Format("15:04:05.000000"))
				}
				last = r
			}
		}
	}
	return n
}

// audiences compares the other witness with ours: terasocket.audience() at the end, for everybody whose rights did not
// change.
func (p *proof) audiences(ctx context.Context, changed map[int]bool) error {
	rows, err := p.pool.Query(ctx, `
		WITH k AS (SELECT array_agg(DISTINCT key) AS keys FROM (
			SELECT audience::text AS key FROM terasocket.events WHERE seq > $1 UNION SELECT former::text FROM terasocket.events WHERE seq > $1 AND former_body IS NOT NULL) x),
		a AS (SELECT k.keys[a.ord] AS key, a.kind, a.ids FROM k, terasocket.audience(k.keys) a)
		SELECT e.seq, coalesce(a.kind, 0)::int, coalesce(a.ids, '{}'), coalesce(f.ids, '{}')
		FROM   terasocket.events e
		LEFT   JOIN a ON a.key = e.audience::text
		LEFT   JOIN a f ON e.former_body IS NOT NULL AND f.key = e.former::text AND f.kind = 1
		WHERE  e.seq > $1`, p.from)
	if err != nil {
		return err
	}
	said := map[uint64]map[string]bool{}
	var seq uint64
	var kind int
	var ids, former []int32
	_, err = pgx.ForEachRow(rows, []any{&seq, &kind, &ids, &former}, func() error {
		if said[seq] == nil {
			said[seq] = map[string]bool{}
		}
		name := []string{"user", "user", "participant", "device"}[kind]
		for _, id := range ids {
			said[seq][fmt.Sprint(name, " ", id)] = true
		}
		for _, id := range former {
			said[seq][fmt.Sprint("user ", id)] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range p.clients {
		if c.kind == access.User && changed[c.id] {
			continue
		}
		for _, r := range p.order {
			_, isDue := p.due[c][r.seq]
			if isDue != said[r.seq][c.String()] {
				p.complain("the witnesses disagree on %s and %d %s %s %d: ours says %v, terasocket.audience() the opposite", c, r.seq, r.op, r.object, r.id, isDue)
			}
		}
	}
	return nil
}

// endings counts how connections ended.
func (p *proof) endings() string {
	count := map[string]int{}
	for _, c := range p.clients {
		for _, v := range c.visits {
			count[v.end]++
		}
	}
	var s []string
	for end, n := range count {
		s = append(s, fmt.Sprintf("%s %d", end, n))
	}
	sort.Strings(s)
	return strings.Join(s, ", ")
}
