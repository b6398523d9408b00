package doctor

import (
	"testing"

	"terasocket/db/dbtest"
)

func TestTransactionPooler(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	direct := i.DatabaseURL
	pooled := dbtest.PgBouncer(t, direct, "transaction").URL

	i.DatabaseURL = pooled
	named := findAll(t, i.Config)
	named("pool").must(t, OK, "a pooler: serve prepares no statements")
	named("listen").must(t, Fail, "pooler", "name the server itself")
	for _, name := range []string{"database", "migrations", "triggers", "rights", "clock", "log"} {
		named(name).must(t, OK)
	}

	// as advised, and with a setting that asks for trouble
	i.ListenDatabaseURL = direct
	i.DatabaseURL = pooled + "&default_query_exec_mode=cache_statement"
	i.find("pool").must(t, Fail, "forgets prepared statements", "take default_query_exec_mode out")
	i.DatabaseURL = pooled + "&default_query_exec_mode=exec"
	i.find("pool").must(t, OK, "a pooler: serve prepares no statements")
	i.find("listen").must(t, OK)

	// the reverse does not help
	i.DatabaseURL, i.ListenDatabaseURL = direct, pooled
	i.find("pool").must(t, OK, "direct")
	i.find("listen").must(t, Fail, "pooler")
}

func TestSessionPooler(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.DatabaseURL = dbtest.PgBouncer(t, i.DatabaseURL, "session").URL + "&default_query_exec_mode=cache_statement"
	i.find("pool").must(t, OK, "found again")
	i.find("listen").must(t, OK)
}
