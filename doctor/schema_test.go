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
		findings, err := Examine(t.Context(), i.Config)
		if err != nil {
			t.Fatal(err)
		}
		named(t, findings, "migrations").must(t, Fail, test.words...)
		for _, name := range []string{"triggers", "capture-errors", "log", "gateways"} {
			named(t, findings, name).must(t, Skip, "migrations must be right first")
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

func TestCaptureErrors(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("ALTER FUNCTION terasocket.keys(text, jsonb) RENAME TO lost")
	i.exec("UPDATE t_sites SET site_name = 'after' WHERE id_site = 1")
	i.exec("ALTER FUNCTION terasocket.lost(text, jsonb) RENAME TO keys")
	f := i.find("capture-errors")
	f.must(t, Fail, "1 since 20", "UPDATE of t_sites: SQLSTATE 42883, function terasocket.keys", "read again by REST")
	i.repair(f)
	i.find("capture-errors").must(t, OK)

	i.exec("ALTER TABLE terasocket.pending DISABLE TRIGGER settle; INSERT INTO terasocket.pending (what) VALUES ('settle'); ALTER TABLE terasocket.pending ENABLE TRIGGER settle")
	f = i.find("capture-errors")
	f.must(t, Warn, "1 rows are left in terasocket.pending")
	i.repair(f)
	i.find("capture-errors").must(t, OK)
}

// newRole makes a role that may log in and nothing more, and the URL of the database for it.
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
