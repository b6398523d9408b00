package migrations_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/access"
	"terasocket/proto/event"
)

// lock begins an announcement as a gateway does.
const lock = `BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = '60s'; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE NOWAIT; `

// said is the result of announce().
type said struct {
	epoch, lastSeq int64
	rows           int
	more           bool
}

// call makes one announcement: args as announce() takes them.
func (f *fixture) call(args string) (s said, err error) {
	f.Helper()
	results, err := f.teller.PgConn().Exec(f.Context(), lock+"SELECT epoch, last_seq, announced, more FROM terasocket.announce("+args+"); COMMIT").ReadAll()
	if err != nil {
		_, _ = f.teller.PgConn().Exec(f.Context(), "ROLLBACK").ReadAll()
		return s, err
	}
	row := results[3].Rows[0]
	_, err = fmt.Sscan(string(row[0])+" "+string(row[1])+" "+string(row[2]), &s.epoch, &s.lastSeq, &s.rows)
	s.more = string(row[3]) == "t"
	return s, err
}

// announce announces everything that is committed.
func (f *fixture) announce() (s said) {
	f.Helper()
	for more := true; more; more = s.more {
		var err error
		if s, err = f.call(""); err != nil {
			f.Fatalf("announce: %v", err)
		}
	}
	return s
}

// recorded is a row of the log with a database event.
type recorded struct {
	event.Record
	Body, Gone object
	sees, saw  []int32 // the users that see the object in the announced state and in the previous one
}

// String returns what tests compare: operation, type and id.
func (e recorded) String() string { return fmt.Sprintf("%s %s %d", e.Op, e.ObjectType, e.ObjectID) }

// hears returns who receives a DB_CREATE or DB_UPDATE, and who a DB_DELETE.
func (e recorded) hears() (body, gone []int32) {
	switch {
	case e.Op == "G" && e.Present == "":
		return e.saw, nil
	case e.Op == "D":
		return nil, e.saw
	}
	return e.sees, slices.DeleteFunc(slices.Clone(e.saw), func(id int32) bool { return slices.Contains(e.sees, id) })
}

// rows returns the rows of the log since the last call, of all types.
func (f *fixture) rows() []event.Record {
	f.Helper()
	rows, err := f.teller.Query(f.Context(), `SELECT seq, announcement, at, topic, type, coalesce(op, ''), coalesce(object_type, ''), coalesce(object_id, 0),
		coalesce(body::text, ''), coalesce(gone::text, ''), coalesce(present::text, ''), coalesce(former::text, ''), coalesce(former_as_of, 0)
		FROM terasocket.events WHERE seq > $1 ORDER BY seq`, f.seen)
	if err != nil {
		f.Fatalf("read the log: %v", err)
	}
	records, err := pgx.CollectRows(rows, pgx.RowToStructByPos[event.Record])
	if err != nil {
		f.Fatalf("read the log: %v", err)
	}
	if len(records) > 0 {
		f.seen = int64(records[len(records)-1].Seq)
	}
	return records
}

// log announces, and returns the database events since the last call, in order.
func (f *fixture) log() []recorded {
	f.Helper()
	f.announce()
	return f.judged(f.rows())
}

// judged returns the database events among rows, with who sees and saw their objects.
func (f *fixture) judged(rows []event.Record) (events []recorded) {
	f.Helper()
	for _, r := range rows {
		e, err := event.Decode(r)
		if err != nil {
			f.Errorf("row %d: %v", r.Seq, err)
			continue
		}
		f.index.Apply(&e)
		if p := (access.Principal{Kind: access.User, ID: int32(e.ObjectID)}); e.Kind == event.Rights && p.IsOf(&e) && slices.Contains(e.Gained, p.Tag()) {
			f.index.Add(access.NewView(p, e.Gained, e.Seq, f.index.Moment()))
		}
		if r.Type == "opentera.protobuf.DatabaseEvent" {
			sees, saw := f.users(e.Present, access.Present), f.users(e.Former, access.State(e.FormerAsOf))
			if r.Op == "G" {
				sees = slices.DeleteFunc(sees, func(id int32) bool { return !slices.Contains(saw, id) })
			}
			events = append(events, recorded{r, decoded(f, r.Body), decoded(f, r.Gone), sees, saw})
		}
	}
	return events
}

func decoded(f *fixture, text string) (o object) {
	f.Helper()
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		f.Errorf("%s: %v", text, err)
	}
	return o
}

// users returns those in the index that satisfy routing keys.
func (f *fixture) users(keys string, in access.State) (ids []int32) {
	for _, p := range f.index.Audience(keys, in) {
		if p.Kind == access.User {
			ids = append(ids, p.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// skip announces what is left, and rebuilds the index from holdings.
func (f *fixture) skip() {
	f.Helper()
	f.seen = f.announce().lastSeq
	aliases := map[string]string{}
	rows, _ := f.teller.Query(f.Context(), "SELECT tag, keys::text FROM terasocket.aliases")
	var tag, keys string
	if _, err := pgx.ForEachRow(rows, []any{&tag, &keys}, func() error { aliases[tag] = keys; return nil }); err != nil {
		f.Fatal(err)
	}
	f.index = access.NewIndex(aliases)
	rows, _ = f.teller.Query(f.Context(), "SELECT id, array_agg(tag) FROM terasocket.holdings WHERE kind = 'user' GROUP BY id")
	var id int32
	var tags []string
	if _, err := pgx.ForEachRow(rows, []any{&id, &tags}, func() error {
		f.index.Add(access.NewView(access.Principal{Kind: access.User, ID: id}, slices.Clone(tags), uint64(f.seen), f.index.Moment()))
		return nil
	}); err != nil {
		f.Fatal(err)
	}
}

// seers returns the users that see an object, according to told.
func (f *fixture) seers(objectType string, id int) []int32 {
	f.Helper()
	return f.users(oneOn[string](f, f.teller, "SELECT keys::text FROM terasocket.told WHERE object_type = $1 AND id = $2", objectType, id), access.Present)
}

// change is a row of terasocket.changes.
type change struct {
	What, Op string
	Rights   *bool
	IDs      []int64
}

func (c change) String() string { return fmt.Sprint(c.Op, " ", c.What, " ", c.IDs) }

// changes returns the unannounced changes, in order.
func (f *fixture) changes() []change {
	f.Helper()
	rows, err := f.teller.Query(f.Context(), "SELECT what, op, rights, ids FROM terasocket.changes ORDER BY id")
	if err != nil {
		f.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	if err != nil {
		f.Fatal(err)
	}
	return found
}

// within fails the test if a step exceeds limit.
func (f *fixture) within(limit time.Duration, what string, step func()) {
	f.Helper()
	start := time.Now()
	step()
	if took := time.Since(start); took > limit {
		f.Errorf("%s took %s, more than %s", what, took, limit)
	}
}
