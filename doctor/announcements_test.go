package doctor

import (
	"testing"
	"time"
)

// announce announces everything that has committed.
func (i *installation) announce() {
	i.Helper()
	i.exec("BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE; SELECT * FROM terasocket.announce(2000, true); COMMIT")
}

func TestCaptureErrors(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("ALTER TABLE terasocket.changes ADD CONSTRAINT no CHECK (false) NOT VALID")
	i.exec("UPDATE t_sites SET site_name = 'after' WHERE id_site = 1")
	i.exec("ALTER TABLE terasocket.changes DROP CONSTRAINT no")
	i.find("capture-errors").must(t, Fail, "1 since 20", "UPDATE of t_sites: SQLSTATE 23514", "1 of them are not announced")
	i.announce()
	f := i.find("capture-errors")
	f.must(t, Warn, "all are announced")
	i.repair(f)
	i.find("capture-errors").must(t, OK)
}

func TestNotFilled(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("filled").must(t, OK)
	i.exec("UPDATE terasocket.filling SET fill_type = 'session', fill_id = 7")
	i.find("filled").must(t, Fail, "at session", "migrate up")
}

func TestChangesWait(t *testing.T) {
	t.Parallel()
	judgeChanges(0, 0, 0, false).must(t, OK, "0 wait")
	judgeChanges(12, 59*time.Second, 5<<20, false).must(t, OK, "12 wait", "5 MB")
	judgeChanges(12, 61*time.Second, 0, false).must(t, Fail, "the oldest for 1m1s")
	judgeChanges(10_000, 0, 2<<30, true).must(t, Fail, "10,000 or more wait", "2048 MB", "terasocket.max_changes_bytes", "begins anew")

	i := newInstallation(t)
	i.exec("UPDATE t_sites SET site_name = 'x'; UPDATE terasocket.changes SET at = at - interval '5 minutes'")
	i.find("changes").must(t, Fail, "1 wait", "the oldest for 5m")
	i.announce()
	i.find("changes").must(t, OK, "0 wait")
	i.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET terasocket.max_changes_bytes = 1', current_database()); END $$")
	i.exec("UPDATE t_sites SET site_name = 'y'")
	i.find("changes").must(t, Fail, "more than its bound")
}

func TestSetAside(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("ALTER TABLE terasocket.told ADD CONSTRAINT no CHECK (object_type <> 'site') NOT VALID")
	i.exec("INSERT INTO t_sites SELECT 9000 + n, 'x', false, 1 FROM generate_series(1, 5) n")
	i.announce()
	i.find("set-aside").must(t, Warn, "site 900", "SQLSTATE 23514", "and 2 more")
	i.exec("ALTER TABLE terasocket.told DROP CONSTRAINT no; UPDATE t_sites SET site_name = 'y'")
	i.announce()
	i.find("set-aside").must(t, OK)
}

// A function or table that does not fit the statements of serve.
func TestStatements(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if n := len(servedStatements()); n < 20 {
		t.Errorf("only %d statements", n)
	}
	i.find("statements").must(t, OK)
	i.exec("ALTER TABLE terasocket.trimmed RENAME COLUMN seq TO up_to")
	i.find("statements").must(t, Fail, "eventlog/trim: ", "eventlog/read: ", "SQLSTATE 42703")
	i.exec("ALTER FUNCTION terasocket.bridge_leave RENAME TO bridge_left")
	i.find("statements").must(t, Fail, "bridge/leave: ", "SQLSTATE 42883")
}
