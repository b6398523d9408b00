package main

import (
	"fmt"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// The commands in turn. Unfinished migrations, and those of another binary, show in the status, with the progress.
func TestMigrateCommands(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DATABASE_URL": dbtest.New(t, dbtest.OpenTera("bare"))}
	conn := dbtest.Conn(t, env["DATABASE_URL"])
	owner := conn.Config().User
	left := fmt.Sprint(migrations.Latest() - 1) // after the first "down"
	for _, step := range []struct {
		sql  string // before it
		args string
		code int
		want string // in what it prints; several, separated by |
	}{
		{"", "version", 0, "0 (this binary needs "},
		{"", "status", 0, "0001  missing   log\n|functions: missing\n"},
		{"", "up", 0, " migrations applied, the database is at version |functions applied\n|triggers on |making 2| indexes\n|all objects are read\n"},
		{"", "grants nobody_here", 1, `role "nobody_here" does not exist`},
		{"", "grants pg_monitor", 0, "GRANT EXECUTE ON FUNCTION terasocket.accept_otp("},
		{"", "grants pg_monitor --audit-deliveries --console", 0, "GRANT INSERT ON terasocket.deliveries TO pg_monitor;\n"},
		{"", "grants pg_monitor --json", 0, `{"grants":["GRANT `},
		{"", "grants " + owner, 0, owner + " may do all that serve does"},
		{"", "up", 0, "0 migrations applied"},
		{"", "status --json", 0, `{"version":1,"name":"log","applied":true}|"functions":"current","compatibility":3,"unfinished":""}`},
		{"", "status", 0, "functions: current\n"},
		{"UPDATE terasocket.filling SET fill_type = 'start'", "status", 0, "functions: current, but not all objects are read: run `terasocket migrate up`\n"},
		{"DROP INDEX terasocket_t_assets_id_session", "status", 0, "functions: current, but indexes are missing (1): run `terasocket migrate up`\n"},
		{"DROP TRIGGER terasocket_update ON t_sites", "status", 0, "functions: current, but triggers are missing (1): run `terasocket migrate up`\n"},
		{"UPDATE terasocket.functions SET hash = 'x'", "status", 0, "functions: different: those of another binary, `terasocket migrate up` puts this one's there\n"},
		{"", "up --json", 0, `{"applied":0,"version":` + fmt.Sprint(migrations.Latest()) + "}\n"},
		{"", "up --read-again", 0, "still to read"},
		{"", "status", 0, "functions: current\n"},
		{"", "down 1", 0, "1 taken back"},
		{"", "down 0", 2, "say how many migrations to take back"},
		{"", "down", 2, "all of them: terasocket migrate down --all"},
		{"", "down 1 --all", 2, "say how many"},
		{"", "force 99", 1, "there is no version 99"},
		{"", "force 1", 0, "said to be at version 1"},
		{"", "force " + left, 0, "said to be at version " + left},
		{"", "down --all --json", 0, `{"taken_back":` + left + `,"version":0}`},
		{"", "down 1", 0, "0 taken back"},
	} {
		dbtest.Exec(t, conn, step.sql)
		got := command(t.Context(), env, append([]string{"migrate"}, strings.Fields(step.args)...)...)
		for want := range strings.SplitSeq(step.want, "|") {
			if got.code != step.code || !strings.Contains(got.stdout+got.stderr, want) {
				t.Errorf("%q: %+v, want %d and %q", step.args, got, step.code, want)
			}
		}
	}
}
