package doctor

import (
	"context"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"terasocket/bridge"
)

// background is for cleanups, which run after the test's context has ended.
func background() context.Context { return context.Background() }

// as returns the URL of the same database for another role.
func as(t *testing.T, databaseURL, role string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "hush-hush")
	return u.String()
}

// A role without rights is told what to grant; cmd/terasocket proves that this is enough to serve.
func TestRights(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	role, url := i.newRole()
	i.exec("REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO " + role) // otherwise OpenTera is not visible at all
	owner := i.DatabaseURL
	i.DatabaseURL = url
	f := i.find("rights")
	f.must(t, Fail, "USAGE on terasocket", "terasocket.accept_otp(", " more", "DELETE on terasocket.events", "UPDATE on terasocket.announcer, terasocket.trimmed", "SELECT on ",
		"`terasocket migrate grants "+role+"`")
	grant := func() {
		t.Helper()
		grants, err := Grants(t.Context(), owner, role, Parts{Bridge: i.RedisURL != ""})
		if err != nil || len(grants) == 0 {
			t.Fatalf("%q %v", grants, err)
		}
		for _, g := range grants {
			i.exec(g)
		}
	}
	for _, never := range []string{"attach", "terasocket.capture_t_", "capture_failed", "signing_keys", "public.t_", "hush"} {
		if strings.Contains(f.String(), never) {
			t.Errorf("%s\nasks for %s", f, never)
		}
	}
	grants, err := Grants(t.Context(), owner, role, Parts{})
	if all := strings.Join(grants, "\n"); err != nil || !strings.Contains(all, "GRANT EXECUTE ON FUNCTION terasocket.announce(") || strings.Contains(all, "signing_keys") || strings.Contains(all, "capture_t_") {
		t.Errorf("%s %v", all, err)
	}
	grant()
	i.find("rights").must(t, OK, role)
	i.find("listen").must(t, OK)
	i.find("capture-errors").must(t, Skip, "permission denied", "--migration-database-url")
	i.MigrationDatabaseURL = owner
	i.find("capture-errors").must(t, OK)

	for _, revoke := range []string{"EXECUTE ON FUNCTION terasocket.presence_sweep", "DELETE ON terasocket.events", "SELECT ON terasocket.holdings", "UPDATE ON terasocket.announcer",
		"USAGE ON SCHEMA terasocket"} {
		i.exec("REVOKE " + revoke + " FROM " + role)
		f := i.find("rights")
		f.must(t, Fail, revoke[strings.LastIndexAny(revoke, " .")+1:])
		grant()
		i.find("rights").must(t, OK)
	}
	i.AuditDeliveries = true
	i.find("rights").must(t, Fail, role+" lacks 2 rights: EXECUTE on terasocket.keep_deliveries(interval); INSERT on terasocket.deliveries", "--audit-deliveries`")
	i.AuditDeliveries = false
	grants, err = Grants(t.Context(), owner, role, Parts{AuditDeliveries: true, Console: true})
	if all := strings.Join(grants, "\n"); err != nil || !strings.Contains(all, "GRANT INSERT ON terasocket.deliveries TO "+role+";") ||
		!strings.Contains(all, "GRANT EXECUTE ON FUNCTION terasocket.keep_deliveries(interval) TO ") || strings.Count(all, "FUNCTION terasocket.console_") != len(consoled)-1 {
		t.Errorf("%s %v", all, err)
	}
	i.RedisURL = "redis://127.0.0.1:1"
	f = i.find("rights")
	f.must(t, Fail, "EXECUTE on terasocket.bridge_away(", "--bridge`")
	grant()
	i.find("rights").must(t, OK)
	i.exec("DROP FUNCTION terasocket.presence_sweep")
	f = i.find("rights")
	f.must(t, Fail, "are missing: terasocket.presence_sweep", "DELETE FROM terasocket.functions", "migrate up")
	if strings.Contains(f.Todo, "GRANT") {
		t.Errorf("%s\na missing function cannot be granted", f)
	}
}

var (
	called = regexp.MustCompile(`terasocket\.([a-z_]+)\(`)
	read   = regexp.MustCompile(`(?:FROM|JOIN|INTO|UPDATE)\s+(?:terasocket\.)?((?:t_)?[a-z_]+)(?:\s|"|` + "`" + `|$)`)
)

// sources returns the source of the packages that query the database, except migrations, which the owner runs.
func sources(t *testing.T, rooms ...string) string {
	t.Helper()
	var all strings.Builder
	for _, room := range rooms {
		for _, pattern := range []string{"*.go", "sql/*.sql", "../cmd/terasocket/events.go"} { // every package gets the last one: harmless
			files, err := filepath.Glob(filepath.Join("..", room, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				if strings.HasSuffix(name, "_test.go") {
					continue
				}
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(text)
			}
		}
	}
	return all.String()
}

// The grants cover exactly what serve calls and reads.
func TestServedIsWhatServeAsksFor(t *testing.T) {
	t.Parallel()
	calls := func(text string) []string {
		names := map[string]bool{}
		for _, match := range called.FindAllStringSubmatch(text, -1) {
			names[match[1]] = true
		}
		return slices.Sorted(maps.Keys(names))
	}
	if got := calls(strings.Join(slices.Collect(maps.Values(bridge.Statements())), "")); !slices.Equal(got, bridged) {
		t.Errorf("the bridge calls %q\nthe doctor knows %q", got, bridged)
	}
	own := func(room string) []string { // without that of events.go
		return calls(strings.ReplaceAll(sources(t, room), "terasocket.is_filled(", ""))
	}
	if got := own("audit"); !slices.Equal(got, audited) {
		t.Errorf("the audit calls %q\nthe doctor knows %q", got, audited)
	}
	if got := append(own("console"), "explain"); !slices.Equal(got, consoled) { // which the console asks access for
		t.Errorf("the console calls %q\nthe doctor knows %q", got, consoled)
	}
	text := strings.NewReplacer("terasocket.rotate_signing_key(", "", "terasocket.explain(", "", "FROM terasocket.signing_keys", "",
		"terasocket.who_is_busy(", "", "terasocket.free(", "").Replace(sources(t, "access", "presence", "db", "eventlog")) // for keys, explain and busy, run by the owner
	if got := calls(text); !slices.Equal(got, served) {
		t.Errorf("serve calls %q\nthe doctor knows %q", got, served)
	}
	tables := 0
	for _, match := range read.FindAllStringSubmatch(text, -1) {
		if name := match[1]; strings.HasPrefix(name, "t_") || strings.Contains(match[0], "terasocket.") {
			tables++
			if !strings.Contains(rightsSQL, "'"+name+"'") {
				t.Errorf("serve reads %s, which sql/rights.sql lacks", name)
			}
		}
	}
	if tables < 10 {
		t.Errorf("only %d tables are read: does this test still find them?", tables)
	}
}

// giveAway makes a role the owner of a schema's tables and functions.
func (i *installation) giveAway(schema, role string) {
	i.Helper()
	i.exec(`DO $$ DECLARE o record; BEGIN
		FOR o IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = '` + schema + `'::regnamespace AND relkind = 'r' LOOP
			EXECUTE format('ALTER TABLE %s OWNER TO ` + role + `', o.name);
		END LOOP;
		FOR o IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = '` + schema + `'::regnamespace LOOP
			EXECUTE format('ALTER ROUTINE %s OWNER TO ` + role + `', o.name);
		END LOOP; END $$`)
}

// OpenTera recreated a table as another role than the one that migrated; somebody gave a function away.
func TestOwnerRights(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	role, _ := i.newRole()
	i.exec("GRANT SELECT ON ALL TABLES IN SCHEMA public TO " + role + "; ALTER FUNCTION terasocket.announce(integer, boolean, bigint) OWNER TO " + role)
	i.find("owner-rights").must(t, Fail, "functions of terasocket belong to "+role, "terasocket.aliases", "migrate up")
	i.giveAway("terasocket", role)
	i.find("owner-rights").must(t, OK)
	i.exec("REVOKE SELECT ON t_sites FROM " + role)
	f := i.find("owner-rights")
	f.must(t, Fail, "may not read public.t_sites", "TO "+role)
	i.repair(f)
	i.find("owner-rights").must(t, OK)
}

// Functions of a superuser would make the owner of the tables that they read one, too.
func TestMightyOwner(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("owner-rights").must(t, OK)
	owner, _ := i.newRole()
	i.giveAway("public", owner)
	i.find("owner-rights").must(t, Fail, "who may more than "+owner, "OWNER TO "+owner)
	// so could a member of a role that the owner is not in; an owner with fewer rights could not
	member, _ := i.newRole()
	i.exec("GRANT SELECT ON ALL TABLES IN SCHEMA public TO " + member)
	i.giveAway("terasocket", member)
	i.find("owner-rights").must(t, OK)
	i.exec("GRANT pg_read_server_files TO " + member)
	i.find("owner-rights").must(t, Fail, "rights of "+member)
	i.exec("GRANT pg_read_server_files TO " + owner)
	i.find("owner-rights").must(t, OK)
}

func TestPublicRights(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	for _, grant := range []string{"EXECUTE ON FUNCTION terasocket.create_connect_token", "EXECUTE ON FUNCTION terasocket.service_token_key", "SELECT ON terasocket.events"} {
		i.exec("GRANT " + grant + " TO PUBLIC")
		f := i.find("public-rights")
		f.must(t, Fail, grant[strings.LastIndex(grant, "terasocket."):])
		i.repair(f)
		i.find("public-rights").must(t, OK)
	}
}
