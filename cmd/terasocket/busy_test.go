package main

import (
	"encoding/json"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/presence"
)

func TestBusyCommand(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	env := map[string]string{"DATABASE_URL": url}
	run := func(args ...string) result { return command(t.Context(), env, append([]string{"busy"}, args...)...) }
	if got := run("list", "--json"); got.code != 0 || strings.TrimSpace(got.stdout) != "[]" {
		t.Errorf("nobody: %+v", got)
	}
	if got := run("list"); got.code != 0 || got.stdout != "nobody is in a session\n" {
		t.Errorf("nobody: %+v", got)
	}
	const session = "1aaaaaaa-0000-4000-8000-000000000000"
	if _, err := pool.Exec(t.Context(), `SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', jsonb_build_object(
		'@type', 'type.googleapis.com/opentera.protobuf.JoinSessionEvent', 'sessionUuid', $1::text,
		'sessionUsers', jsonb_build_array($2::text), 'sessionDevices', jsonb_build_array($3::text)))`,
		session, opentera.DemoProjectUserUUID, opentera.DemoDeviceUUID); err != nil {
		t.Fatal(err)
	}
	if got := run("list"); got.code != 0 || !strings.Contains(got.stdout, "user "+opentera.DemoProjectUserUUID+" (Ursula Côté) since 2") ||
		!strings.Contains(got.stdout, " in session "+session+" (unknown)\n") || strings.Count(got.stdout, "\n") != 2 {
		t.Errorf("list: %+v", got)
	}
	var listed []presence.Member
	if got := run("list", "--json"); json.Unmarshal([]byte(got.stdout), &listed) != nil || len(listed) != 2 || listed[0].Status != nil || listed[0].Session != session {
		t.Errorf("list --json: %+v", got)
	}
	if got := run("end", "user", opentera.DemoDeviceUUID); got.code != 1 || !strings.Contains(got.stderr, "is in no session") {
		t.Errorf("unknown UUID: %+v", got)
	}
	if got := run("end", "user", opentera.DemoProjectUserUUID); got.code != 0 || got.stdout != "1 left the session; clients are told\n" {
		t.Errorf("end user: %+v", got)
	}
	if got := run("end", "session", session, "--json"); got.code != 0 || got.stdout != "{\"ended\":1}\n" {
		t.Errorf("end session: %+v", got)
	}
	if got := run("end", "session", session); got.code != 1 || !strings.Contains(got.stderr, "nobody is in session "+session) {
		t.Errorf("end session again: %+v", got)
	}
	if got := run("end", "nobody", session); got.code != 2 {
		t.Errorf("wrong usage: %+v", got)
	}
}
