package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"terasocket/audit"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/doctor"
	"terasocket/proto/terasocket"
)

// audited is a database with gateways that record deliveries, the first as a role with no more rights than the doctor asks for.
type audited struct {
	t        *testing.T
	url      string
	gateways [2]*served
}

// serveAudited shows that the grants which the doctor prints are enough to serve.
func serveAudited(t *testing.T) *audited {
	t.Helper()
	a := &audited{t: t, url: dbtest.New(t, migrated())}
	role := fmt.Sprintf("terasocket_test_role_%d", rand.Uint64())
	psql(t, a.url, "CREATE ROLE "+role+" LOGIN PASSWORD 'hush-hush'")
	owner := dbtest.Conn(t, a.url)
	t.Cleanup(func() {
		if _, err := owner.PgConn().Exec(context.Background(), "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role).ReadAll(); err != nil {
			t.Errorf("drop role: %v", err)
		}
	})
	u := must(url.Parse(a.url))
	u.User = url.UserPassword(role, "hush-hush")
	check := func(code int, args ...string) map[string]doctor.Finding {
		t.Helper()
		_, byName := examine(t, code, append([]string{"--database-url", u.String(), "--migration-database-url", a.url}, args...)...)
		return byName
	}
	if f := check(1)["rights"]; f.Status != doctor.Fail || !strings.Contains(f.Todo, "`terasocket migrate grants "+role+"`") || strings.Contains(f.String(), "hush") {
		t.Fatalf("%s", f)
	}
	psql(t, a.url, a.run("migrate", "grants", role))
	check(0)
	if f := check(1, "--audit-deliveries")["rights"]; f.Status != doctor.Fail || !strings.Contains(f.Todo, "`terasocket migrate grants "+role+" --audit-deliveries`") {
		t.Fatalf("%s", f)
	}
	psql(t, a.url, a.run("migrate", "grants", role, "--audit-deliveries"))
	for i, databaseURL := range []string{u.String(), a.url} {
		a.gateways[i] = serve(t, databaseURL, "--audit-deliveries", "--presence-grace", "0")
		a.gateways[i].dbURL = a.url
	}
	if f := check(0, "--audit-deliveries")["audit"]; f.Status != doctor.OK {
		t.Errorf("%s", f)
	}
	return a
}

func (a *audited) connect(gateway int, kind, uuid, query string) *socket {
	a.t.Helper()
	return dial(a.t, a.gateways[gateway].address(kind, uuid)+query).keepReading()
}

// run runs a command that must succeed, and returns its output.
func (a *audited) run(args ...string) string {
	a.t.Helper()
	got := command(a.t.Context(), map[string]string{"DATABASE_URL": a.url}, args...)
	if got.code != 0 || got.stderr != "" {
		a.t.Fatalf("%v: %+v", args, got)
	}
	return got.stdout
}

// find runs terasocket audit.
func (a *audited) find(args ...string) (rows []audit.Row) {
	a.t.Helper()
	for line := range strings.Lines(a.run(append([]string{"audit", "--json"}, args...)...)) {
		var row struct {
			audit.Row
			Seqs [][2]uint64 `json:"seqs"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			a.t.Fatalf("%s: %v", line, err)
		}
		for _, s := range row.Seqs {
			row.Row.Seqs = append(row.Row.Seqs, audit.Run{First: s[0], Last: s[1]})
		}
		rows = append(rows, row.Row)
	}
	return rows
}

// recorded returns the seqs in rows, each once.
func recorded(rows []audit.Row) (seqs []uint64) {
	for _, row := range rows {
		for _, run := range row.Seqs {
			for seq := run.First; seq <= run.Last; seq++ {
				seqs = append(seqs, seq)
			}
		}
	}
	slices.Sort(seqs)
	return slices.Compact(seqs)
}

// heard reads to the end and returns the seqs of all events, in order. Those of a snapshot belong to no row.
func (s *socket) heard() (seqs []uint64) {
	s.t.Helper()
	for {
		kind, data, err := s.readFrame()
		if err != nil {
			return slices.Compact(seqs)
		}
		e, err := gatewaytest.Parse(kind, data)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, isCursor := e.Message.(*terasocket.Cursor); !isCursor {
			seqs = append(seqs, e.Seq)
		}
	}
}

// Exactly what clients received is recorded, on several gateways, live and replayed, even if the events were trimmed since.
func TestWhoReceivedWhat(t *testing.T) {
	t.Parallel()
	a := serveAudited(t)
	pool := dbtest.Pool(t, a.url)
	a.whoWasShownAnEvent()
	a.theAuditIsAway()
	dbtest.Eventually(t, "nobody is online", func() bool { return dbtest.One[int](t, pool, "SELECT count(*) FROM terasocket.online") == 0 })
	began := time.Now().Format(time.RFC3339Nano)
	ulysse := a.connect(0, "user", opentera.DemoOtherProjectUserUUID, "&since=0") // of another project
	admin := a.connect(0, "user", opentera.DemoSuperadminUUID, "&since=0")
	lucie := a.connect(1, "participant", opentera.DemoParticipantUUID, "&since=0&encoding=json")
	paul := a.connect(1, "user", opentera.DemoProjectAdminUUID, "&since=0")
	dbtest.Eventually(t, "all are online", func() bool { return dbtest.One[int](t, pool, "SELECT count(*) FROM terasocket.online") == 4 })
	seqOf := func(name string) uint64 {
		return uint64(dbtest.One[int64](t, pool, "SELECT seq FROM terasocket.events WHERE object_type = 'participant' AND object_id = 1 AND body->>'participant_name' = $1", name))
	}
	renameAlone(t, pool, 1, "one")
	first := seqOf("one")
	psql(t, a.url, "UPDATE t_participants SET participant_name = 'many' WHERE id_participant <= 100")
	_, d := paul.event() // its socket works
	if d.GetObjectType() != "participant" {
		t.Errorf("%v", d)
	}
	_ = gatewaytest.Raw(paul.conn).Close()
	dbtest.Eventually(t, "paul is gone", func() bool { return dbtest.One[int](t, pool, "SELECT count(*) FROM terasocket.online") == 3 })
	renameAlone(t, pool, 1, "missed")
	missed := seqOf("missed")
	back := a.connect(0, "user", opentera.DemoProjectAdminUUID, fmt.Sprintf("&snapshot=1&since=%d", first))
	for {
		if _, d := back.event(); strings.Contains(d.GetObjectValue(), `"missed"`) {
			break
		}
	}
	dbtest.Eventually(t, "paul is back", func() bool { return dbtest.One[int](t, pool, "SELECT count(*) FROM terasocket.online") == 4 })
	renameAlone(t, pool, 1, "sentinel")
	sentinel := seqOf("sentinel")
	psql(t, a.url, "UPDATE t_participants SET participant_name = 'moved', id_project = 5, id_participant_group = NULL WHERE id_participant = 1")
	dbtest.Eventually(t, "it is announced", func() bool {
		return dbtest.One[bool](t, pool, "SELECT EXISTS (SELECT FROM terasocket.events WHERE body->>'participant_name' = 'moved')")
	})
	moved := seqOf("moved")
	for _, g := range a.gateways {
		dbtest.Eventually(t, "it has written the sentinel", func() bool { return g.value("terasocket_lag_seconds") == "0" })
		g.mustStop()
		if g.Log.Count("permission denied") > 0 {
			t.Errorf("the role lacked a right:\n%s", &g.Log)
		}
	}
	dbtest.Exec(t, pool, "WITH gone AS (DELETE FROM terasocket.events RETURNING seq) UPDATE terasocket.trimmed SET seq = (SELECT max(seq) FROM gone)")

	event := func(seq uint64) []string { return []string{"--event", fmt.Sprint(seq)} }
	for seq, want := range map[uint64]map[string]string{
		first:    {opentera.DemoSuperadminUUID: "live", opentera.DemoProjectAdminUUID: "live"},
		missed:   {opentera.DemoSuperadminUUID: "live", opentera.DemoProjectAdminUUID: "replay"},
		sentinel: {opentera.DemoSuperadminUUID: "live", opentera.DemoProjectAdminUUID: "live"},
		moved:    {opentera.DemoSuperadminUUID: "live", opentera.DemoProjectAdminUUID: "delete", opentera.DemoOtherProjectUserUUID: "live"},
	} {
		if n := len(a.find(append(event(seq), "--as", "user:"+opentera.DemoOtherProjectUserUUID)...)); n != 0 != (seq == moved) {
			t.Errorf("event %d was sent to a user of another project, according to %d rows", seq, n)
		}
		who := map[string]string{}
		for _, row := range a.find(event(seq)...) {
			who[row.UUID] = row.Mode
			if row.Address != "127.0.0.1" || row.Connection == 0 || !strings.Contains(row.Gateway, "127.0.0.1:") || time.Since(row.Until) > time.Hour {
				t.Errorf("%+v", row)
			}
		}
		if !maps.Equal(who, want) {
			t.Errorf("event %d: %v, want %v", seq, who, want)
		}
	}
	for name, c := range map[string]*socket{"user:" + opentera.DemoOtherProjectUserUUID: ulysse, "user:" + opentera.DemoSuperadminUUID: admin, "participant:" + opentera.DemoParticipantUUID: lucie} {
		rows := a.find("--as", name, "--since", began)
		if got, want := recorded(rows), c.heard(); !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s received %d, recorded is %d", name, want, got)
		}
	}
	modes := map[string]int{}
	for _, row := range a.find("--as", "user:"+opentera.DemoProjectAdminUUID) {
		modes[row.Mode] += row.Frames
	}
	if modes["live"] < 2 || modes["replay"] < 20 || modes["snapshot"] < 1 {
		t.Errorf("%v", modes)
	}
	text := a.run("audit", "--event", fmt.Sprint(first))
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, "user "+opentera.DemoSuperadminUUID+"  live ") || !strings.Contains(text, "to 127.0.0.1  connection ") {
		t.Error(text)
	}
	if text := a.run("audit", "--as", "user:"+opentera.DemoProjectAdminUUID); !strings.Contains(text, "  snapshot of presence, ") {
		t.Error(text)
	}
	if text := a.run("audit", "--event", fmt.Sprint(moved), "--as", "user:"+opentera.DemoProjectAdminUUID); !strings.Contains(text, "  delete (the keys alone) ") {
		t.Error(text)
	}
	if text := a.run("audit", "--as", "user:"+opentera.DemoProjectAdminUUID, "--until", "2026-01-01"); !strings.HasPrefix(text, "nothing, as far as it was recorded: since 20") {
		t.Error(text)
	}
	if text := a.run("audit", "--event", "4711"); !strings.HasPrefix(text, "nobody, as far as it was recorded: since 20") {
		t.Error(text)
	}
	if text := a.run("audit", "--event", fmt.Sprint(first), "--until", "2026-01-01"); !strings.HasPrefix(text, "nobody") {
		t.Error(text)
	}
	if secret := a.run("audit", "--json", "--as", "user:"+opentera.DemoSuperadminUUID, "--since", "2026-01-01T00:00:00-05:00"); strings.Contains(secret, "sentinel") || secret == "" {
		t.Error(secret)
	}
}

// A superadmin who was shown an event in the console is named, too.
func (a *audited) whoWasShownAnEvent() {
	gateway := a.gateways[1]
	psql(a.t, a.url, "UPDATE t_sites SET site_name = 'shown' WHERE id_site = 1")
	const seqOf = "SELECT coalesce(max(seq), 0) FROM terasocket.events WHERE body->>'site_name' = 'shown'"
	dbtest.Eventually(a.t, "it is announced", func() bool { return dbtest.One[int64](a.t, gateway.conn(), seqOf) > 0 })
	seq := fmt.Sprint(dbtest.One[int64](a.t, gateway.conn(), seqOf))
	_, answer, text := gateway.visit(gatewaytest.Insecure, "/api/user/login", basic(opentera.DemoSuperadmin))
	token, ok := answer["user_token"].(string)
	if !ok {
		a.t.Fatal(text)
	}
	request := must(http.NewRequestWithContext(a.t.Context(), http.MethodGet, gateway.Admin+"/console/api/log/"+seq+"/body", nil))
	request.Header.Set("Authorization", "OpenTera "+token)
	request.Close = true
	response := must(http.DefaultClient.Do(request))
	body := must(io.ReadAll(response.Body))
	_ = response.Body.Close()
	if !strings.Contains(string(body), "shown") {
		a.t.Fatalf("%s: %s", response.Status, body)
	}
	if status := a.gateways[0].call(http.MethodGet, "/api/user/users/online", "", bearer(token)); !strings.HasPrefix(status, "200") {
		a.t.Errorf("who is online: %s", status)
	}
	rows := a.find("--event", seq)
	if len(rows) != 1 || rows[0].UUID != opentera.DemoSuperadminUUID || rows[0].Mode != "console" || rows[0].Address != "127.0.0.1" {
		a.t.Errorf("%+v", rows)
	}
	if text := a.run("audit", "--event", seq); !strings.Contains(text, "user "+opentera.DemoSuperadminUUID+"  console "+seq+"  to 127.0.0.1  in the console of ") {
		a.t.Error(text)
	}
}

// While deliveries cannot be recorded, clients are not affected; the failure is reported, and the records are written
// afterwards.
func (a *audited) theAuditIsAway() {
	gateway := a.gateways[0]
	admin := a.connect(0, "user", opentera.DemoSuperadminUUID, "&since=0")
	psql(a.t, a.url, "ALTER TABLE terasocket.deliveries ADD CONSTRAINT nothing CHECK (false) NOT VALID")
	psql(a.t, a.url, "UPDATE t_sites SET site_name = 'heard' WHERE id_site = 1")
	heard, _ := admin.event()
	gateway.waitFor(after("0"), "terasocket_audit_errors_total")
	gateway.waitFor(after("0"), "terasocket_audit_oldest_seconds")
	dbtest.Eventually(a.t, "the log says so", func() bool { return gateway.Log.Count("deliveries not recorded, trying again") > 0 })
	psql(a.t, a.url, "ALTER TABLE terasocket.deliveries DROP CONSTRAINT nothing")
	gateway.waitFor(after("0"), "terasocket_audit_rows_total")
	gateway.waitFor(is("0"), "terasocket_audit_oldest_seconds")
	if rows := a.find("--event", fmt.Sprint(heard.Seq)); len(rows) != 1 || rows[0].UUID != opentera.DemoSuperadminUUID {
		a.t.Errorf("%+v", rows)
	}
	if lost := gateway.value("terasocket_audit_lost_total"); lost != "0" {
		a.t.Errorf("%s lost", lost)
	}
	_ = admin.conn.Close()
}

func TestAuditSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":             "say what to look for: --event SEQ, --as KIND:UUID, or both",
		"--as robot:x": `--as: unknown kind "robot"`,
		"--as x":       "--as: \"x\" is not KIND:UUID",
		"--as user:1":  `--as: "1" is no UUID`,
		"--event 1 --since 2026-11-02 --until 2026-11-02": "--until must be after --since",
		"--event x":                          "--event",
		"--event 1 --since yesterday":        `"yesterday" is no time: write 2026-11-27`,
		"--event 1 --database-url postgres:": "cannot be read",
	} {
		if got := command(t.Context(), nil, append([]string{"audit"}, strings.Fields(args)...)...); got.code == 0 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
}
