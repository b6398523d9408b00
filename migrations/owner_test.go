package migrations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/migrations"
)

// owned returns a database whose tables belong to a role of their own, which may create indexes but no schema.
func owned(t *testing.T) (url, owner string, conn *pgx.Conn) {
	t.Helper()
	_, url, conn = migrator(t)
	owner = newRole(t, conn)
	execOn(t, conn, `DO $$ DECLARE r regclass; BEGIN FOR r IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
		EXECUTE 'ALTER TABLE ' || r || ' OWNER TO `+owner+`'; END LOOP; END $$; GRANT CREATE ON SCHEMA public TO `+owner)
	return url, owner, conn
}

// mustBelong compares the owner of everything that is ours.
func mustBelong(t *testing.T, conn *pgx.Conn, owner string) {
	t.Helper()
	owners := oneOn[string](t, conn, `SELECT string_agg(DISTINCT o::regrole::text, ' ') FROM (SELECT nspowner FROM pg_namespace WHERE nspname = 'terasocket'
		UNION ALL SELECT relowner FROM pg_class WHERE relnamespace = 'terasocket'::regnamespace
		UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'terasocket'::regnamespace) x (o)`)
	mustEqual(t, "owner", owners, owner)
}

// A superuser migrates as the owner of OpenTera's tables; otherwise our functions would make OpenTera's role a superuser.
func TestSuperuserBecomesTheOwner(t *testing.T) {
	t.Parallel()
	url, owner, conn := owned(t)
	m := from(t, url, standIn())
	mustUp(t, m)
	mustBelong(t, conn, owner)
	execOn(t, conn, "SET ROLE "+owner+"; UPDATE t_sites SET site_name = 'x' WHERE id_site = 1; RESET ROLE")
	mustMigrate(t, 2, func() (int, error) { return m.Down(t.Context(), 9) })
	if n := ours(t, conn); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// So does a member of the owner, and nobody else.
func TestMemberBecomesTheOwner(t *testing.T) {
	t.Parallel()
	url, owner, conn := owned(t)
	member := newRole(t, conn)
	execOn(t, conn, "ALTER ROLE "+member+" NOINHERIT")
	_, err := migrations.NewFrom(t.Context(), withRole(url, member), standIn())
	if !errors.Is(err, migrations.ErrOwner) || !strings.Contains(err.Error(), "belong to "+owner) {
		t.Errorf("a stranger: %v", err)
	}
	execOn(t, conn, "GRANT "+owner+" TO "+member)
	m := from(t, withRole(url, member), standIn())
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), owner+" may not create a schema: GRANT CREATE ON DATABASE") {
		t.Errorf("without the right to create a schema: %v", err)
	}
	execOn(t, conn, "GRANT CREATE ON DATABASE "+conn.Config().Database+" TO "+owner)
	execOn(t, conn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC, "+owner)
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "lacks a right (it needs CREATE on the database, and on the schema public for indexes)") {
		t.Errorf("without the right to create an index: %v", err)
	}
	execOn(t, conn, "GRANT CREATE ON SCHEMA public TO "+owner)
	mustUp(t, m)
	mustBelong(t, conn, owner)
	mustUp(t, from(t, withRole(url, owner), standIn()))
}

// Tables of several owners, or a foreign schema terasocket, are reported before anything is done.
func TestSeveralOwners(t *testing.T) {
	t.Parallel()
	url, owner, conn := owned(t)
	execOn(t, conn, "ALTER TABLE t_sites OWNER TO CURRENT_USER")
	if _, err := migrations.NewFrom(t.Context(), url, standIn()); err == nil || !strings.Contains(err.Error(), "ALTER TABLE ... OWNER TO "+owner) {
		t.Errorf("%v", err)
	}
	execOn(t, conn, "ALTER TABLE t_sites OWNER TO "+owner+"; CREATE SCHEMA terasocket")
	if _, err := migrations.NewFrom(t.Context(), url, standIn()); err == nil || !strings.Contains(err.Error(), "the schema terasocket belongs to") {
		t.Errorf("%v", err)
	}
}
