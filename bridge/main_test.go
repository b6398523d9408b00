package bridge_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"terasocket/bridge"
	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

func open(address string) (*redis.Client, error) {
	return bridge.Open(func() (string, error) { return address, nil })
}

func newPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	url, _ := dbtest.Lend(t, bridge.Migrated(), 0)
	return dbtest.Pool(t, url)
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
