package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

func explainJSON(t *testing.T, url string, seqs map[string]int64) {
	got := command(t.Context(), map[string]string{"DATABASE_URL": url}, "explain", "--event", fmt.Sprint(seqs["moved"]), "--as", "user:"+opentera.DemoProjectAdminUUID, "--json")
	var answer struct {
		Event, Client map[string]any
		MaySee        bool `json:"may_see"`
		AsDeleted     bool `json:"as_deleted"`
		Clauses       []struct {
			Satisfied   bool
			Needed, Has []map[string]any
		}
		Former []struct {
			Satisfied bool
			Has       []map[string]any
		}
		Notes []string
	}
	if err := json.Unmarshal([]byte(got.stdout), &answer); got.code != 0 || err != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	text := fmt.Sprint(answer.Event["op"], answer.Client["id"], answer.MaySee, answer.AsDeleted, len(answer.Clauses), answer.Clauses[0].Satisfied,
		answer.Clauses[0].Needed[0]["tag"], answer.Clauses[0].Needed[0]["name"], answer.Clauses[0].Has, answer.Former[0].Satisfied, answer.Former[0].Has[0]["group"], len(answer.Notes))
	const want = "U 7 false true 1 false p:4 Parkinson en mouvement [] true Responsables Télé-AVC 2"
	if text = strings.Join(strings.Fields(text), " "); strings.ReplaceAll(text, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%s\nwant %s\nin %s", text, want, got.stdout)
	}
	if strings.Contains(got.stdout, "Secret") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("not one line, or it shows what is in the event: %s", got.stdout)
	}
	for _, raw := range []string{`"clauses":null`, `"notes":null`, `"has":null`} {
		if strings.Contains(got.stdout, raw) {
			t.Errorf("%s in %s", raw, got.stdout)
		}
	}
}

// A client that connected after the event receives it only if it resumes.
func explainSince(t *testing.T, url string, conn *pgx.Conn, seqs map[string]int64) {
	explain := func(event, as, want string) {
		t.Helper()
		got := command(t.Context(), map[string]string{"DATABASE_URL": url}, "explain", "--event", fmt.Sprint(seqs[event]), "--as", as)
		if text := clock.ReplaceAllString(got.stdout, "TIME"); got.code != 0 || !strings.HasSuffix(text, "  "+want+"\n") {
			t.Errorf("%+v\nmust end with %q", got, want)
		}
	}
	const user, other = "user:" + opentera.DemoProjectUserUUID, "user:" + opentera.DemoOtherProjectUserUUID
	explain("participant", user, "the client is not connected now")
	for _, id := range []int{opentera.DemoProjectUserID, opentera.DemoOtherProjectUserID} {
		dbtest.Exec(t, conn, "SELECT terasocket.connected(terasocket.gateway_register('g', '1 hour'), 'user', $1, 'c', 'a', 1)", id)
	}
	explain("participant", user, "connected since TIME, after the event was recorded: it gets it only with since=")
	explain("participant", other, "connected since TIME, after the event was recorded")
	explain("moved", user, "connected since TIME, after the event was recorded: it gets it only with since=")
	dbtest.Exec(t, conn, "UPDATE t_participants SET participant_name = 'Secret Name' WHERE id_participant = 2")
	dbtest.Announce(t, conn, 2000)
	seqs["late"] = lastSeq(t, conn)
	explain("late", user, "connected since TIME, before the event was recorded")
}

func explainRefuses(t *testing.T, url string, conn *pgx.Conn, seqs map[string]int64) {
	dbtest.Exec(t, conn, "DELETE FROM terasocket.events WHERE seq < $1", seqs["moved"])
	trimmed, oldest := fmt.Sprint(seqs["participant"]), fmt.Sprint(seqs["moved"])
	last, me := fmt.Sprint(seqs["late"]), "user:"+opentera.DemoSuperadminUUID
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no event":         {[]string{"--as", me}, 2, "--event"},
		"no client":        {[]string{"--event", last}, 2, "--as"},
		"not a number":     {[]string{"--event", "x", "--as", me}, 2, "--event"},
		"no kind":          {[]string{"--event", last, "--as", opentera.DemoSuperadminUUID}, 2, "--as: "},
		"unknown kind":     {[]string{"--event", last, "--as", "robot:x"}, 2, "it is user:UUID, participant:UUID or device:UUID"},
		"unknown client":   {[]string{"--event", last, "--as", "user:'; DROP TABLE t_users; --"}, 1, "--as: there is no user with the UUID"},
		"trimmed":          {[]string{"--event", trimmed, "--as", me}, 1, "event " + trimmed + " is not in the log any more: the oldest held is " + oldest},
		"in the future":    {[]string{"--event", last + "0", "--as", me}, 1, "there never was an event " + last + "0: the last one is " + last},
		"no database":      {[]string{"--event", last, "--as", me, "--database-url", "postgres://127.0.0.1:1/x"}, 1, "cannot be reached"},
		"without any":      {[]string{"--event", last, "--as", me, "--database-url", ""}, 1, "no database given"},
		"not migrated":     {[]string{"--event", last, "--as", me, "--database-url", dbtest.New(t, dbtest.OpenTera("bare"))}, 1, "run `terasocket migrate up`"},
		"unreadable URL":   {[]string{"--event", last, "--as", me, "--database-url", "postgres://u:secret@%zz"}, 1, "cannot be read"},
		"event not a seq":  {[]string{"--event", "99999999999999999999", "--as", me}, 2, "--event"},
		"device as a user": {[]string{"--event", last, "--as", "device:" + opentera.DemoSuperadminUUID}, 1, "there is no device"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := test.args
			env := map[string]string{"DATABASE_URL": url}
			if name == "without any" {
				args, env = args[:4], nil
			}
			got := command(t.Context(), env, append([]string{"explain"}, args...)...)
			if got.code != test.code || got.stdout != "" || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stderr, "secret") {
				t.Errorf("%+v, want %d and %q", got, test.code, test.want)
			}
		})
	}
}

func TestExplainHasNoEndlessLists(t *testing.T) {
	t.Parallel()
	lines := make([]string, 20)
	for n, want := range map[int]string{0: "", mostLines: "", mostLines + 1: "... and 2 more (--json has them all)", 20: "... and 13 more (--json has them all)"} {
		got := shortened(lines[:n])
		if len(got) != min(n, mostLines) || n > 0 && got[len(got)-1] != want {
			t.Errorf("%d lines: %q, want %q last", n, got, want)
		}
	}
}
