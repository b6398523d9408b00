package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
)

// proof compares what the clients received with what they should have: the log in the order of seq (log_test.go), filtered by
// what each of them could see. Every due event arrives, in this order, and nothing else. An event is due to those who see its
// object now or saw it at the previous event: newer numbers may supersede older ones, for all clients alike.
type proof struct {
	t        *testing.T
	pool     *pgxpool.Pool
	clients  []*client
	from     int64 // seq: earlier events are not judged, since the clients were still connecting
	sentinel int   // the last one before from

	rows  map[uint64]*logRow
	order []*logRow
	saw   map[sight]map[int]bool
	due   map[*client]map[uint64]string

	checked, uncaptured, epochs, lost, leaked, duplicated, reordered int
	complaints                                                       []string
	said                                                             map[string]int
}

// sight is an object in a phase.
type sight struct {
	phase  int
	object string
	id     int
}

// complain records a problem: the first few of each kind.
func (p *proof) complain(format string, args ...any) {
	if p.said == nil {
		p.said = map[string]int{}
	}
	if p.said[format]++; p.said[format] <= 6 {
		p.complaints = append(p.complaints, fmt.Sprintf(format, args...))
	}
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

// sees returns who sees the object of a row when it is in this project or session.
func (p *proof) sees(r *logRow, in int) map[int]bool {
	switch r.object {
	case "participant":
		return p.saw[sight{r.phase, "project", in}]
	case "asset":
		return p.saw[sight{r.phase, "session", in}]
	}
	return p.saw[sight{r.phase, r.object, r.id}]
}

// entitle derives, from what each user saw in each phase, what each client should have received.
func (p *proof) entitle() {
	p.due = map[*client]map[uint64]string{}
	byUUID := map[string]*client{}
	var users []*client
	for _, c := range p.clients {
		p.due[c] = map[uint64]string{}
		byUUID[c.uuid] = c
		if c.kind == access.User {
			users = append(users, c)
		}
	}
	for _, r := range p.order {
		switch {
		case r.presence != "":
			subject := byUUID[r.uuid]
			if subject == nil {
				p.complain("event %d is about somebody who never connected: %s %s", r.seq, r.presence, r.uuid)
				continue
			}
			s := sight{r.phase, subject.kind.String(), subject.id}
			if subject.kind == access.Participant {
				s = sight{r.phase, "project", projectOf(subject.id)}
			}
			for _, u := range append(users, subject) {
				if u == subject || p.saw[s][u.id] {
					p.due[u][r.seq] = r.presence + " " + r.uuid
				}
			}
		case r.op == "M":
			if c := byUUID[r.uuid]; c != nil {
				p.due[c][r.seq] = "M archive " + r.uuid + " " + r.mark
			}
		default:
			for _, u := range users {
				if form := p.form(r, u.id); form != "" {
					p.due[u][r.seq] = form
				}
			}
		}
	}
}

// form returns what a user receives about an object: create, update, delete, or nothing.
func (p *proof) form(r *logRow, user int) string {
	saw := r.had && p.sees(r, r.wasIn)[user]
	sees := (r.op == "C" || r.op == "U") && p.sees(r, r.now)[user]
	what := fmt.Sprintf("%s %s", r.key(), r.mark)
	switch {
	case sees && saw, saw && r.op == "G":
		return "U " + what
	case sees:
		return "C " + what
	case saw:
		return "D " + r.key() + " "
	}
	return ""
}

// projectOf returns the project in which world.sql puts a participant who may connect. Those do not move.
func projectOf(participant int) int { return 9101 + (participant-100000)%6 }

// compare checks what each client received.
func (p *proof) compare() {
	for _, c := range p.clients {
		heard := map[uint64]int{} // seq -> visit
		var inOrder []frameHeard  // first occurrences
		for v := range c.visits {
			var frames []frameHeard
			for _, f := range c.visits[v].frames {
				if int64(f.seq) <= p.from || f.what == "Cursor" {
					continue
				}
				p.checked++
				p.judge(c, f)
				frames = append(frames, f)
				if before, again := heard[f.seq]; !again {
					heard[f.seq] = v
					inOrder = append(inOrder, f)
				} else if before != v {
					p.duplicated++
				}
			}
			p.inOrder(fmt.Sprintf("%s, visit %d", c, v), frames)
		}
		p.inOrder(c.String(), inOrder)
		missing := slices.Sorted(maps.Keys(p.due[c]))
		missing = slices.DeleteFunc(missing, func(seq uint64) bool { _, ok := heard[seq]; return ok })
		for i, seq := range missing {
			p.lost++
			if i < 3 {
				p.complain("%s never heard %d %q, captured %s\n%s", c, seq, p.due[c][seq], stamp(p.rows[seq].at), p.visitsAround(c, seq))
			}
		}
	}
}

// judge reports whether a client should have received this.
func (p *proof) judge(c *client, f frameHeard) {
	due, isDue := p.due[c][f.seq]
	switch {
	case p.rows[f.seq] == nil:
		p.complain("%s heard what is not in the log: %d %s", c, f.seq, f.what)
	case !isDue:
		p.complain("%s heard what it must not: %d %s", c, f.seq, f.what)
	case due != f.what:
		p.complain("%s heard %d %q, must hear %q", c, f.seq, f.what, due)
	default:
		return
	}
	p.leaked++
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// visitsAround describes where a client was when an event should have arrived.
func (p *proof) visitsAround(c *client, seq uint64) string {
	r := p.rows[seq]
	var s strings.Builder
	fmt.Fprintf(&s, "    silent %v, phase %d\n", r.change != nil && r.change.isSilent, r.phase)
	for i, v := range c.visits {
		end := v.opened
		if len(v.frames) > 0 {
			end = v.frames[len(v.frames)-1].at
		}
		if i+1 < len(c.visits) && c.visits[i+1].opened.Before(r.at.Add(-3*time.Second)) || v.opened.After(r.at.Add(20*time.Second)) {
			continue
		}
		fmt.Fprintf(&s, "    visit %d at %s from %s since=%d, %d frames", i, v.gateway, stamp(v.opened), v.since, len(v.frames))
		if n := len(v.frames); n > 0 {
			fmt.Fprintf(&s, " %d..%d", v.frames[0].seq, v.frames[n-1].seq)
		}
		fmt.Fprintf(&s, ", last heard %s, %s\n", stamp(end), v.end)
	}
	return s.String()
}

// inOrder: everybody receives events in the order of the log and, whatever the log says, the changes of an object in commit
// order, and the messages of a writer in the order in which they were sent.
func (p *proof) inOrder(who string, frames []frameHeard) {
	last := uint64(0)
	objects, writers := map[string]*logRow{}, map[int]*logRow{}
	for _, f := range frames {
		if f.seq <= last {
			p.reordered++
			p.complain("%s heard %d %s after %d", who, f.seq, f.what, last)
		}
		last = f.seq
		r := p.rows[f.seq]
		if r == nil || r.change == nil || r.change.isSilent {
			continue
		}
		if r.op == "M" {
			if before := writers[r.change.writer]; before != nil && (before.change.n > r.change.n || before.change.n == r.change.n && before.seq > r.seq) {
				p.reordered++
				p.complain("%s heard %d (%s) after %d (%s) of the same writer", who, r.seq, r.mark, before.seq, before.mark)
			}
			writers[r.change.writer] = r
			continue
		}
		if before := objects[r.key()]; before != nil && before.change.commit.After(r.change.commit) {
			p.reordered++
			p.complain("%s heard %d (%s) after %d (%s) of the same object", who, r.seq, r.mark, before.seq, before.mark)
		}
		objects[r.key()] = r
	}
}

// audiences compares an independent witness, terasocket.audience() at the end, with ours, for everybody whose rights did not
// change. It evaluates the keys of the log, ours the writers' changes.
func (p *proof) audiences(ctx context.Context, changed map[int]bool) error {
	rows, err := p.pool.Query(ctx, `
		WITH k AS (SELECT array_agg(DISTINCT key) AS keys FROM (
			SELECT present::text AS key FROM terasocket.events WHERE seq > $1 UNION SELECT former::text FROM terasocket.events WHERE seq > $1) x WHERE key IS NOT NULL),
		a AS MATERIALIZED (SELECT k.keys[a.ord] AS key, a.kind, a.ids FROM k, terasocket.audience(k.keys) a)
		SELECT e.seq, true, a.kind::int, a.ids FROM terasocket.events e JOIN a ON a.key = e.present::text WHERE e.seq > $1 UNION ALL
		SELECT e.seq, false, a.kind::int, a.ids FROM terasocket.events e JOIN a ON a.key = e.former::text WHERE e.seq > $1`, p.from)
	if err != nil {
		return err
	}
	type hears struct{ sees, saw bool }
	type principal struct { // as a key: the log has some 100,000 rows, each heard by many
		kind access.Kind
		id   int
	}
	said := map[uint64]map[principal]hears{}
	var seq uint64
	var isPresent bool
	var kind int
	var ids []int32
	_, err = pgx.ForEachRow(rows, []any{&seq, &isPresent, &kind, &ids}, func() error {
		if said[seq] == nil {
			said[seq] = map[principal]hears{}
		}
		for _, id := range ids {
			who := principal{access.Kind(kind), int(id)}
			h := said[seq][who]
			said[seq][who] = hears{h.sees || isPresent, h.saw || !isPresent}
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
			due := p.due[c][r.seq]
			h := said[r.seq][principal{c.kind, c.id}]
			theirs := ""
			switch {
			case r.op == "M" && h.sees:
				theirs = due[:min(1, len(due))]
				if due == "" {
					theirs = "M"
				}
			case h.sees && h.saw, h.saw && r.op == "G":
				theirs = "U"
			case h.sees:
				theirs = "C"
			case h.saw:
				theirs = "D"
			}
			if ours := due[:min(1, len(due))]; ours != theirs {
				p.complain("the witnesses disagree on %s and %d %s %s: ours says %q, terasocket.audience() of the log's keys %q", c, r.seq, r.op, r.key(), ours, theirs)
			}
		}
	}
	return nil
}

// endings counts the ways in which connections ended.
func (p *proof) endings() string {
	count := map[string]int{}
	for _, c := range p.clients {
		for _, v := range c.visits {
			count[v.end]++
		}
	}
	var s []string
	for _, end := range slices.Sorted(maps.Keys(count)) {
		s = append(s, fmt.Sprintf("%s %d", end, count[end]))
	}
	return strings.Join(s, ", ")
}
