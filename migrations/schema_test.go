package migrations_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

// otherSchema is a database in which OpenTera's tables are not in public, but in the database's default search path.
func otherSchema() dbtest.Template {
	return dbtest.Template{Name: "other_schema", Fill: func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		if _, err := conn.Exec(ctx, `CREATE SCHEMA "Open Tera"; SET search_path = "Open Tera"`); err != nil {
			return err
		}
		if err := opentera.Load(ctx, conn); err != nil {
			return err
		}
		return migrations.Up(ctx, withSearchPath(url))
	}}
}

func withSearchPath(url string) string {
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	return url + separator + `search_path=%22Open%20Tera%22,public`
}

// captured returns what is recorded and not announced yet.
const captured = "SELECT string_agg(concat_ws(' ', what, op, ids), ', ' ORDER BY xid, id) FROM terasocket.changes"

// With a publication FOR ALL TABLES, PostgreSQL refuses an UPDATE or DELETE of a table without a primary key.
func TestEveryTableHasAPrimaryKey(t *testing.T) {
	t.Parallel()
	f := setup(t)
	mustEqual(t, "without one", one[string](f, `SELECT coalesce(string_agg(c.relname, ' '), '') FROM pg_class c
		WHERE c.relnamespace = 'terasocket'::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)`), "")
}

// OpenTera's tables may be in another schema than public, and be written to by a session with any search path.
func TestOtherSchema(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, otherSchema())
	conn := dbtest.Conn(t, url)
	f := &fixture{TB: t, url: url, conn: conn}
	execOn(t, conn, `UPDATE "Open Tera".t_sites SET site_name = 'Elsewhere' WHERE id_site = 1; TRUNCATE "Open Tera".t_tests_invitations`)
	mustEqual(t, "changes", oneOn[string](t, conn, captured), "site U {1}, test_invitation T")
	token := one[string](f, "SELECT terasocket.create_connect_token('user', $1)", opentera.DemoProjectUserUUID)
	if id := one[int](f, "SELECT id FROM terasocket.redeem_connect_token('user', $1)", token); id != opentera.DemoProjectUserID {
		t.Errorf("token is of user %d", id)
	}
	if n := one[int](f, `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`); n != 0 {
		t.Errorf("%d relations in public", n)
	}
}

// The schema is also found by the role's search path, and a role that does not see OpenTera's tables is told so.
func TestSearchPathOfTheRole(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, otherSchema())
	conn := dbtest.Conn(t, url)
	if err := migrations.Check(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "not an OpenTera database") {
		t.Errorf("without search path: %v", err)
	}
	execOn(t, conn, fmt.Sprintf(`ALTER DATABASE %s SET search_path = "Open Tera"`, conn.Config().Database))
	m, err := migrations.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{second(m.Down(t.Context(), 99)), second(m.Up(t.Context())), migrations.Check(t.Context(), dbtest.Conn(t, url))} {
		if err != nil {
			t.Error(err)
		}
	}
	execOn(t, conn, `UPDATE "Open Tera".t_sites SET site_name = 'Elsewhere' WHERE id_site = 1`)
	mustEqual(t, "changes", oneOn[string](t, conn, captured), "site U {1}")
}

func second[T any](_ T, err error) error { return err }
