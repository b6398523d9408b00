package migrations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"terasocket/db/dbtest"
)

// fill fills the memory again, in batches, as gateways do.
func (f *fixture) fill(batch string) (batches int) {
	f.Helper()
	for left := -1; left != 0; batches++ {
		results, err := f.teller.PgConn().Exec(f.Context(), lock+"SELECT terasocket.fill("+batch+"); COMMIT").ReadAll()
		if err != nil {
			f.Fatalf("fill: %v", err)
		}
		if left = len(results[3].Rows[0][0]); string(results[3].Rows[0][0]) == "0" {
			left = 0
		}
	}
	return batches
}

func (f *fixture) isFilled() bool {
	f.Helper()
	return oneOn[bool](f, f.teller, "SELECT terasocket.is_filled()")
}

// Rule "no gateway runs": past the bound of changes, a statement records one row "everything", without NOTIFY. Then the memory is filled
// again, and every client begins anew, in a new epoch.
func TestNoGatewayRuns(t *testing.T) {
	t.Parallel()
	f := setup(t)
	listener := listen(f, "terasocket")
	before := f.announce()
	f.exec("SET terasocket.max_changes_bytes = 8192")
	for range 200 { // more than a page
		f.exec("UPDATE t_participants SET participant_name = participant_name || '.' WHERE id_participant <= 20")
	}
	changes := f.changes()
	last := changes[len(changes)-1]
	if n := len(changes); n < 20 || last.What != "everything" || last.IDs != nil {
		t.Fatalf("%d changes, the last %v", n, last)
	}
	everything := len(slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return c.What != "everything" }))
	if hints := received(f, listener); len(hints) != len(changes)-everything {
		t.Errorf("%d hints of %d changes, %d of them of everything", len(hints), len(changes), everything)
	}
	s, err := f.call("")
	if err != nil || s.rows != 0 || s.more || f.isFilled() {
		t.Errorf("%+v, %v; filled %t", s, err, f.isFilled())
	}
	f.fill("1000")
	after := f.announce()
	if after.epoch <= before.epoch || after.epoch <= before.lastSeq || len(f.told()) != 0 {
		t.Errorf("%+v after %+v", after, before)
	}
	mustEqual(t, "why", one[string](f, "SELECT reason FROM terasocket.epochs ORDER BY begin DESC LIMIT 1"), "filled")
	mustEqual(t, "changes left", len(f.changes()), 0)
	f.exec("RESET terasocket.max_changes_bytes")
	f.skip()
	f.expect(rename1, "U participant 1")
	f.remembers()
}

// A bound that is not a number is ignored.
func TestBoundOfChangesIsANumber(t *testing.T) {
	t.Parallel()
	f := alone(t)
	for setting, want := range map[string]bool{"0": false, "1GB": false, "": false, "-1": false} {
		f.exec("SET terasocket.max_changes_bytes = '" + setting + "'")
		mustEqual(t, setting, one[bool](f, "SELECT terasocket.changes_overflow()"), want)
	}
}

// Rule "first fill": it is done in batches, and continues where it was stopped; changes meanwhile are announced only afterwards.
func TestFirstFillIsStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manyParticipants(f, 500)
	f.announce()
	f.exec("UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0")
	for range 4 {
		execOn(t, f.teller, lock+"SELECT terasocket.fill(100); COMMIT")
	}
	step := one[string](f, "SELECT concat_ws(' ', fill_type, fill_id) FROM terasocket.announcer")
	execOn(t, f.teller, lock+"SELECT terasocket.fill(100)")
	f.exec(fmt.Sprintf("SELECT pg_terminate_backend(%d, 10000)", f.teller.PgConn().PID()))
	f.teller = dbtest.Conn(t, f.url)
	mustEqual(t, "after a crash", one[string](f, "SELECT concat_ws(' ', fill_type, fill_id) FROM terasocket.announcer"), step)
	f.exec(moveTo4 + "; UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9; DELETE FROM t_tests_invitations; UPDATE t_participants SET participant_name = 'x' WHERE id_participant = 100400")
	if s, err := f.call(""); err != nil || s.rows != 0 || s.more {
		t.Errorf("announced before it is filled: %+v, %v", s, err)
	}
	if n := f.fill("100"); n < 6 {
		t.Errorf("%d batches", n)
	}
	f.announce()
	told := f.told()
	if !slices.Contains(told, "U participant 1") || !slices.Contains(told, "U participant 100400") {
		t.Errorf("%q", told)
	}
	f.remembers()
}

// Rule "missed writers": rights changed by a writer without triggers are found and announced; a second run finds nothing.
func TestMissedWriters(t *testing.T) {
	t.Parallel()
	f := setup(t)
	look := func(kind string, size int) (different int) {
		after := 0
		for {
			var last *int
			var n int
			if err := f.conn.QueryRow(t.Context(), "SELECT last, different FROM terasocket.reconcile($1, $2, $3)", kind, after, size).Scan(&last, &n); err != nil {
				t.Fatal(err)
			}
			different += n
			if last == nil {
				return different
			}
			after = *last
		}
	}
	f.exec("UPDATE t_devices SET device_enabled = true")
	f.skip()
	mustEqual(t, "before", look("user", 7)+look("participant", 1000)+look("device", 1000), 0)
	f.exec("SET session_replication_role = replica")
	f.exec("UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9; UPDATE t_users SET user_enabled = false WHERE id_user = 10; DELETE FROM t_devices WHERE id_device = (SELECT max(id_device) FROM t_devices WHERE deleted_at IS NULL); " +
		"UPDATE t_participants SET deleted_at = now() WHERE id_participant = 1")
	f.exec("SET session_replication_role = origin")
	mustEqual(t, "captured", len(f.changes()), 0)
	mustEqual(t, "users", look("user", 7), 2)
	f.announce()
	mustEqual(t, "participants", look("participant", 7), 1)
	f.announce()
	mustEqual(t, "devices", look("device", 1000), 1)
	f.announce()
	rights := 0
	for _, line := range f.told() {
		if strings.HasPrefix(line, "Rights ") {
			rights++
		}
	}
	mustEqual(t, "rights rows", rights, 4)
	mustEqual(t, "afterwards", look("user", 7)+look("participant", 7)+look("device", 1000), 0)
	mustEqual(t, "disabled users", one[int](f, "SELECT count(*) FROM terasocket.holdings WHERE kind = 'user' AND id = 10 OR kind = 'participant' AND id = 1"), 0)
}
