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
	url, conns := dbtest.Lend(t, migrated(), 1)
	return &installation{T: t, Config: Config{DatabaseURL: url, Retention: 24 * 3600e9, MaxRows: 1_000_000}, owner: conns[0]}
}

func (i *installation) exec(sql string) {
	i.Helper()
	if _, err := i.owner.PgConn().Exec(i.Context(), sql).ReadAll(); err != nil {
		i.Fatalf("%.300s: %v", sql, err)
	}
}

// find runs a check and those that it needs.
func (i *installation) find(name string) Finding {
	i.Helper()
	d := newDoctor(i.Config)
	defer d.close()
	checks, isNeeded := d.checks(), map[string]bool{name: true}
	for _, c := range slices.Backward(checks) {
		for _, need := range c.needs {
			isNeeded[need] = isNeeded[need] || isNeeded[c.name]
		}
	}
	return examine(i.T, d, slices.DeleteFunc(checks, func(c check) bool { return !isNeeded[c.name] }))(name)
}

// findAll examines everything and returns the finding of each name.
func findAll(t *testing.T, cfg Config) (named func(name string) Finding) {
	t.Helper()
	d := newDoctor(cfg)
	defer d.close()
	return examine(t, d, d.checks())
}

func examine(t *testing.T, d *doctor, checks []check) (named func(name string) Finding) {
	t.Helper()
	findings, err := d.examine(t.Context(), checks)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) Finding {
		t.Helper()
		n := slices.IndexFunc(findings, func(f Finding) bool { return f.Name == name })
		if n < 0 {
			t.Fatalf("no check %s", name)
		}
		return findings[n]
	}
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

// ask runs these checks alone, in their order, and returns the last finding.
func ask(t *testing.T, d *doctor, names ...string) Finding {
	t.Helper()
	defer func() {
		for _, p := range d.patients() {
			p.close()
		}
	}()
	checks := slices.DeleteFunc(d.checks(), func(c check) bool { return !slices.Contains(names, c.name) })
	for i := range checks {
		checks[i].needs = nil
	}
	return examine(t, d, checks)(checks[len(checks)-1].name)
}
