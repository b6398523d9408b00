package migrations_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// looked is the result of terasocket.poll().
type looked struct {
	IsMine       bool
	ForMs        int
	WasPolled    bool
	Recorded     int64
	Oldest, Next uint64
}

// poll does what an announcement of gateway me does at its end; before says that its last one polled.
func (f *fixture) poll(me int, isBusy bool, before ...looked) (l looked) {
	f.Helper()
	isTold := len(before) > 0 && before[0].IsMine
	tx, err := f.teller.BeginTx(f.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		f.Fatal(err)
	}
	dbtest.Exec(f, tx, "LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE NOWAIT")
	rows, _ := tx.Query(f.Context(), "SELECT is_mine, for_ms, was_polled, recorded, oldest::text::bigint, next::text::bigint FROM terasocket.poll($1, $2, $3, true)", me, isBusy, isTold)
	if l, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[looked]); err == nil {
		err = tx.Commit(f.Context())
	}
	if err != nil {
		f.Fatal(err)
	}
	return l
}

const (
	write   = "UPDATE t_sites SET site_name = clock_timestamp()::text WHERE id_site = 1"
	isAhead = "SELECT last_value > date_part('epoch', clock_timestamp()) * 1000000 FROM terasocket.polled_until"
)

// ahead sets the time until which a gateway polls.
func ahead(d time.Duration) string {
	return fmt.Sprintf("SELECT setval('terasocket.polled_until', greatest(0, (date_part('epoch', clock_timestamp()) * 1000000)::bigint + %d))", d.Microseconds())
}

// whilePolled runs what a writer does while a gateway polls; it repeats it if that time has passed meanwhile on a busy machine.
func (f *fixture) whilePolled(conn *pgx.Conn, sql string) {
	f.Helper()
	for range 20 {
		execOn(f, conn, ahead(990*time.Millisecond)+"; "+sql)
		if one[bool](f, isAhead) {
			return
		}
	}
	f.Fatal("the machine is too busy")
}

// While a gateway polls nobody notifies, and changes are announced all the same. A time that has passed, or that no gateway can have set,
// is ignored.
func TestNobodyNotifiesWhileAGatewayPolls(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	execOn(t, f.teller, "SET terasocket.poll = on")
	f.poll(7, false) // the database may have been another test's
	if l := f.poll(7, false); l.IsMine || l.WasPolled || l.ForMs != 0 {
		t.Errorf("before: %+v", l)
	}
	begin := f.poll(7, true)
	if !begin.IsMine || begin.WasPolled {
		t.Errorf("begins: %+v", begin)
	}
	if got := received(f, listener); len(got) != 1 || got[0].What != "poll" {
		t.Errorf("the other gateways receive %+v", got)
	}
	f.exec(ahead(990 * time.Millisecond))
	if l := f.poll(int(one[int64](f, "SELECT last_value % 1000 FROM terasocket.polled_until")), true); l.IsMine { // its COMMIT failed: the others were not told
		if got := received(f, listener); len(got) != 1 || got[0].What != "poll" {
			t.Errorf("the other gateways receive again %+v", got)
		}
	}
	f.whilePolled(f.teller, "SELECT")
	f.poll(int(one[int64](f, "SELECT last_value % 1000 FROM terasocket.polled_until")), true, begin)
	if got := received(f, listener); len(got) > 0 && one[bool](f, isAhead) {
		t.Errorf("the other gateways, which know, receive %+v", got)
	}
	for _, sql := range []string{write, "DELETE FROM t_tests_invitations", "SELECT terasocket.record('site', 'U', false, '{1}')"} {
		f.whilePolled(f.conn, sql)
		if got := received(f, listener); len(got) > 0 {
			t.Errorf("%s: %+v", sql, got)
		}
	}
	f.log()
	f.whilePolled(f.conn, write)
	f.expectLog("while it polls", "U site 1")
	for name, d := range map[string]time.Duration{"passed": -time.Millisecond, "of another clock": time.Hour, "just of another clock": 1500 * time.Millisecond, "nobody": -1e6 * time.Hour} {
		f.exec(ahead(d))
		f.exec(write)
		if got := received(f, listener); len(got) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// One gateway polls: another takes over only when its time has passed. Whoever finds that time over ends it.
func TestOneGatewayPolls(t *testing.T) {
	t.Parallel()
	f := setup(t)
	execOn(t, f.teller, "SET terasocket.poll = on")
	until := func() int64 { return one[int64](f, "SELECT last_value FROM terasocket.polled_until") }
	begin := func() {
		t.Helper()
		f.exec(ahead(-time.Second))
		if l := f.poll(7, true); !l.IsMine || !l.WasPolled || until()%1000 != 7 {
			t.Fatalf("takes over: %+v, %d", l, until())
		}
	}
	begin()
	was := until()
	if l := f.poll(8, true); l.IsMine && one[bool](f, isAhead) {
		t.Errorf("a second gateway: %+v", l)
	} else if !l.IsMine && (until() != was || !l.WasPolled || l.ForMs < 1 || l.ForMs > 1000) {
		t.Errorf("a second gateway, that time until %d, before %d: %+v", until(), was, l)
	}
	begin()
	was = until()
	f.exec("SELECT pg_sleep(0.3)")
	if l := f.poll(7, true); !l.IsMine || until() <= was {
		t.Errorf("it does not go on: %+v", l)
	}
	if l := f.poll(7, false); l.IsMine || l.ForMs != 0 || !l.WasPolled || until() != 0 {
		t.Errorf("it does not end: %+v", l)
	}
	if l := f.poll(7, false); l.WasPolled {
		t.Errorf("it has not ended: %+v", l)
	}
	for _, d := range []time.Duration{-time.Second, time.Hour} { // the second: a promoted database, or a clock set back
		f.exec(ahead(d))
		if l := f.poll(8, false); l.IsMine || !l.WasPolled || until() != 0 {
			t.Errorf("%v: it is not ended: %+v", d, l)
		}
	}
	before := f.poll(7, false).Recorded
	f.exec(write + "; BEGIN; " + write + "; " + write + "; ROLLBACK")
	mustEqual(t, "recorded", f.poll(7, false).Recorded-before, int64(3))
}

// The setting terasocket.poll. By default no gateway polls if transactions can be prepared, as on the server of these tests: PREPARE
// TRANSACTION then always fails, unless the writer has turned terasocket.notify off.
func TestPollSetting(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, tt := range []struct {
		setting     string
		busy, quiet bool
	}{{"", false, false}, {"off", false, false}, {"on", true, false}, {"always", true, true}, {"nonsense", false, false}} {
		f.exec(ahead(-time.Second))
		execOn(t, f.teller, "SET terasocket.poll = '"+tt.setting+"'")
		mustEqual(t, tt.setting+", busy", f.poll(7, true).IsMine, tt.busy)
		mustEqual(t, tt.setting+", quiet", f.poll(7, false).IsMine, tt.quiet)
	}
	execOn(t, f.teller, "RESET terasocket.poll")
	f.exec(ahead(-time.Second))
	f.poll(7, true)
	f.exec("BEGIN; " + write)
	if _, err := f.conn.Exec(t.Context(), "PREPARE TRANSACTION 'polled'"); err == nil || !strings.Contains(err.Error(), "NOTIFY") {
		t.Errorf("%v", err)
	}
	f.exec("ROLLBACK")
}

// The id of a transaction that did not notify is below next of every announcement that began when nobody polled any more, and not below
// oldest before it has ended: asleep, or prepared.
func TestTransactionWithoutNotification(t *testing.T) {
	t.Parallel()
	f := setup(t)
	name := "'polled " + f.conn.Config().Database + "'"
	for what, sql := range map[string][2]string{"asleep": {"", "COMMIT"}, "prepared": {"PREPARE TRANSACTION " + name, "COMMIT PREPARED " + name}} {
		writer := dbtest.Conn(t, f.url)
		f.whilePolled(writer, "ROLLBACK; BEGIN; "+write)
		execOn(t, writer, sql[0])
		f.exec(ahead(-time.Second))
		f.poll(7, false) // ends it
		l := f.poll(7, false)
		if l.WasPolled {
			t.Fatalf("%s: %+v", what, l)
		}
		if late := f.poll(7, false); late.Oldest >= l.Next {
			t.Errorf("%s: %+v, after %+v", what, late, l)
		}
		execOn(t, writer, sql[1])
		dbtest.Eventually(t, "all have ended", func() bool { return f.poll(7, false).Oldest >= l.Next })
		f.expectLog(what, "U site 1")
	}
}

// A transaction that has an id, and may not notify, is below next even if no later one has ended.
func TestTheNewestTransactionIsKnown(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(ahead(-time.Second))
	f.poll(7, false) // ends it
	f.exec("BEGIN")
	id := one[uint64](f, "SELECT pg_current_xact_id()::text::bigint")
	if l := f.poll(7, false); l.WasPolled || l.Next <= id {
		t.Errorf("transaction %d: %+v", id, l)
	}
	f.exec("ROLLBACK")
}

// The current polling state is read whatever the writer's snapshot, without locks that could conflict with an announcement, a dump or a
// SERIALIZABLE transaction.
func TestPollIsReadOutsideTheSnapshot(t *testing.T) {
	t.Parallel()
	f := setup(t)
	execOn(t, f.teller, "SET terasocket.poll = on")
	listener := listen(f, "terasocket")
	for _, level := range []string{"REPEATABLE READ", "SERIALIZABLE"} {
		writer := dbtest.Conn(t, f.url)
		execOn(t, writer, "BEGIN ISOLATION LEVEL "+level+"; SELECT count(*) FROM t_users")
		f.whilePolled(f.conn, "SELECT 1")
		execOn(t, writer, write)
		isSilent := one[bool](f, isAhead)
		mustEqual(t, level+", predicate locks on what is ours", oneOn[int](t, writer, `SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
			WHERE l.pid = pg_backend_pid() AND l.mode = 'SIReadLock' AND c.relnamespace = 'terasocket'::regnamespace`), 0)
		f.within(time.Second, "a look beside it", func() { f.poll(7, true); f.poll(7, false); f.poll(7, true) })
		received(f, listener)
		execOn(t, writer, "COMMIT") // it does not fail
		if got := received(f, listener); isSilent && len(got) > 0 {
			t.Errorf("%s: %+v", level, got)
		}
		execOn(t, writer, "BEGIN ISOLATION LEVEL "+level+"; SELECT count(*) FROM t_users")
		f.exec(ahead(-time.Second))
		execOn(t, writer, write+"; COMMIT")
		if got := received(f, listener); len(got) != 1 {
			t.Errorf("%s, nobody polls any more: %+v", level, got)
		}
	}
}
