package doctor

import (
	"testing"

	"terasocket/db/dbtest"
)

// A subscriber of logical replication looks like any database, but its triggers do not fire; a replica is read-only.
func TestSubscriberAndReplica(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t, map[string]string{"wal_level": "logical"})
	admin := dbtest.Conn(t, server.URL("postgres"))
	dbtest.Exec(t, admin, "CREATE DATABASE publisher")
	if err := dbtest.OpenTera("x").Fill(t.Context(), server.URL("publisher")); err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, admin, "CREATE DATABASE subscriber TEMPLATE publisher")
	i := &installation{T: t, Config: Config{DatabaseURL: server.URL("subscriber")}, owner: dbtest.Conn(t, server.URL("publisher"))}
	i.find("primary").must(t, OK)
	i.exec("CREATE PUBLICATION everything FOR ALL TABLES")
	i.exec("SELECT pg_create_logical_replication_slot('mirror', 'pgoutput')")
	i.owner = dbtest.Conn(t, server.URL("subscriber"))
	i.exec("CREATE SUBSCRIPTION mirror CONNECTION '" + server.URL("publisher") + "' PUBLICATION everything WITH (create_slot = false, copy_data = false)")
	i.find("primary").must(t, Fail, "subscriber of logical replication (subscription mirror)", `ALTER SUBSCRIPTION "mirror" DISABLE`)
	i.find("migrations").must(t, Skip)
	i.exec("ALTER SUBSCRIPTION mirror DISABLE")
	i.find("primary").must(t, OK)

	standby(t, server)
	named := findAll(t, i.Config)
	named("primary").must(t, Fail, "read replica", "name the primary")
	for _, name := range []string{"migrations", "listen", "triggers"} {
		named(name).must(t, Skip)
	}
	named("opentera").must(t, OK)
}
