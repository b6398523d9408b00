package dbtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

var majorIn = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// Program returns the path of a PostgreSQL client program (pg_dump, pg_basebackup) that is not older than the server of this database:
// older ones refuse to work. Without one the test is skipped; servers installed by script/postgres come without.
func Program(t testing.TB, databaseURL, name string) string {
	t.Helper()
	var bin string
	var version int
	if err := Conn(t, databaseURL).QueryRow(t.Context(), `SELECT setting, current_setting('server_version_num')::int
		FROM pg_config WHERE name = 'BINDIR'`).Scan(&bin, &version); err != nil {
		t.Fatalf("where the server's programs are: %v", err)
	}
	places, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(places)
	for _, dir := range slices.Concat([]string{bin}, filepath.SplitList(os.Getenv("PATH")), places) {
		path := filepath.Join(dir, name)
		out, err := exec.CommandContext(t.Context(), path, "--version").Output()
		if err != nil {
			continue
		}
		if found := majorIn.FindSubmatch(out); found != nil {
			if major, err := strconv.Atoi(string(found[1])); err == nil && major >= version/10_000 {
				return path
			}
		}
	}
	t.Skipf("no %s of PostgreSQL %d or later here", name, version/10_000)
	return ""
}
