package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// Stamping changes one column, announces nothing and waits for nobody.
func TestStampTouchesOneColumn(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	for _, c := range []struct {
		table, id, column string
		stamp             func(ctx context.Context) error
	}{
		{"t_users", "id_user = 9", "user_lastonline", func(ctx context.Context) error {
			_, err := d.users.ByPassword(ctx, opentera.DemoProjectUser, opentera.DemoPassword)
			return err
		}},
		{"t_participants", "id_participant = 1", "participant_lastonline", func(ctx context.Context) error { return d.participants.Stamp(ctx, 1) }},
		{"t_devices", "id_device = 1", "device_lastonline", func(ctx context.Context) error { return d.devices.Stamp(ctx, 1) }},
	} {
		d.do("UPDATE " + c.table + " SET " + c.column + " = '2001-01-01'")
		stamped := func() int {
			return asked[int](d, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s > now() - interval '1 minute'", c.table, c.column))
		}
		everything := func() string {
			return asked[string](d, fmt.Sprintf("SELECT md5(string_agg((to_jsonb(r) - '%s')::text, ',' ORDER BY %s)) FROM %s r", c.column, strings.Fields(c.id)[0], c.table))
		}
		announce(t, d.pool)
		before := everything()
		if err := c.stamp(t.Context()); err != nil {
			t.Errorf("%s: %v", c.table, err)
		}
		if everything() != before {
			t.Errorf("%s: a column other than %s has changed", c.table, c.column)
		}
		if n := stamped(); n != 1 || asked[int](d, "SELECT count(*) FROM "+c.table+" WHERE "+c.id+" AND "+c.column+" > now() - interval '1 minute'") != 1 {
			t.Errorf("%s: %d rows stamped", c.table, n)
		}
		if n := announce(t, d.pool); n != 0 {
			t.Errorf("%s: %d events", c.table, n)
		}
		// OpenTera is writing the row
		open, err := d.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dbtest.Exec(t, open, "UPDATE "+c.table+" SET version_id = version_id + 1 WHERE "+c.id)
		if err := c.stamp(t.Context()); err != nil {
			t.Errorf("%s: while the row is locked: %v", c.table, err)
		}
		if err := open.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{d.participants.Stamp(ended, 1), d.devices.Stamp(ended, 1)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	// a refusal stamps nobody
	d.do("UPDATE t_users SET user_lastonline = NULL")
	_, _ = d.users.ByPassword(t.Context(), opentera.DemoProjectUser, "wrong")
	_, _ = d.users.ByPassword(t.Context(), opentera.DemoDisabled, opentera.DemoPassword)
	if n := asked[int](d, "SELECT count(user_lastonline) FROM t_users"); n != 0 {
		t.Errorf("%d stamped by a refusal", n)
	}
}
