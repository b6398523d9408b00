package bridge

import (
	"fmt"
	"testing"

	"terasocket/db/dbtest"
)

// Everybody takes locks in one order (functions/bridge.sql): a session that waits for an earlier lock holds no later one.
// (Locks on busy are waited for 50 ms at most, which is less than deadlock_timeout.)
func TestLocksAreInOrder(t *testing.T) {
	t.Parallel()
	s := setup(t)
	term := s.reign(s.idle("here")).term
	s.connect("device", 1, 1)
	s.exec("SELECT terasocket.device_status(1, 'old', 1)")
	s.exec("SELECT terasocket.bridge_elsewhere('user', 4, true)")
	status := fmt.Sprintf(`{"%s": {"status": {"status": "{}", "timestamp": 2}}}`, s.device(1))
	for _, step := range []struct{ name, earlier, call, later string }{
		{"bridge, gateway", "SELECT FROM terasocket.bridge FOR UPDATE",
			fmt.Sprintf("SELECT FROM terasocket.bridge_lead('here', %d, '1 minute')", term),
			"SELECT FROM terasocket.gateways WHERE id = terasocket.opentera_gateway() FOR UPDATE NOWAIT"},
		{"status of a device, user", "SELECT FROM terasocket.online WHERE kind = 'device' FOR UPDATE",
			fmt.Sprintf("SELECT terasocket.bridge_reconcile(%d, '{}', '{}', '%s', '{}')", term, status),
			"SELECT FROM terasocket.online WHERE kind = 'user' FOR UPDATE NOWAIT"},
	} {
		holder, caller := dbtest.Conn(t, s.url), dbtest.Conn(t, s.url)
		dbtest.Exec(t, holder, "BEGIN")
		dbtest.Exec(t, holder, step.earlier)
		called := make(chan struct{})
		go func() {
			defer close(called)
			_, _ = caller.Exec(t.Context(), "BEGIN; "+step.call) // may give up
		}()
		s.eventually(step.name+": it waits", func() bool {
			return s.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid = $1 AND wait_event_type = 'Lock'", caller.PgConn().PID()) == 1
		})
		if _, err := holder.Exec(t.Context(), step.later); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		dbtest.Exec(t, holder, "ROLLBACK")
		<-called
		dbtest.Exec(t, caller, "ROLLBACK")
	}
}
