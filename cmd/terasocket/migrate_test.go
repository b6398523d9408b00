package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestMigrateCommands(t *testing.T) {
	t.Parallel()
	env := map[string]string{"DATABASE_URL": dbtest.New(t, dbtest.OpenTera("bare"))}
	owner := must(url.Parse(env["DATABASE_URL"])).User.Username()
	left := fmt.Sprint(migrations.Latest() - 1) // after the first "down"
	for _, step := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"migrate", "version"}, 0, "0 (this binary needs "},
		{[]string{"migrate", "status"}, 0, "0001  missing   log\n"},
		{[]string{"migrate", "status"}, 0, "functions: missing\n"},
		{[]string{"migrate", "up"}, 0, " migrations applied, the database is at version "},
		{[]string{"migrate", "grants", "nobody_here"}, 1, `role "nobody_here" does not exist`},
		{[]string{"migrate", "grants", "pg_monitor"}, 0, "GRANT EXECUTE ON FUNCTION terasocket.accept_otp("},
		{[]string{"migrate", "grants", "pg_monitor", "--json"}, 0, `{"grants":["GRANT `},
		{[]string{"migrate", "grants", "pg_monitor", "--audit-deliveries", "--console"}, 0, "GRANT INSERT ON terasocket.deliveries TO pg_monitor;\n"},
		{[]string{"migrate", "grants", owner}, 0, owner + " may do all that serve does"},
		{[]string{"migrate", "up"}, 0, "0 migrations applied"},
		{[]string{"migrate", "status", "--json"}, 0, `{"version":1,"name":"log","applied":true}`},
		{[]string{"migrate", "status", "--json"}, 0, `"functions":"current","compatibility":3,"unfinished":""}`},
		{[]string{"migrate", "status"}, 0, "functions: current\n"},
		{[]string{"migrate", "up", "--json"}, 0, `{"applied":0,"version":` + fmt.Sprint(migrations.Latest()) + "}\n"},
		{[]string{"migrate", "down", "1"}, 0, "1 taken back"},
		{[]string{"migrate", "down", "0"}, 2, "say how many migrations to take back"},
		{[]string{"migrate", "down"}, 2, "all of them: terasocket migrate down --all"},
		{[]string{"migrate", "down", "1", "--all"}, 2, "say how many"},
		{[]string{"migrate", "force", "99"}, 1, "there is no version 99"},
		{[]string{"migrate", "force", "1"}, 0, "said to be at version 1"},
		{[]string{"migrate", "force", left}, 0, "said to be at version " + left},
		{[]string{"migrate", "down", "--all", "--json"}, 0, `{"taken_back":` + left + `,"version":0}`},
		{[]string{"migrate", "down", "1"}, 0, "0 taken back"},
	} {
		got := command(t.Context(), env, step.args...)
		if got.code != step.code || !strings.Contains(got.stdout+got.stderr, step.want) {
			t.Errorf("%q: %+v, want %d and %q", step.args, got, step.code, step.want)
		}
	}
}

// Unfinished migrations, and those of another binary, show in the status, with the progress.
func TestMigrateStatus(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, dbtest.OpenTera("bare"))
	env := map[string]string{"DATABASE_URL": url}
	got := command(t.Context(), env, "migrate", "up")
	for _, want := range []string{"functions applied\n", "triggers on ", "making 2", " indexes\n", "all objects are read\n"} {
		if got.code != 0 || !strings.Contains(got.stderr, want) {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	conn := dbtest.Conn(t, url)
	for _, step := range []struct{ sql, want string }{
		{"UPDATE terasocket.filling SET fill_type = 'start'", "functions: current, but not all objects are read: run `terasocket migrate up`\n"},
		{"DROP INDEX terasocket_t_assets_id_session", "functions: current, but indexes are missing (1): run `terasocket migrate up`\n"},
		{"DROP TRIGGER terasocket_update ON t_sites", "functions: current, but triggers are missing (1): run `terasocket migrate up`\n"},
		{"UPDATE terasocket.functions SET hash = 'x'", "functions: different: those of another binary, `terasocket migrate up` puts this one's there\n"},
	} {
		dbtest.Exec(t, conn, step.sql)
		if got := command(t.Context(), env, "migrate", "status"); got.code != 0 || !strings.HasSuffix(got.stdout, step.want) {
			t.Errorf("%s: %+v, want %q", step.sql, got, step.want)
		}
	}
	if got := command(t.Context(), env, "migrate", "up"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := command(t.Context(), env, "migrate", "up", "--read-again"); got.code != 0 || !strings.Contains(got.stderr, "still to read") {
		t.Errorf("%+v", got)
	}
	if got := command(t.Context(), env, "migrate", "status"); !strings.HasSuffix(got.stdout, "functions: current\n") {
		t.Errorf("%+v", got)
	}
}
