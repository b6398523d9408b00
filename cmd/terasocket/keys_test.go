package main

import (
	"encoding/json"
	"strings"
	"testing"

	"terasocket/db/dbtest"
)

func TestKeysCommand(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	env := map[string]string{"DATABASE_URL": url}
	keys := func() (all []string) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), "SELECT coalesce(array_agg(key), '{}') FROM terasocket.signing_keys").Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	run := func(args ...string) string {
		t.Helper()
		got := command(t.Context(), env, append([]string{"keys"}, args...)...)
		for _, key := range keys() {
			if strings.Contains(got.stdout+got.stderr, key) {
				t.Errorf("%v prints a key", args)
			}
		}
		if got.code != 0 {
			t.Fatalf("%v: %+v", args, got)
		}
		return got.stdout
	}
	if out := run("list"); out != "no keys: each is made when it is first needed\n" {
		t.Errorf("before any key is needed: %q", out)
	}
	if out := run("list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("before any key is needed: %q", out)
	}
	if out := run("rotate", "user"); !strings.Contains(out, "user tokens") || !strings.Contains(out, "verify until 20") {
		t.Errorf("rotate: %q", out)
	}
	if out := run("rotate", "user", "--overlap", "2h", "--json"); strings.TrimSpace(out) != `{"name":"user","overlap_seconds":7200}` {
		t.Errorf("rotate --json: %q", out)
	}
	run("rotate", "service", "--overlap", "0s")
	lines := strings.Split(strings.TrimSpace(run("list")), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "service") || !strings.HasSuffix(lines[1], " signs") || !strings.Contains(lines[2], "verifies until 2") {
		t.Errorf("list: %q", lines)
	}
	var listed []listedKey
	if err := json.Unmarshal([]byte(run("list", "--json")), &listed); err != nil || len(listed) != 3 {
		t.Fatalf("%+v, %v", listed, err)
	}
	if !listed[1].IsSigning || listed[1].RetiresAt != nil || listed[2].IsSigning || listed[2].RetiresAt == nil || listed[2].Name != "user" {
		t.Errorf("%+v", listed)
	}
	run("rotate", "user", "--overlap", "0s") // no older key remains from the previous overlap
	if out := run("list"); strings.Count(out, "user ") != 1 {
		t.Errorf("after a rotation without overlap: %q", out)
	}
	for _, test := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"rotate", "device"}, "must be one of", 2},
		{[]string{"rotate"}, "expected", 2},
		{[]string{"rotate", "user", "--overlap=-1h"}, "between 0 and 90 days", 1},
		{[]string{"rotate", "user", "--overlap=9999h"}, "between 0 and 90 days", 1},
	} {
		if got := command(t.Context(), env, append([]string{"keys"}, test.args...)...); got.code != test.code || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%v: %+v", test.args, got)
		}
	}
	if got := command(t.Context(), nil, "keys", "list"); got.code != 1 || !strings.Contains(got.stderr, "no database given") {
		t.Errorf("without a database: %+v", got)
	}
	if got := command(t.Context(), map[string]string{"DATABASE_URL": dbtest.New(t, dbtest.OpenTera("bare"))}, "keys", "list"); got.code != 1 || !strings.Contains(got.stderr, "migrate up") {
		t.Errorf("not migrated: %+v", got)
	}
}
