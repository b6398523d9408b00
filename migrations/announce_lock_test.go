package migrations_test

import (
	"fmt"
	"testing"
	"time"

	"terasocket/db/dbtest"
)

// Rule "lock and snapshot": an announcement reads one snapshot. In READ COMMITTED each statement would read another.
func TestLockAndSnapshotNeedOneSnapshot(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, level := range []string{"READ COMMITTED", "READ UNCOMMITTED"} {
		execOn(t, f.teller, "BEGIN ISOLATION LEVEL "+level+"; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE")
		if state, message := refusal(t, f.teller, "SELECT * FROM terasocket.announce()"); state != "25000" {
			t.Errorf("%s: %s %s", level, state, message)
		}
		execOn(t, f.teller, "ROLLBACK")
	}
}

// Rule "lock and snapshot": one announcement at a time. A second one is refused at once; neither waits for writers, nor do writers, or
// readers of the log, wait for it.
func TestLockAndSnapshotOneAtATime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := dbtest.Conn(t, f.url)
	execOn(t, other, lock+"SELECT * FROM terasocket.announce()")
	f.within(time.Second, "a write, and a read of the log, beside an announcement", func() {
		f.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1; SELECT * FROM terasocket.events, terasocket.announcer")
	})
	_, err := f.call("")
	if state := stateOf(err); state != "55P03" {
		t.Errorf("beside another: %v", err)
	}
	execOn(t, other, "COMMIT")
	f.expectLog("after the other", "U site 1")
}

// Rule "lock and snapshot": the snapshot is taken after the lock. What is committed while an announcer waits is announced by it.
func TestLockAndSnapshotInThisOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := dbtest.Conn(t, f.url)
	execOn(t, other, "BEGIN; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE")
	pid := f.teller.PgConn().PID()
	done := make(chan error, 1)
	go func() {
		_, err := f.teller.PgConn().Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE; SELECT * FROM terasocket.announce(); COMMIT").ReadAll()
		done <- err
	}()
	f.exec(fmt.Sprintf(`DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE pid = %d AND NOT granted) LOOP PERFORM pg_sleep(0.005); END LOOP; END $$`, pid))
	f.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	execOn(t, other, "COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "announced", f.told(), []string{"U site 1"})
}

// Rule "what is new": what an announcement did not see is found later, however long its transaction runs, and nothing twice.
func TestWhatIsNewOfLongTransactions(t *testing.T) {
	t.Parallel()
	f := setup(t)
	first, second := f.beside(), f.beside()
	first.exec("BEGIN; UPDATE t_sites SET site_name = 'first' WHERE id_site = 1")
	f.expect("UPDATE t_projects SET project_name = 'a' WHERE id_project = 1", "U project 1")
	second.exec("BEGIN; SAVEPOINT s; UPDATE t_sites SET site_name = 'second' WHERE id_site = 2; RELEASE s")
	f.expect("UPDATE t_projects SET project_name = 'b' WHERE id_project = 1", "U project 1")
	second.exec("SAVEPOINT s; UPDATE t_devices SET device_name = 'second' WHERE id_device = 1; COMMIT")
	f.expectLog("the second", "U site 2", "U device 1")
	f.expectLog("again")
	f.expect("UPDATE t_projects SET project_name = 'c' WHERE id_project = 1", "U project 1")
	first.exec("UPDATE t_sites SET site_name = 'first at last' WHERE id_site = 1; COMMIT")
	e := f.expectLog("the first", "U site 1")[0]
	mustEqual(t, "name", e.Body["site_name"], any("first at last"))
	f.expectLog("again")
	mustEqual(t, "changes left", len(f.changes()), 0)
}

// Rule "what is new": a dump that holds a snapshot open for long neither repeats nor loses changes.
func TestWhatIsNewBesideADump(t *testing.T) {
	t.Parallel()
	f := setup(t)
	dump := dbtest.Conn(t, f.url)
	execOn(t, dump, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM terasocket.changes")
	for i := range 30 {
		f.expect(fmt.Sprintf("UPDATE t_sites SET site_name = 'x%d' WHERE id_site = 1", i), "U site 1")
	}
	execOn(t, dump, "SELECT count(*) FROM t_sites; COMMIT")
	f.expectLog("after the dump")
}

// Rule "what is new": transactions that roll back leave nothing, and delay nothing.
func TestWhatIsNewOfRollbacks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := f.beside()
	other.exec("BEGIN; UPDATE t_sites SET site_name = 'rolled back' WHERE id_site = 1")
	f.expect("UPDATE t_sites SET site_name = 'x' WHERE id_site = 2", "U site 2")
	other.exec("ROLLBACK")
	f.expectLog("after ROLLBACK")
	f.expect("UPDATE t_sites SET site_name = 'y' WHERE id_site = 1", "U site 1")
}
