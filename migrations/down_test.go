package migrations_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// A Down that fails, at whatever step, has changed nothing.
func TestFailedDown(t *testing.T) {
	t.Parallel()
	for name, obstacle := range map[string]string{
		"a view on a table of ours":     "CREATE VIEW mine AS SELECT * FROM terasocket.changes",
		"a view on the first of them":   "CREATE VIEW mine AS SELECT * FROM terasocket.functions",
		"a view on a function of ours":  "CREATE VIEW mine AS SELECT * FROM terasocket.capture_tables()",
		"a table in our schema":         "CREATE TABLE terasocket.mine ()",
		"a trigger that calls ours too": "CREATE TABLE t_mine (); CREATE TRIGGER mine AFTER UPDATE ON t_mine EXECUTE FUNCTION terasocket.capture_t_sites(); ALTER EXTENSION plpgsql ADD FUNCTION terasocket.capture_t_sites()",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, url, conn := standingIn(t, standIn())
			mustUp(t, m)
			execOn(t, conn, obstacle)
			before := dump(t, url)
			_, err := m.Down(t.Context(), 99)
			if err == nil || !strings.HasPrefix(err.Error(), "nothing has changed: ") {
				t.Errorf("%v", err)
			}
			if after := dump(t, url); after != before {
				t.Errorf("it has changed: %s", firstDifference(before, after))
			}
			mustVersion(t, m, 2)
		})
	}
}

// A running gateway is named, with its host; one with an expired lease, and OpenTera's own server, are ignored.
func TestDownRefusesBesideAGateway(t *testing.T) {
	t.Parallel()
	m, _, conn := standingIn(t, standIn())
	mustUp(t, m)
	execOn(t, conn, `CREATE TABLE terasocket.gateways (id uuid, name text, lease_until timestamptz);
		INSERT INTO terasocket.gateways VALUES ('00000000-0000-0000-0000-000000000000', 'OpenTera', now() + interval '1 hour'),
			(gen_random_uuid(), 'dead', now() - interval '1 s'), (gen_random_uuid(), 'vm :4050 (7)', now() + interval '1 hour')`)
	if _, err := m.Down(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "nothing has changed: gateway vm :4050 (7) runs: stop it first") {
		t.Errorf("beside a gateway: %v", err)
	}
	execOn(t, conn, "DELETE FROM terasocket.gateways WHERE name ~ 'vm'")
	mustMigrate(t, 1, func() (int, error) { return m.Down(t.Context(), 1) })
}

// Whoever holds a table is named, and waited for at most LockTimeout; nobody waits behind the migrator meanwhile.
func TestDownNamesWhoIsInTheWay(t *testing.T) {
	t.Parallel()
	m, url, conn := standingIn(t, standIn())
	mustUp(t, m)
	m.LockTimeout = time.Second
	config := conn.Config().Copy()
	config.RuntimeParams["application_name"] = "OpenTera main"
	reader, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close(t.Context()) }()
	execOn(t, reader, "BEGIN; SELECT count(*) FROM t_sites")
	before := dump(t, url)

	stop, stopped := make(chan struct{}), make(chan error, 1)
	writer := dbtest.Conn(t, url)
	execOn(t, writer, "SET lock_timeout = '1s'")
	go func() {
		_, err := again(t.Context(), writer, "UPDATE t_sessions SET session_name = 'x' WHERE id_session = 1; SELECT count(*) FROM t_sites", stop)
		stopped <- err
	}()
	_, err = m.Down(t.Context(), 99)
	close(stop)
	if err := <-stopped; err != nil {
		t.Errorf("a writer beside: %v", err)
	}
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"no lock within 1s", "(OpenTera main, idle in transaction since 20", "stop OpenTera's server", "nothing has changed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if after := dump(t, url); after != before {
		t.Errorf("it has changed: %s", firstDifference(before, after))
	}
	execOn(t, reader, "ROLLBACK")
	mustMigrate(t, 2, func() (int, error) { return m.Down(t.Context(), 99) })
	if n := ours(t, conn); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// A partial Down drops triggers and functions, and keeps the tables' rows; Up creates them again.
func TestPartialDown(t *testing.T) {
	t.Parallel()
	m, _, conn := standingIn(t, standIn())
	mustUp(t, m)
	execOn(t, conn, "INSERT INTO terasocket.events VALUES (7)")
	mustMigrate(t, 1, func() (int, error) { return m.Down(t.Context(), 1) })
	mustVersion(t, m, 1)
	execOn(t, conn, "UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	if n := oneOn[int](t, conn, `SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'terasocket'::regnamespace)
		+ (SELECT count(*) FROM pg_trigger WHERE tgname ~ 'terasocket') + (SELECT count(*) FROM terasocket.changes)`); n != 0 {
		t.Errorf("%d functions, triggers and changes", n)
	}
	status, err := m.Status(t.Context())
	if err != nil || status.Functions != "missing" {
		t.Errorf("%+v, %v", status, err)
	}
	mustMigrate(t, 1, func() (int, error) { return m.Up(t.Context()) })
	execOn(t, conn, "UPDATE t_sites SET site_name = 'y' WHERE id_site = 1")
	if n := oneOn[int](t, conn, "SELECT (SELECT count(*) FROM terasocket.changes) + (SELECT max(seq) FROM terasocket.events)"); n != 8 {
		t.Errorf("%d", n)
	}
	if _, err := m.Down(t.Context(), 0); err == nil {
		t.Error("down 0 is not refused")
	}
}

// Functions of a newer binary are neither dropped nor replaced by an older one.
func TestNewerFunctions(t *testing.T) {
	t.Parallel()
	m, _, conn := standingIn(t, standIn())
	mustUp(t, m)
	execOn(t, conn, "UPDATE terasocket.functions SET compatibility = compatibility + 1")
	for _, err := range []error{second(m.Up(t.Context())), second(m.Down(t.Context(), 1))} {
		if err == nil || err.Error() != migrations.ErrAhead.Error() {
			t.Errorf("%v", err)
		}
	}
}

// Tables from before the first release lack what functions need: Up says what to do, and Down works.
func TestTablesFromBeforeTheFirstRelease(t *testing.T) {
	t.Parallel()
	m, _, conn := migrator(t)
	mustUp(t, m)
	execOn(t, conn, "DROP SEQUENCE terasocket.polled_until; UPDATE terasocket.functions SET hash = 'before'")
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "polled_until") || !strings.Contains(err.Error(), "run `terasocket migrate down --all`, and") {
		t.Errorf("%v", err)
	}
	mustMigrate(t, int(migrations.Latest()), func() (int, error) { return m.Down(t.Context(), 99) })
	mustUp(t, m)
}
