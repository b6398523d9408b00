package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"terasocket/db/dbtest"
	"terasocket/db/embedded"
)

// standby restarts the server as a replica that waits for its primary.
func standby(t *testing.T, server *embedded.Server) {
	t.Helper()
	signal := filepath.Join(server.Dir(), "data", "standby.signal")
	if err := os.WriteFile(signal, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(signal, 0o666); err != nil { // the server runs as another user
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)
	for number, want := range map[int]Status{120_020: Fail, 130_022: Warn, 140_001: OK, 150_018: OK, 180_000: OK, 190_000: OK} {
		judgeVersion(number, "x", at).must(t, want)
	}
	judgeVersion(130_000, "13.0", at).must(t, Warn, "since November 2025")
}

func TestReadOnlyByDefault(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$")
	i.find("primary").must(t, Fail, "default_transaction_read_only")
}

func TestEncoding(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("encoding").must(t, OK, "UTF8")
	old := i.owner.Config().Database + "_old"
	i.exec("CREATE DATABASE " + old + " ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	t.Cleanup(func() { _, _ = i.owner.Exec(background(), "DROP DATABASE "+old+" WITH (FORCE)") })
	named := findAll(t, Config{DatabaseURL: strings.Replace(i.DatabaseURL, i.owner.Config().Database, old, 1)})
	named("encoding").must(t, Fail, "LATIN1")
	named("opentera").must(t, Fail, "not an OpenTera database", "Let OpenTera create its schema")
	named("rights").must(t, Skip)
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	settings := map[string]Status{"statement_timeout=1500": Warn, "statement_timeout=60000": OK, "lock_timeout=10": Warn,
		"idle_session_timeout=5000": Warn, "idle_in_transaction_session_timeout=60000": OK}
	version := dbtest.One[int](t, i.owner, "SELECT current_setting('server_version_num')::int")
	if version < 140_000 {
		delete(settings, "idle_session_timeout=5000")
	}
	for setting, want := range settings {
		d := newDoctor(i.Config)
		d.serving.url += "&" + setting
		ask(t, d, "time-outs").must(t, want)
	}
	if version < 140_000 {
		return // this version has no idle_session_timeout
	}
	i.ListenDatabaseURL = i.DatabaseURL + "&idle_session_timeout=5s"
	i.find("time-outs").must(t, Warn, "idle_session_timeout is 5s for --listen-database-url", "ALTER ROLE")
}

func TestClock(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	for off, want := range map[time.Duration]Status{0: OK, 3 * time.Second: Warn, -3 * time.Second: Warn, time.Minute: Fail, -time.Minute: Fail} {
		d := newDoctor(i.Config)
		d.now = func() time.Time { return time.Now().Add(off) }
		f := ask(t, d, "clock")
		f.must(t, want)
		if off == time.Minute {
			f.must(t, Fail, "behind this machine's", "NTP")
		}
	}
	judgeSkew(3*time.Second, 5*time.Second).must(t, OK) // the way there may have taken all of it
}
