package doctor

import (
	"testing"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// A subscriber of logical replication looks like any database, but its triggers do not fire.
func TestSubscriber(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t, map[string]string{"wal_level": "logical"})
	admin := dbtest.Conn(t, server.URL("postgres"))
	for _, sql := range []string{"CREATE DATABASE publisher", "CREATE DATABASE subscriber"} {
		dbtest.Exec(t, admin, sql)
	}
	for _, name := range []string{"publisher", "subscriber"} {
		if err := dbtest.OpenTera("x", migrations.Up).Fill(t.Context(), server.URL(name)); err != nil {
			t.Fatal(err)
		}
	}
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
}
