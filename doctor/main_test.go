package doctor

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

func migrated() dbtest.Template { return dbtest.OpenTera("migrated", migrations.Up) }

// installation is a migrated database with the Config to examine it.
type installation struct {
	*testing.T
	Config
	owner *pgx.Conn
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	url := dbtest.New(t, migrated())
	return &installation{T: t, Config: Config{DatabaseURL: url, Retention: 24 * 3600e9, MaxRows: 1_000_000}, owner: dbtest.Conn(t, url)}
}

func (i *installation) exec(sql string) {
	i.Helper()
	if _, err := i.owner.PgConn().Exec(i.Context(), sql).ReadAll(); err != nil {
		i.Fatalf("%.300s: %v", sql, err)
	}
}

// find examines and returns one finding.
func (i *installation) find(name string) Finding {
	i.Helper()
	findings, err := Examine(i.Context(), i.Config)
	if err != nil {
		i.Fatal(err)
	}
	return named(i.T, findings, name)
}

func named(t *testing.T, findings []Finding, name string) Finding {
	t.Helper()
	n := slices.IndexFunc(findings, func(f Finding) bool { return f.Name == name })
	if n < 0 {
		t.Fatalf("no check %s", name)
	}
	return findings[n]
}

// must checks a finding: its status, and words in what was found and what to do.
func (f Finding) must(t *testing.T, status Status, words ...string) {
	t.Helper()
	if f.Status != status {
		t.Errorf("%s\nwant %s", f, status)
	}
	for _, word := range words {
		if !strings.Contains(f.Found+" - "+f.Todo, word) {
			t.Errorf("%s\nwant %q in it", f, word)
		}
	}
	if (f.Status == Fail || f.Status == Warn) && f.Todo == "" {
		t.Errorf("%s\ndoes not say what to do", f)
	}
}

// repair runs the statements after "run: ", one after the other as psql would.
func (i *installation) repair(f Finding) {
	i.Helper()
	_, sql, ok := strings.Cut(f.Todo, "run: ")
	if !ok {
		i.Fatalf("%s\nhas no statement to run", f)
	}
	for statement := range strings.SplitSeq(strings.TrimSuffix(sql, ";"), ";") {
		i.exec(statement)
	}
}

// ask runs one check alone, as Examine would.
func ask(t *testing.T, d *doctor, name string) Finding {
	t.Helper()
	for _, c := range d.checks() {
		if c.name == name {
			c.needs = nil
			f, err := d.examine(t.Context(), []check{c})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range d.patients() {
				p.close()
			}
			return f[0]
		}
	}
	t.Fatalf("no check %s", name)
	return Finding{}
}
