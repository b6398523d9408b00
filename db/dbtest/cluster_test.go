package dbtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// With DATABASE_URL, databases are created and dropped on that server, and its existing databases stay untouched.
func TestDatabaseURL(t *testing.T) {
	server := Server(t, nil)
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	for _, sql := range []string{"CREATE ROLE tester LOGIN CREATEDB", "CREATE DATABASE precious"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	before := databases(t, conn)

	t.Setenv("DATABASE_URL", strings.Replace(server.URL("precious"), "postgres@", "tester@", 1))
	c := newCluster()
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	if c.server != nil {
		t.Fatal("started a server of its own")
	}
	name, err := c.clone(t.Context(), OpenTera("opentera"))
	if err != nil {
		t.Fatal(err)
	}
	added := slices.DeleteFunc(databases(t, conn), func(d string) bool { return slices.Contains(before, d) })
	if len(added) != 2 {
		t.Errorf("databases added: %v, want a template and a clone", added)
	}
	for _, d := range added {
		if !strings.HasPrefix(d, "terasocket_test_") {
			t.Errorf("database %s", d)
		}
	}
	if err := errors.Join(c.drop(name), c.stop()); err != nil {
		t.Fatal(err)
	}
	if after := databases(t, conn); !slices.Equal(after, before) {
		t.Errorf("before %v, after %v", before, after)
	}
}

func databases(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT datname::text FROM pg_database ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A Fill that fails fails every test that needs the template, with its error.
func TestFillFails(t *testing.T) {
	c := newCluster()
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stop() })
	broken := errors.New("no such migration")
	template := Template{Name: "broken", Fill: func(context.Context, string) error { return broken }}
	for range 2 {
		if _, err := c.clone(t.Context(), template); !errors.Is(err, broken) {
			t.Errorf("err = %v", err)
		}
	}
	if _, err := c.clone(t.Context(), Template{Name: "a; b"}); err == nil {
		t.Error("a template name that is no word was accepted")
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for admin, want := range map[string]string{
		"postgres://u:p@h:1/old?sslmode=disable": "postgres://u:p@h:1/new?sslmode=disable",
		"host=/tmp user=u dbname=old":            "host=/tmp user=u dbname=old dbname=new",
	} {
		if got := (&cluster{admin: admin}).url("new"); got != want {
			t.Errorf("%s: %s", admin, got)
		}
	}
	cfg, err := pgx.ParseConfig("host=/tmp user=u dbname=old dbname=new")
	if err != nil || cfg.Database != "new" {
		t.Errorf("database %v, %v", cfg, err)
	}
}
