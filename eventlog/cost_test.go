package eventlog_test

import (
	"os"
	"testing"

	"terasocket/db/dbtest"
)

// Tables of one row are never analyzed, and a restored database has no statistics: no estimate may reach jit_above_cost, since compiling
// takes longer than these statements.
func TestNothingIsCompiledWithoutStatistics(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, migrated()))
	dbtest.Exec(t, conn, `SET allow_system_table_mods = on;
		DELETE FROM pg_statistic s USING pg_class c WHERE c.oid = s.starelid AND c.relnamespace = 'terasocket'::regnamespace;
		UPDATE pg_class SET reltuples = -1, relpages = 0, relallvisible = 0 WHERE relnamespace = 'terasocket'::regnamespace AND relkind IN ('r', 'i')`)
	for file, arguments := range map[string]string{"begin": "", "read": "(1, 1000000, 256)", "reaches": "(1)", "standing": "('{user}', '{1}')",
		"rights": "('user', 1, 1, 1000000)", "told_keys": "('site', 1)", "gauges": ""} {
		sql, err := os.ReadFile("sql/" + file + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		dbtest.Exec(t, conn, "PREPARE "+file+" AS "+string(sql))
		var plan []struct {
			Plan struct {
				Cost float64 `json:"Total Cost"`
			}
		}
		if err := conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) EXECUTE "+file+arguments).Scan(&plan); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if cost := plan[0].Plan.Cost; cost > 50_000 { // jit_above_cost is 100,000
			t.Errorf("%s.sql costs %.0f", file, cost)
		}
	}
}
