package doctor

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"terasocket/migrations"
)

func TestMigrations(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("UPDATE terasocket.functions SET hash = 'of another binary'")
	i.find("migrations").must(t, Warn, "the functions of another binary", "terasocket migrate up")
	for _, test := range []struct {
		sql   string
		words []string
	}{
		{"UPDATE terasocket.functions SET compatibility = compatibility - 1", []string{"older than this binary", "terasocket migrate up"}},
		{"UPDATE terasocket.functions SET compatibility = compatibility + 2", []string{"newer than this binary", "use the newer binary"}},
		{"DELETE FROM terasocket.functions", []string{"has not finished", "run it again"}},
		{"UPDATE terasocket.schema_migrations SET dirty = true, version = 999", []string{"interrupted at version 999", "terasocket migrate force"}},
		{"DELETE FROM terasocket.schema_migrations", []string{"not installed", "terasocket migrate up"}},
		{"DROP SCHEMA terasocket CASCADE", []string{"not installed", "terasocket migrate up"}},
	} {
		i.exec(test.sql)
		named := findAll(t, i.Config)
		named("migrations").must(t, Fail, test.words...)
		for _, name := range []string{"triggers", "capture-errors", "log", "gateways"} {
			named(name).must(t, Skip, "migrations must be right first")
		}
	}
	i.find("rights").must(t, Skip, "terasocket migrate up")
	if err := migrations.Up(t.Context(), i.DatabaseURL); err != nil {
		t.Fatal(err)
	}
	i.find("migrations").must(t, OK)
}

func TestOtherOpenTera(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("UPDATE alembic_version SET version_num = 'feedbeef'")
	i.find("opentera").must(t, Warn, "feedbeef", checkedAlembic)
	i.exec("DROP TABLE alembic_version")
	i.find("opentera").must(t, Warn, "no alembic_version")
}

// newRole creates a role that may only log in, and returns the URL of the database for it.
func (i *installation) newRole() (name, url string) {
	i.Helper()
	name = fmt.Sprintf("terasocket_test_role_%d", rand.Uint64())
	i.exec("CREATE ROLE " + name + " LOGIN PASSWORD 'hush-hush'")
	i.Cleanup(func() {
		if _, err := i.owner.PgConn().Exec(background(), "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name).ReadAll(); err != nil {
			i.Errorf("drop role: %v", err)
		}
	})
	return name, as(i.T, i.DatabaseURL, name)
}

func TestMigrationRole(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	owner := i.DatabaseURL
	_, url := i.newRole()
	i.DatabaseURL, i.MigrationDatabaseURL = owner, url
	i.find("migration-role").must(t, Fail, "does not own")
	i.DatabaseURL, i.MigrationDatabaseURL = url, ""
	i.find("migration-role").must(t, Skip, "--migration-database-url")
	i.DatabaseURL, i.MigrationDatabaseURL = url, owner
	i.find("migration-role").must(t, OK)
}
