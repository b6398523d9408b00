package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

func migrated() dbtest.Template { return dbtest.OpenTera("audit", migrations.Up) }

// desk is a recorder with its database.
type desk struct {
	testing.TB
	*Recorder
	conn *pgx.Conn
	told dbtest.Log
	next uint64
}

func setup(t testing.TB) *desk {
	t.Helper()
	url := dbtest.New(t, migrated())
	d := &desk{TB: t, conn: dbtest.Conn(t, url)}
	d.Recorder = New(Config{Pool: dbtest.Pool(t, url), Gateway: "here", Retention: 240 * time.Hour, Log: slog.New(slog.NewTextHandler(&d.told, nil))}, prometheus.NewRegistry())
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func someone(kind access.Kind, id int32) access.Identity {
	return access.Identity{Principal: access.Principal{Kind: kind, ID: id}, UUID: fmt.Sprintf("uuid-%d", id)}
}

// open opens a socket; the returned function records live events.
func (d *desk) open(who access.Identity) (sent func(seqs ...uint64)) {
	d.next++
	note := d.Trail(who, d.next, time.Now(), "192.0.2.1")
	return func(seqs ...uint64) {
		for _, seq := range seqs {
			note(seq, false, false, time.Now())
		}
	}
}

func (d *desk) mustFlush() {
	d.Helper()
	if err := d.Flush(d.Context()); err != nil {
		d.Fatal(err)
	}
}

// find returns the matching deliveries: "user uuid-7 live 3-5,9".
func (d *desk) find(q Question) (answers []string) {
	d.Helper()
	err := Find(d.Context(), d.Pool, q, func(row Row) error {
		var seqs []string
		for _, run := range row.Seqs {
			seqs = append(seqs, fmt.Sprintf("%d-%d", run.First, run.Last))
		}
		answers = append(answers, fmt.Sprintf("%s %s %s %s", row.Kind, row.UUID, row.Mode, strings.Join(seqs, ",")))
		if row.Gateway != "here" || row.Address != "192.0.2.1" || row.Opened.IsZero() || row.Until.Before(row.Since) {
			d.Errorf("%+v", row)
		}
		return nil
	})
	if err != nil {
		d.Fatal(err)
	}
	return answers
}

func (d *desk) mustFind(q Question, want ...string) {
	d.Helper()
	if got := d.find(q); !slices.Equal(got, want) {
		d.Errorf("%+v: %q, want %q", q, got, want)
	}
}

// A recipient of the events before and after one is not named as its recipient.
func TestFind(t *testing.T) {
	t.Parallel()
	d := setup(t)
	anna, bob := d.open(someone(access.User, 7)), d.open(someone(access.Participant, 8))
	anna(10, 11, 12, 20, 13)
	bob(10, 12)
	d.mustFlush()
	between := time.Now()
	anna(21)
	note := d.Trail(someone(access.User, 9), 99, time.Now(), "192.0.2.1")
	for seq := range uint64(3) {
		note(seq+20, true, false, time.Now())
		note(0, false, false, time.Now())
	}
	note(30, false, false, time.Now())
	note(31, true, true, time.Now())
	note(32, false, true, time.Now())
	d.mustFlush()
	d.mustFlush()

	d.mustFind(Question{Seq: 11}, "user uuid-7 live 10-12,20-20,13-13")
	d.mustFind(Question{Seq: 15})
	d.mustFind(Question{Seq: 21}, "user uuid-7 live 21-21", "user uuid-9 replay 20-22")
	d.mustFind(Question{Kind: "user", UUID: "UUID-7"}, "user uuid-7 live 10-12,20-20,13-13", "user uuid-7 live 21-21")
	d.mustFind(Question{Kind: "user", UUID: "uuid-7", Since: between}, "user uuid-7 live 21-21")
	d.mustFind(Question{Kind: "user", UUID: "uuid-7", Until: between}, "user uuid-7 live 10-12,20-20,13-13")
	d.mustFind(Question{Kind: "participant", UUID: "uuid-7"})
	d.mustFind(Question{Seq: 12, Kind: "participant", UUID: "uuid-8"}, "participant uuid-8 live 10-10,12-12")
	d.mustFind(Question{Seq: 11, Kind: "participant", UUID: "uuid-8"})
	got := d.find(Question{Kind: "user", UUID: "uuid-9"})
	slices.Sort(got)
	if !slices.Equal(got, []string{"user uuid-9 delete 31-32", "user uuid-9 live 30-30", "user uuid-9 replay 20-22", "user uuid-9 snapshot "}) {
		t.Errorf("%q", got)
	}
	if n := dbtest.One[int](t, d.conn, "SELECT sum(frames) FROM terasocket.deliveries"); n != 17 {
		t.Errorf("%d frames", n)
	}
	if text, err := json.Marshal(Row{Seqs: []Run{{1, 2}}}); err != nil || !strings.Contains(string(text), `"seqs":[[1,2]]`) {
		t.Errorf("%s, %v", text, err)
	}
	if d.held.Load() != 0 {
		t.Errorf("%d runs are held after all was recorded", d.held.Load())
	}
	if oldest, err := Oldest(t.Context(), d.Pool); err != nil || oldest.IsZero() || oldest.After(time.Now()) {
		t.Errorf("%v, %v", oldest, err)
	}
}

// While the database fails, deliveries are kept up to a bound; those beyond it are counted and logged, and nothing else is lost.
func TestDatabaseThatTakesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.mostHeld = 3*rowCost + 10
	dbtest.Exec(t, d.conn, "ALTER TABLE terasocket.deliveries RENAME TO away")
	anna := d.open(someone(access.User, 7))
	for seq := uint64(2); seq <= 10; seq += 2 {
		anna(seq)
		if err := d.Flush(t.Context()); err == nil {
			t.Fatal("recorded in a missing table")
		}
	}
	if age := testutil.ToFloat64(d.metrics.errors); age != 5 {
		t.Errorf("%v errors", age)
	}
	if oldest := d.metrics.oldest.Load(); oldest.IsZero() {
		t.Error("nothing waits?")
	}
	dbtest.Exec(t, d.conn, "ALTER TABLE terasocket.away RENAME TO deliveries")
	d.mustFlush()
	d.mustFind(Question{Kind: "user", UUID: "uuid-7"}, "user uuid-7 live 2-2", "user uuid-7 live 4-4", "user uuid-7 live 6-6")
	if lost := testutil.ToFloat64(d.metrics.lost); lost != 2 || d.told.Count("the audit is not whole") != 2 || d.told.Count("frames=1") != 2 {
		t.Errorf("%v lost: %s", lost, &d.told)
	}
	if oldest := d.metrics.oldest.Load(); !oldest.IsZero() || d.held.Load() != 0 {
		t.Errorf("%v still waits, %d held", oldest, d.held.Load())
	}
	anna(12)
	d.mustFlush()
	if n := len(d.find(Question{Seq: 12})); n != 1 {
		t.Errorf("%d later rows", n)
	}
}

// If there is memory for a row but not for its events, there is no row.
func TestNoRowWithoutFrames(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.mostHeld = rowCost
	d.open(someone(access.User, 7))(1)
	d.mustFlush()
	if n := dbtest.One[int](t, d.conn, "SELECT count(*) FROM terasocket.deliveries"); n != 0 || testutil.ToFloat64(d.metrics.lost) != 1 || d.held.Load() != 0 {
		t.Errorf("%d rows, %d held", n, d.held.Load())
	}
}

// A statement whose answer is lost is repeated, and recorded once.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for i := range int32(2500) {
		d.open(someone(access.User, i))(1, 2)
	}
	d.collect()
	if err := d.record(t.Context(), d.rows[:1000]); err != nil {
		t.Fatal(err)
	}
	d.mustFlush()
	if n := dbtest.One[int](t, d.conn, "SELECT count(*) FROM terasocket.deliveries"); n != 2500 {
		t.Errorf("%d rows", n)
	}
}

// limit rejects statements with more runs than this, like a database that would time out on them.
func (d *desk) limit(runs int) {
	d.Helper()
	dbtest.Exec(d, d.conn, fmt.Sprintf(`CREATE OR REPLACE FUNCTION too_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF (SELECT sum(cardinality(seqs)) FROM fresh) > %d THEN RAISE query_canceled; END IF; RETURN NULL; END $$`, runs))
	dbtest.Exec(d, d.conn, "CREATE TRIGGER too_long AFTER INSERT ON terasocket.deliveries REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION too_long()")
}

// Neither many sockets nor a long replay make a statement with too many runs.
func TestManyRuns(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.limit(maxRuns)
	var all []uint64
	for seq := uint64(2); seq <= 4*maxRuns+2; seq += 2 {
		all = append(all, seq)
	}
	d.open(someone(access.User, 7))(all...)
	for id := range int32(2) {
		d.open(someone(access.Device, id))(all[:maxRuns/2+1]...)
	}
	d.mustFlush()
	if n := dbtest.One[int](t, d.conn, "SELECT sum(cardinality(seqs)) FROM terasocket.deliveries"); n != 3*maxRuns+3 {
		t.Errorf("%d runs", n)
	}
	d.mustFind(Question{Seq: 4*maxRuns + 2}, fmt.Sprintf("user uuid-7 live %[1]d-%[1]d", 4*maxRuns+2))
}

// A failed statement is repeated with fewer rows, so that the rows behind them do not wait for ever.
func TestBatchThatFails(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.limit(10)
	for id := range int32(8) {
		d.open(someone(access.User, id))(2, 4, 6, 8)
	}
	d.open(someone(access.Device, 7))(10)
	if err := d.Flush(t.Context()); err == nil {
		t.Fatal("a statement beyond the limit succeeded")
	}
	for try := 1; d.Flush(t.Context()) != nil; try++ {
		if try == 10 {
			t.Fatal("the rows are not recorded after 10 flushes")
		}
	}
	d.mustFind(Question{Seq: 10}, "device uuid-7 live 10-10")
	if n := dbtest.One[int](t, d.conn, "SELECT sum(frames) FROM terasocket.deliveries"); n != 33 || d.held.Load() != 0 {
		t.Errorf("%d frames, %d held", n, d.held.Load())
	}
}

// A flush between two notes of the same moment makes two rows; neither is taken for a repetition of the other.
func TestFlushBetweenTwoNotes(t *testing.T) {
	t.Parallel()
	d := setup(t)
	at := time.Now()
	note := d.Trail(someone(access.User, 7), 1, at, "192.0.2.1")
	for seq := range uint64(3) {
		note(seq+1, false, false, at)
		d.mustFlush()
	}
	d.mustFind(Question{Kind: "user", UUID: "uuid-7"}, "user uuid-7 live 1-1", "user uuid-7 live 2-2", "user uuid-7 live 3-3")
}

// A missing week is created, and pending rows are recorded.
func TestNoWeek(t *testing.T) {
	t.Parallel()
	d := setup(t)
	dbtest.Exec(t, d.conn, "DO $$ DECLARE r text; BEGIN FOR r IN SELECT name FROM terasocket.delivery_weeks LOOP EXECUTE 'DROP TABLE terasocket.' || r; END LOOP; END $$")
	d.open(someone(access.User, 7))(1)
	d.mustFlush()
	d.mustFind(Question{Seq: 1}, "user uuid-7 live 1-1")
}

// Rows for which no week can be created are lost, counted and logged; others beside them are recorded.
func TestNoWeekCanBeMade(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for i := range int32(10) {
		at := time.Now()
		if i%4 == 1 {
			at = at.AddDate(1, 0, 0) // the clock was wrong
		}
		d.Trail(someone(access.User, i), uint64(i), at, "192.0.2.1")(uint64(i+1), false, false, at)
	}
	d.mustFlush()
	d.mustFind(Question{Kind: "user", UUID: "uuid-0"}, "user uuid-0 live 1-1")
	if n := dbtest.One[int](t, d.conn, "SELECT count(*) FROM terasocket.deliveries"); n != 7 {
		t.Errorf("%d rows", n)
	}
	if lost := testutil.ToFloat64(d.metrics.lost); lost != 3 || d.told.Count("the audit is not whole") != 1 || d.held.Load() != 0 || testutil.ToFloat64(d.metrics.rows) != 7 {
		t.Errorf("%v lost, %d held: %s", lost, d.held.Load(), &d.told)
	}
	week := dbtest.One[string](t, d.conn, "SELECT min(name) FROM terasocket.delivery_weeks")
	dbtest.Exec(t, d.conn, "ALTER TABLE terasocket.deliveries DETACH PARTITION terasocket."+week)
	d.open(someone(access.User, 7))(20)
	d.mustFlush()
	if lost := testutil.ToFloat64(d.metrics.lost); lost != 4 || d.told.Count("not made or dropped") != 1 {
		t.Errorf("%v lost: %s", lost, &d.told)
	}
}

// A database that is not migrated, and a role without rights, are refused at start with an error that says what to do.
func TestStartRefuses(t *testing.T) {
	t.Parallel()
	d := setup(t)
	role := fmt.Sprintf("audit_%d", rand.Uint64())
	dbtest.Exec(t, d.conn, "CREATE ROLE "+role)
	t.Cleanup(func() {
		if _, err := d.conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	config := d.Pool.Config()
	config.ConnConfig.RuntimeParams["role"] = role
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	d.Pool = pool
	for _, step := range []struct{ change, want string }{
		{"GRANT USAGE ON SCHEMA terasocket TO " + role, "grants ROLE --audit-deliveries"},
		{"GRANT EXECUTE ON FUNCTION terasocket.keep_deliveries(interval) TO " + role, "lacks INSERT on terasocket.deliveries"},
		{"GRANT INSERT ON terasocket.deliveries TO " + role, ""},
		{"DROP FUNCTION terasocket.keep_deliveries(interval)", "migrate up"},
	} {
		dbtest.Exec(t, d.conn, step.change)
		err := d.Start(t.Context())
		if step.want == "" && err != nil || step.want != "" && (!errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("%s: %v", step.change, err)
		}
	}
}

// Concurrent sockets, flushes and an outage: each event is recorded once per socket.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	d := setup(t)
	const sockets, events = 20, 500
	var all sync.WaitGroup
	for i := range int32(sockets) {
		sent := d.open(someone(access.User, i))
		all.Go(func() {
			for seq := range uint64(events) {
				sent(2 * (seq + 1))
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for isDone := false; !isDone; {
		select {
		case <-done:
			isDone = true
		default:
		}
		_ = d.Flush(t.Context())
	}
	d.mustFlush()
	if n := dbtest.One[int](t, d.conn, "SELECT count(DISTINCT (uuid, r)) FROM terasocket.deliveries, unnest(seqs) r"); n != sockets*events {
		t.Errorf("%d deliveries, want %d", n, sockets*events)
	}
	if n := dbtest.One[int](t, d.conn, "SELECT sum(frames) FROM terasocket.deliveries"); n != sockets*events {
		t.Errorf("%d frames, want %d", n, sockets*events)
	}
}

// BenchmarkNote is the hub's cost of recording a delivery.
func BenchmarkNote(b *testing.B) {
	r := New(Config{Log: slog.New(slog.DiscardHandler)}, prometheus.NewRegistry())
	note := r.Trail(someone(access.User, 1), 1, time.Now(), "")
	now, seq := time.Now(), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		note(seq, false, false, now)
	}
}

// BenchmarkFlush records the deliveries of 10,000 sockets in one flush, some events each, and measures PostgreSQL's cost.
func BenchmarkFlush(b *testing.B) {
	for _, events := range []uint64{1, 20} {
		b.Run(fmt.Sprint(events, " events"), func(b *testing.B) {
			d := setup(b)
			config := d.Pool.Config()
			config.MaxConns = 1
			pool, err := pgxpool.NewWithConfig(b.Context(), config)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(pool.Close)
			d.Pool = pool
			backend := uint32(dbtest.One[int](b, pool, "SELECT pg_backend_pid()"))
			const sockets = 10_000
			var sent []func(...uint64)
			for i := range int32(sockets) {
				sent = append(sent, d.open(someone(access.User, i)))
			}
			seq := uint64(1e15)
			used := dbtest.CPU(b, backend)
			for b.Loop() {
				for range events {
					seq += 2
					for _, s := range sent {
						s(seq)
					}
				}
				d.mustFlush()
			}
			b.ReportMetric(float64((dbtest.CPU(b, backend)-used).Microseconds())/float64(b.N)/sockets, "postgres-us/row")
			b.ReportMetric(float64(dbtest.One[int64](b, d.conn, "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname ~ '^deliveries_' AND relkind = 'r'"))/float64(b.N+1)/sockets, "B/row")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/sockets, "us/row")
		})
	}
}
