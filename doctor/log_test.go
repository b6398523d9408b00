package doctor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"terasocket/db/dbtest"
)

func TestNotifyQueue(t *testing.T) {
	t.Parallel()
	for usage, want := range map[float64]Status{0: OK, 0.099: OK, 0.1: Warn, 0.5: Fail, 1: Fail} {
		judgeQueue(usage, "").must(t, want)
	}
	judgeQueue(0.5, "db, process 12").must(t, Fail, "50 % full", "process 12")
}

func TestLogIsNotTrimmed(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	i.announce()
	i.find("log").must(t, OK, "1 events")
	i.exec("UPDATE terasocket.events SET at = now() - interval '25 hours'")
	i.find("log").must(t, Warn, "the oldest 25h0m", "--log-retention")
	i.Retention = 48 * time.Hour
	i.find("log").must(t, OK)
	i.MaxRows = 10
	i.exec("UPDATE t_participants SET participant_name = participant_name || 'x'")
	i.announce()
	i.find("log").must(t, Warn, "10 events at most")
}

func TestLongTransactions(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	idle := dbtest.Conn(t, i.DatabaseURL)
	if _, err := idle.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	i.exec("BEGIN; CREATE TABLE of_something_else (); PREPARE TRANSACTION 'left''over " + i.owner.Config().Database + "'")
	d := newDoctor(i.Config)
	f := ask(t, d, "transactions")
	f.must(t, OK)
	d.long = time.Millisecond
	f = ask(t, d, "transactions")
	f.must(t, Warn, "idle in transaction", "prepared transaction 'left''over")
	i.repair(f)
	d.long = 100 * time.Millisecond // a process takes a moment to end
	for end := time.Now().Add(10 * time.Second); f.Status != OK && time.Now().Before(end); {
		f = ask(t, d, "transactions")
	}
	f.must(t, OK)
}

// OpenTera's main session, idle in its transaction for as long as it runs, is not a fault, and ending it breaks OpenTera. Once
// such a transaction has written, or keeps a snapshot, it holds others up.
func TestMainSessionOfOpenTera(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	main := dbtest.Conn(t, i.DatabaseURL)
	d := newDoctor(i.Config)
	d.long = time.Millisecond
	for sql, want := range map[string]Status{
		"BEGIN; SELECT count(*) FROM t_users":                                                       OK,
		"BEGIN; SELECT count(*) FROM t_users; UPDATE t_sites SET site_name = 'x' WHERE id_site = 1": Warn,
		"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t_users":                       Warn,
		"BEGIN; SELECT count(*) FROM pg_class":                                                      Warn, // another program's
	} {
		if _, err := main.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		f := ask(t, d, "transactions")
		f.must(t, want)
		if want == OK {
			f.must(t, OK, fmt.Sprintf("OpenTera's main session (process %d)", main.PgConn().PID()), "migrate down")
		}
		if strings.Contains(f.String(), "pg_terminate_backend") != (want != OK) {
			t.Errorf("%s: %s", sql, f)
		}
		if _, err := main.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	}
}
