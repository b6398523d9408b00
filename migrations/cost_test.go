package migrations_test

import (
	"testing"
)

// The cost of a change does not grow with the tables: capture reads none, and announcements use indexes.
func TestAnnounceReadsByIndex(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manyParticipants(f, 5_000)
	f.log()
	f.exec("ANALYZE")
	for _, sql := range []string{
		"UPDATE t_sessions SET session_name = session_name || '.' WHERE id_session = 1",
		"UPDATE t_assets SET asset_name = asset_name || '.' WHERE id_asset = 1",
		"UPDATE t_tests SET test_name = test_name || '.' WHERE id_test = 1",
		"UPDATE t_tests_invitations SET test_invitation_count = test_invitation_count + 1 WHERE id_test_invitation = 1",
		"UPDATE t_participants SET participant_name = participant_name || '.' WHERE id_participant = 100001",
		"UPDATE t_participants SET participant_enabled = NOT participant_enabled WHERE id_participant = 100001",
		"UPDATE t_users SET user_firstname = user_firstname || '.' WHERE id_user = 9",
		"UPDATE t_sessions_participants SET id_participant = id_participant % 9 + 1 WHERE id_session = 1",
	} {
		for range 7 { // with a custom plan, then with a generic one
			f.exec("BEGIN")
			f.exec(sql)
			const read = "SELECT coalesce(max(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname IN ('t_participants', 'told')"
			if n := one[int](f, read); n > 0 {
				t.Errorf("%s: capture reads %d rows", sql, n)
			}
			f.exec("COMMIT")
			execOn(t, f.teller, lock+"SELECT * FROM terasocket.announce()")
			if n := oneOn[int](t, f.teller, read); n > 0 {
				t.Errorf("%s: %d rows are read to announce it", sql, n)
			}
			execOn(t, f.teller, "COMMIT")
		}
	}
	f.skip()
}

// Compiling a plan takes a hundred times as long as running it: capture of a large statement turns jit off, whatever the writer's
// setting.
func TestCaptureIsNotCompiled(t *testing.T) {
	t.Parallel()
	f := setup(t)
	without := one[[]string](f, "SELECT coalesce(array_agg(proname::text), '{}') FROM pg_proc WHERE pronamespace = 'terasocket'::regnamespace AND prorettype = 'trigger'::regtype AND NOT 'jit=off' = ANY (proconfig)")
	if len(without) > 0 {
		t.Errorf("%q", without)
	}
}
