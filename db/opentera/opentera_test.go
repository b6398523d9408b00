package opentera_test

import (
	"testing"

	"go.uber.org/goleak"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

func demo(t *testing.T) *pgx.Conn {
	t.Helper()
	return dbtest.Conn(t, dbtest.New(t, dbtest.OpenTera("demo")))
}

func count(t *testing.T, conn *pgx.Conn, query string, args ...any) int {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func texts(t *testing.T, conn *pgx.Conn, query string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return list
}

// The schema is that of OpenTera's head revision, with its peculiarities.
func TestSchema(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, dbtest.Empty()))
	if err := opentera.LoadSchema(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"SELECT count(*) FROM pg_tables WHERE schemaname = 'public'":                                   38,
		"SELECT count(*) FROM pg_sequences WHERE schemaname = 'public'":                                37,
		"SELECT count(*) FROM pg_attrdef":                                                              0, // no defaults at all
		"SELECT count(*) FROM alembic_version WHERE version_num = '6b9c4707d8ef'":                      1,
		"SELECT count(*) FROM information_schema.columns WHERE column_name = 'version_id'":             37,
		"SELECT count(*) FROM information_schema.columns WHERE column_name = 'deleted_at'":             33,
		"SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' AND indexdef NOT LIKE '%UNIQUE%'": 0,
	} {
		if got := count(t, conn, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// A script that fails leaves nothing behind, and the connection usable.
func TestLoadTwice(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	if err := opentera.LoadDemo(t.Context(), conn); err == nil {
		t.Error("the demo data was loaded twice")
	}
	if err := opentera.LoadSchema(t.Context(), conn); err == nil {
		t.Error("the schema was loaded twice")
	}
	if n := count(t, conn, "SELECT count(*) FROM t_sites"); n != 3 {
		t.Errorf("%d sites", n)
	}
}
