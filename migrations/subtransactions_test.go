package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

// A statement that records nothing takes no transaction id of its own, so that readers pay only for captured ones (docs/operators.md).
func TestSilentStatementsTakeNoSubtransaction(t *testing.T) {
	t.Parallel()
	s := dbtest.Server(t, nil) // nobody else takes ids there
	connect := func() *pgx.Conn {
		c, err := pgx.Connect(t.Context(), s.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(t.Context()) })
		return c
	}
	writer, reader := connect(), connect()
	if err := opentera.Load(t.Context(), writer); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), s.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	taken := func(n int, statement string) (ids int64) {
		t.Helper()
		next := func() (id int64) {
			if err := reader.QueryRow(t.Context(), "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").Scan(&id); err != nil {
				t.Fatal(err)
			}
			return id
		}
		tx, err := writer.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(t.Context()) }()
		before := next()
		for range n {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tx.Exec(t.Context(), "SAVEPOINT last; UPDATE t_sites SET version_id = version_id"); err != nil { // its id is the newest
			t.Fatal(err)
		}
		if err := tx.Commit(t.Context()); err != nil { // only then is it within a snapshot's bounds
			t.Fatal(err)
		}
		return next() - before
	}
	silent := taken(10, "UPDATE t_users SET user_lastonline = now() WHERE id_user = 9")
	captured := taken(10, "UPDATE t_sites SET site_name = site_name || '.' WHERE id_site = 1")
	if silent > 2 || captured < silent+10 {
		t.Errorf("10 silent statements took %d ids, 10 captured ones %d", silent, captured)
	}
}
