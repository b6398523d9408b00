package db_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// bundle is a feed on a database of its own.
type bundle struct {
	t       *testing.T
	url     string
	pool    *pgxpool.Pool
	feed    *db.Feed
	metrics *db.Metrics
}

func setup(t *testing.T, adjust ...func(*db.ListenerConfig, *db.FeedConfig)) *bundle {
	t.Helper()
	t.Parallel()
	url := dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up))
	return follow(t, url, dbtest.Pool(t, url), adjust...)
}

// follow starts to listen to a database, and a feed.
func follow(t *testing.T, url string, pool *pgxpool.Pool, adjust ...func(*db.ListenerConfig, *db.FeedConfig)) *bundle {
	t.Helper()
	b := &bundle{t: t, url: url, pool: pool, metrics: db.NewMetrics(prometheus.NewRegistry())}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	lc := db.ListenerConfig{DatabaseURL: url, RetryMin: 10 * time.Millisecond, Log: log, Metrics: b.metrics}
	// a minute: what a test hears, it hears by notification or catch-up, not because somebody looked again
	fc := db.FeedConfig{LookEvery: time.Minute, Log: log, Metrics: b.metrics}
	for _, f := range adjust {
		f(&lc, &fc)
	}
	listener, err := db.Listen(t.Context(), lc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return listener.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
	b.feed, err = db.NewFeed(t.Context(), b.pool, listener, fc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// retryOften is for a server that comes back.
func retryOften(lc *db.ListenerConfig, _ *db.FeedConfig) { lc.RetryMax = 100 * time.Millisecond }

// record writes one row to the event log, as a trigger would.
const record = `INSERT INTO terasocket.events (topic, type, body, audience) SELECT 'test', 'test', to_jsonb(b), '[]'
                FROM unnest($1::text[]) b`

func (b *bundle) record(q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, bodies ...string) {
	b.t.Helper()
	rows, err := q.Query(b.t.Context(), record, bodies)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) begin() pgx.Tx {
	b.t.Helper()
	tx, err := b.pool.Begin(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

func (b *bundle) commit(tx pgx.Tx) {
	b.t.Helper()
	if err := tx.Commit(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// hear reads until last comes and returns all bodies in order.
func (b *bundle) hear(last string) []string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	var heard []string
	for {
		rows, err := b.feed.Next(ctx)
		if ctx.Err() != nil {
			b.t.Fatalf("%q did not come; heard %d rows: %.300q", last, len(heard), heard)
		}
		if err != nil {
			b.t.Logf("next: %v", err) // as a dispatcher does: call again
			time.Sleep(10 * time.Millisecond)
			continue
		}
		for _, r := range rows {
			heard = append(heard, strings.Trim(r.Body, `"`))
		}
		if heard[len(heard)-1] == last {
			return heard
		}
	}
}

func (b *bundle) mustHear(want ...string) {
	b.t.Helper()
	if got := b.hear(want[len(want)-1]); fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("heard %.500q, want %.500q", got, want)
	}
}

// killListeners ends the backends that LISTEN and waits until the gateway is connected again.
func (b *bundle) killListeners() {
	b.t.Helper()
	before := testutil.ToFloat64(b.metrics.Reconnects)
	if _, err := b.pool.Exec(b.t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'terasocket listener' AND datname = current_database()`); err != nil {
		b.t.Fatal(err)
	}
	for testutil.ToFloat64(b.metrics.Reconnects) == before {
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCommitOrderIsTheOrderOfRows(t *testing.T) {
	b := setup(t)
	first, second := b.begin(), b.begin()
	b.record(first, "took its seq first")
	b.record(second, "committed first")
	b.commit(second)
	b.commit(first)
	b.mustHear("committed first", "took its seq first")
}

func TestNothingIsLostOrDoubledAcrossALostConnection(t *testing.T) {
	b := setup(t)
	open, early := b.begin(), b.begin()
	b.record(open, "open all the while")
	b.record(early, "commits while nobody listens")
	b.record(b.pool, "before")
	b.mustHear("before")
	b.record(b.pool, "announced and lost") // its notification may or may not be taken before the kill
	b.killListeners()
	b.commit(early)
	b.record(b.pool, "after")
	b.commit(open)
	b.record(b.pool, "end")
	got := b.hear("end")
	count := map[string]int{}
	for _, g := range got {
		count[g]++
	}
	for _, want := range []string{"open all the while", "commits while nobody listens", "announced and lost", "after", "end"} {
		if count[want] != 1 {
			t.Errorf("%q came %d times in %q, want once", want, count[want], got)
		}
	}
	if len(got) != 5 {
		t.Errorf("heard %q, want 5 rows", got)
	}
}

// Many writers whose transactions overlap, the listener's backend killed again and again: every row once, and the rows
// of one object in their order.
func TestNoRowIsLostUnderLoadAndKills(t *testing.T) {
	b := setup(t)
	const writers, perWriter = 6, 120
	var g errgroup.Group
	for w := range writers {
		g.Go(func() error {
			for i := range perWriter {
				tx, err := b.pool.Begin(t.Context())
				if err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), record, []string{fmt.Sprintf("%d/%d", w, i)}); err != nil {
					return err
				}
				if i%7 == 0 {
					time.Sleep(3 * time.Millisecond) // let others overtake
				}
				if err := tx.Commit(t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 {
			b.killListeners()
			time.Sleep(20 * time.Millisecond)
		}
	}()
	next, total := [writers]int{}, 0
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for total < writers*perWriter {
		rows, err := b.feed.Next(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d rows came", total, writers*perWriter)
		}
		if err != nil {
			continue
		}
		for _, r := range rows {
			var w, i int
			if _, err := fmt.Sscanf(r.Body, `"%d/%d"`, &w, &i); err != nil {
				t.Fatal(err)
			}
			if i != next[w] {
				t.Fatalf("writer %d: row %d came, want %d", w, i, next[w])
			}
			next[w]++
			total++
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	<-done
	b.record(b.pool, "end")
	b.mustHear("end")
}

func TestAForgedNotificationMakesNobodyHearAnything(t *testing.T) {
	b := setup(t)
	b.record(b.pool, "once")
	b.mustHear("once")
	var xid string
	var seq int64
	if err := b.pool.QueryRow(t.Context(), "SELECT xid::text, seq FROM terasocket.events").Scan(&xid, &seq); err != nil {
		t.Fatal(err)
	}
	uncommitted := b.begin()
	b.record(uncommitted, "rolled back")
	for _, payload := range []string{
		"", "{", "null", "[]", `"x"`, "\u00e9", `{"xid": 1}`, `{"xid": "-1", "from": 1, "to": 2}`, strings.Repeat("9", 7900),
		`{"xid": "1", "from": 2, "to": 1}`, `{"xid": "1", "from": 1, "to": 9223372036854775807}`,
		`{"xid": "9223372036854775807", "from": 1, "to": 9223372036854775807}`,
		`{"xid": "18446744073709551615", "from": 1, "to": 2}`,
		fmt.Sprintf(`{"xid": %q, "from": %d, "to": %d}`, xid, seq, seq), // heard before
		fmt.Sprintf(`{"xid": %q, "from": 1, "to": 9223372036854775807, "changes": [{"body": "invented"}]}`, xid),
	} {
		if _, err := b.pool.Exec(t.Context(), "SELECT pg_notify('terasocket', $1)", payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := uncommitted.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.record(b.pool, "sentinel")
	b.mustHear("sentinel")
	if n := testutil.ToFloat64(b.metrics.Malformed); n < 9 {
		t.Errorf("%v malformed notifications were counted, want at least 9", n)
	}
}

func TestRowsThatNoNotificationAnnouncedAreFound(t *testing.T) {
	b := setup(t, func(_ *db.ListenerConfig, fc *db.FeedConfig) { fc.LookEvery = 50 * time.Millisecond })
	b.silently("silent")
	b.mustHear("silent")
	if n := testutil.ToFloat64(b.metrics.Unannounced); n != 1 {
		t.Errorf("%v unannounced rows were counted, want 1", n)
	}
	b.record(b.pool, "end")
	b.mustHear("end")
}

// silently commits a row that no notification announces.
func (b *bundle) silently(body string) {
	b.t.Helper()
	tx := b.begin()
	if _, err := tx.Exec(b.t.Context(), "SET LOCAL session_replication_role = replica"); err != nil { // no triggers
		b.t.Fatal(err)
	}
	b.record(tx, body)
	b.commit(tx)
}

// A client that has heard a row is told nothing more of what the row's snapshot sees, when it comes back: so all of that
// must have been handed out before.
func TestARowComesAfterAllThatItsSnapshotSees(t *testing.T) {
	b := setup(t)
	b.silently("silent 1")
	open := b.begin()
	if _, err := open.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	b.record(b.pool, "announced 1")
	b.mustHear("silent 1", "announced 1")
	b.silently("silent 2")
	b.silently("silent 3")
	b.record(open, "announced 2: an old transaction with a new snapshot")
	b.record(open, "announced 3: and its next row")
	b.silently("silent 4")
	b.commit(open)
	b.mustHear("silent 2", "silent 3", "announced 2: an old transaction with a new snapshot",
		"announced 3: and its next row")
	b.record(b.pool, "end")
	b.mustHear("silent 4", "end")
	if n := testutil.ToFloat64(b.metrics.Unannounced); n != 4 {
		t.Errorf("%v unannounced rows were counted, want 4", n)
	}
}

func TestASnapshotOfTheFutureHidesNothing(t *testing.T) {
	b := setup(t)
	if _, err := b.pool.Exec(t.Context(), `INSERT INTO terasocket.events (topic, type, body, audience, snapshot)
		VALUES ('test', 'test', '"from the future"', '[]', '1:999999999:')`); err != nil {
		t.Fatal(err)
	}
	b.record(b.pool, "after")
	b.mustHear("from the future", "after")
	b.record(b.pool, "end")
	b.mustHear("end")
}

func TestALargeStatementComesWholeInBatches(t *testing.T) {
	b := setup(t, func(_ *db.ListenerConfig, fc *db.FeedConfig) { fc.BatchRows = 100 })
	overlapping := b.begin()
	b.record(overlapping, "interleaved")
	bodies := make([]string, 2345)
	for i := range bodies {
		bodies[i] = fmt.Sprint(i)
	}
	b.record(b.pool, bodies...)
	b.commit(overlapping)
	b.record(b.pool, "end")
	b.mustHear(append(bodies, "interleaved", "end")...)
}

func TestAFullQueueOfHintsLosesNothing(t *testing.T) {
	b := setup(t, func(lc *db.ListenerConfig, _ *db.FeedConfig) { lc.QueueSize = 3 })
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		b.record(b.pool, want[i])
	}
	b.mustHear(want...)
	if n := testutil.ToFloat64(b.metrics.CatchUps); n == 0 {
		t.Error("nothing was caught up: the queue was never full, so this test shows nothing")
	}
}

// wantBroken expects Next to say once that rows are missing.
func (b *bundle) wantBroken() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	if rows, err := b.feed.Next(ctx); !errors.Is(err, db.ErrBroken) {
		b.t.Fatalf("%d rows, %v; want %v", len(rows), err, db.ErrBroken)
	}
}

// The database has failed over: what was handed out may be unknown there. (The row of the timeline is changed, instead of
// the server: to the gateway it is the same.)
func TestAnotherTimeline(t *testing.T) {
	b := setup(t)
	h := &db.History{Pool: b.pool}
	b.record(b.pool, "before")
	b.mustHear("before")
	cursor := b.seqOf("before")
	held := func(seq int64) bool {
		t.Helper()
		places, _, err := h.Places(t.Context(), []int64{seq})
		if err != nil {
			t.Fatal(err)
		}
		return len(places) == 1
	}
	if !held(cursor) {
		t.Error("one timeline, and the cursor is not held")
	}
	if _, err := b.pool.Exec(t.Context(), "UPDATE terasocket.timeline SET id = 'another'"); err != nil {
		t.Fatal(err)
	}
	if held(cursor) {
		t.Error("nobody has entered the timeline yet, and the cursor is held")
	}
	b.killListeners()
	b.wantBroken()
	b.record(b.pool, "after")
	b.mustHear("after")
	if held(cursor) {
		t.Error("the cursor is of another timeline, and held")
	}
	if seq := b.seqOf("after"); seq < cursor+1_000_000 || !held(seq) {
		t.Errorf("the first row is %d, held: %t", seq, held(seq))
	}
	b.killListeners() // no news
	b.record(b.pool, "end")
	b.mustHear("end")
}

func TestRowsTrimmedBeforeTheyWereDeliveredAreMissing(t *testing.T) {
	b := setup(t, func(lc *db.ListenerConfig, fc *db.FeedConfig) { lc.QueueSize, fc.BatchRows = 1, 2 })
	b.record(b.pool, "1")
	b.record(b.pool, "2")
	b.record(b.pool, "3")
	b.record(b.pool, "4")
	eventually(t, "the queue overflows", func() bool { return testutil.ToFloat64(b.metrics.Notifications) == 4 })
	if rows, err := b.feed.Next(t.Context()); err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if _, err := b.pool.Exec(t.Context(), "DELETE FROM terasocket.events WHERE body = '\"3\"'"); err != nil {
		t.Fatal(err)
	}
	b.wantBroken()
	b.record(b.pool, "end")
	b.mustHear("end")
}

// A gateway that did not see the log for so long that it was trimmed meanwhile cannot know what it has missed.
func TestRowsTrimmedWhileNobodyLookedAreMissing(t *testing.T) {
	for name, find := range map[string]func(*bundle){
		"by catch-up":      (*bundle).killListeners,
		"by notifications": func(*bundle) {},
	} {
		for _, kept := range []string{"some are left", "none is left"} {
			t.Run(name+", "+kept, func(t *testing.T) {
				b := setup(t, func(_ *db.ListenerConfig, fc *db.FeedConfig) { fc.LookEvery = 20 * time.Millisecond })
				b.record(b.pool, "before")
				b.mustHear("before")
				b.record(b.pool, "lost")
				b.record(b.pool, "kept")
				eventually(t, "the listener hears", func() bool { return testutil.ToFloat64(b.metrics.Notifications) == 3 })
				b.trim("lost", kept == "none is left")
				time.Sleep(100 * time.Millisecond) // more than four looks
				find(b)
				b.wantBroken()
				b.record(b.pool, "end")
				b.mustHear("end")
			})
		}
	}
}

// Trimming takes what was handed out long ago; then nothing is missing.
func TestATrimmedLogIsNotBroken(t *testing.T) {
	b := setup(t, func(_ *db.ListenerConfig, fc *db.FeedConfig) { fc.LookEvery = 20 * time.Millisecond })
	b.killListeners() // with an empty log
	b.record(b.pool, "1")
	b.record(b.pool, "2")
	b.mustHear("1", "2")
	b.trim("1", false)
	time.Sleep(100 * time.Millisecond)
	b.killListeners()
	b.record(b.pool, "3")
	b.mustHear("3")
	b.trim("2", false)
	time.Sleep(100 * time.Millisecond)
	b.record(b.pool, "4")
	b.mustHear("4")
}

// trim takes the rows up to this one away, or all.
func (b *bundle) trim(last string, all bool) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), "DELETE FROM terasocket.events WHERE $2 OR seq <= (SELECT seq FROM terasocket.events WHERE body = to_jsonb($1::text))", last, all); err != nil {
		b.t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Subtransactions have ids of their own; the log has that of the transaction.
func TestSavepoints(t *testing.T) {
	b := setup(t)
	tx := b.begin()
	b.record(tx, "outer")
	sub, err := tx.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.record(sub, "taken back")
	if err := sub.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sub, err = tx.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.record(sub, "inner")
	b.record(b.pool, "meanwhile")
	b.commit(sub)
	b.mustHear("meanwhile")
	b.record(tx, "outer again")
	b.commit(tx)
	b.mustHear("outer", "inner", "outer again")
	b.killListeners()
	b.record(b.pool, "end")
	b.mustHear("end")
}

// A transaction that has notified cannot be prepared; one that was told not to is found when it commits, however late.
func TestPreparedTransactions(t *testing.T) {
	b := setup(t, func(_ *db.ListenerConfig, fc *db.FeedConfig) { fc.LookEvery = 50 * time.Millisecond })
	do := func(sql string) error {
		t.Helper()
		_, err := b.pool.Exec(t.Context(), sql)
		return err
	}
	const insert = "BEGIN; %s INSERT INTO terasocket.events (topic, type, body, audience) VALUES ('t', 't', '\"%s\"', '[]'); PREPARE TRANSACTION '%s %s'"
	var name string
	if err := b.pool.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	tx := dbtest.Conn(t, b.url)
	if _, err := tx.Exec(t.Context(), fmt.Sprintf(insert, "", "x", "x", name)); err == nil {
		t.Error("a transaction that has notified was prepared: the setting is needed no longer")
	}
	for _, when := range []string{"soon", "late", "never"} {
		if err := do(fmt.Sprintf(insert, "SET LOCAL terasocket.notify = off;", when, when, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.record(b.pool, "1")
	b.mustHear("1")
	if err := do("COMMIT PREPARED 'soon " + name + "'"); err != nil {
		t.Fatal(err)
	}
	b.mustHear("soon")
	b.killListeners()
	b.record(b.pool, "2")
	b.mustHear("2")
	if err := do("ROLLBACK PREPARED 'never " + name + "'"); err != nil {
		t.Fatal(err)
	}
	if err := do("COMMIT PREPARED 'late " + name + "'"); err != nil {
		t.Fatal(err)
	}
	b.record(b.pool, "3")
	b.mustHear("late", "3")
}

// 100,000 rows of one commit, by their notifications and by catching up: in order, in batches, in bounded memory.
func TestAHundredThousandRowsOfOneCommit(t *testing.T) {
	b := setup(t)
	const rows = 100_000
	const insert = "INSERT INTO terasocket.events (topic, type, body, audience) SELECT 't', 't', to_jsonb(i::text || repeat('x', 1000)), '[]' FROM generate_series(1, 100000) i"
	for _, how := range []string{"notified", "caught up"} {
		if _, err := b.pool.Exec(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
		if how == "caught up" {
			b.killListeners()
		}
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		next := 1
		for next <= rows {
			batch, err := b.feed.Next(t.Context())
			if err != nil {
				continue
			}
			for _, r := range batch {
				if !strings.HasPrefix(r.Body, fmt.Sprintf(`"%dx`, next)) {
					t.Fatalf("%s: row %.10s came, want %d", how, r.Body, next)
				}
				next++
			}
			if len(batch) > 256 {
				t.Fatalf("%s: a batch of %d rows", how, len(batch))
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&now)
		if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 { // the bodies are 100 MB
			t.Errorf("%s: %d MiB are held", how, grown>>20)
		}
	}
	b.record(b.pool, "end")
	b.mustHear("end")
}

// Where every backend takes its seqs from a cache of its own, their order says nothing.
func TestCachedSeqs(t *testing.T) {
	b := setup(t)
	if _, err := b.pool.Exec(t.Context(), "ALTER SEQUENCE terasocket.events_seq_seq CACHE 100"); err != nil {
		t.Fatal(err)
	}
	high, low := dbtest.Conn(t, b.url), dbtest.Conn(t, b.url)
	b.record(low, "low 1")
	b.record(high, "high 1")
	b.record(low, "low 2")
	b.record(high, "high 2")
	b.record(low, "low 3")
	b.mustHear("low 1", "high 1", "low 2", "high 2", "low 3")
}

func TestMegabyteRowsComeWhole(t *testing.T) {
	b := setup(t)
	big := strings.Repeat("é", 1<<19)
	b.record(b.pool, big)
	b.record(b.pool, "end")
	b.mustHear(big, "end")
}

func TestADatabaseErrorMovesNothing(t *testing.T) {
	b := setup(t)
	if _, err := b.pool.Exec(t.Context(), "ALTER TABLE terasocket.events RENAME COLUMN topic TO subject"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Exec(t.Context(), `INSERT INTO terasocket.events (subject, type, body, audience) VALUES ('t', 't', '"kept"', '[]')`); err != nil {
		t.Fatal(err)
	}
	if _, err := b.feed.Next(t.Context()); err == nil {
		t.Fatal("reading a log without its column succeeded")
	}
	if _, err := b.pool.Exec(t.Context(), "ALTER TABLE terasocket.events RENAME COLUMN subject TO topic"); err != nil {
		t.Fatal(err)
	}
	b.mustHear("kept")
}

func TestWhatEndedBeforeTheStartIsHistory(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up))
	pool := dbtest.Pool(t, url)
	old := &bundle{t: t, pool: pool}
	old.record(pool, "history")
	open := old.begin()
	old.record(open, "open at the start")
	metrics := db.NewMetrics(prometheus.NewRegistry())
	log := slog.New(slog.DiscardHandler)
	listener, err := db.Listen(t.Context(), db.ListenerConfig{DatabaseURL: url, Log: log, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- listener.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-stopped })
	feed, err := db.NewFeed(t.Context(), pool, listener, db.FeedConfig{Log: log, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{t: t, pool: pool, feed: feed}
	b.commit(open)
	b.mustHear("open at the start")
}

func TestListenFailsAtOnceOnABadSetting(t *testing.T) {
	t.Parallel()
	metrics := db.NewMetrics(prometheus.NewRegistry())
	for name, url := range map[string]string{
		"not a URL":       "postgres://%zz",
		"nobody there":    "postgres://127.0.0.1:1/x?connect_timeout=1",
		"no such socket":  "postgres:///x?host=/nonexistent",
		"unknown setting": "postgres://127.0.0.1/x?sslmode=perhaps",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := db.Listen(t.Context(), db.ListenerConfig{DatabaseURL: url, Log: slog.New(slog.DiscardHandler), Metrics: metrics}); err == nil {
				t.Error("no error")
			}
		})
	}
}
