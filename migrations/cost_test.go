package migrations_test

import (
	"testing"
)

// The cost of an event does not grow with the tables: capture finds its way by index.
func TestCaptureReadsByIndex(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manyParticipants(f, 5_000)
	f.exec("ANALYZE")
	for _, sql := range []string{
		"UPDATE t_sessions SET session_name = session_name || '.' WHERE id_session = 1",
		"UPDATE t_assets SET asset_name = asset_name || '.' WHERE id_asset = 1",
		"UPDATE t_tests SET test_name = test_name || '.' WHERE id_test = 1",
		"UPDATE t_tests_invitations SET test_invitation_count = test_invitation_count + 1 WHERE id_test_invitation = 1",
		"UPDATE t_participants SET participant_name = participant_name || '.' WHERE id_participant = 100001",
		"UPDATE t_users SET user_firstname = user_firstname || '.' WHERE id_user = 9",
		"UPDATE t_sessions_participants SET id_participant = id_participant % 9 + 1 WHERE id_session = 1",
	} {
		for range 7 { // with the plan of a statement, then with a general one
			f.exec("BEGIN")
			f.exec(sql)
			if n := one[int](f, "SELECT coalesce(max(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = 't_participants'"); n > 0 {
				t.Errorf("%s: %d rows of t_participants are read", sql, n)
			}
			f.exec("COMMIT")
		}
	}
}

// A settlement that fails is tried once, not for every row of terasocket.pending.
func TestSettleFailsOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true
	f.exec("DROP FUNCTION terasocket.without_dead(jsonb, xid8)")
	f.exec("BEGIN; DELETE FROM t_users_groups; UPDATE t_sites SET site_name = 'x'; COMMIT")
	if pending, failures := one[int](f, "SELECT count(*) FROM terasocket.pending"), one[int](f, "SELECT count(*) FROM terasocket.capture_errors WHERE op = 'SETTLE'"); pending < 5 || failures != 1 {
		t.Errorf("%d failures for %d rows", failures, pending)
	}
	// and the next transaction is tried again
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'y'; UPDATE t_sites SET site_name = 'z'; COMMIT")
	if failures := one[int](f, "SELECT count(*) FROM terasocket.capture_errors WHERE op = 'SETTLE'"); failures != 2 {
		t.Errorf("%d failures of two transactions", failures)
	}
}
