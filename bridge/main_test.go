package bridge_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"terasocket/bridge"
	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

// migrated is the demo installation, migrated.
func migrated() dbtest.Template {
	return dbtest.OpenTera("migrated", migrations.Up, dbtest.QuickPasswords)
}

func open(address string) (*redis.Client, error) {
	return bridge.Open(func() (string, error) { return address, nil })
}

// start starts a redis-server and returns a connection pool for it.
func start(t testing.TB, settings ...string) (*standin.Redis, *redis.Client) {
	t.Helper()
	server, err := standin.StartRedis(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	client, err := open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return server, client
}
