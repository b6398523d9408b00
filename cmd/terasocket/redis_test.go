package main

import (
	"strings"
	"testing"

	"terasocket/bridge/standin"
	"terasocket/proto/event"
)

// startRedis starts a throw-away redis-server.
func startRedis(t *testing.T, settings ...string) *standin.Redis {
	t.Helper()
	server, err := standin.StartRedis(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// bridge.md 0: a wrong address shows at start, without the password.
func TestServeRefusesABadRedisURL(t *testing.T) {
	t.Parallel()
	locked := startRedis(t, "--requirepass", "other")
	server := startRedis(t)
	for name, test := range map[string]struct{ url, want string }{
		"no scheme":      {"u:secret@h", "--redis-url: the address must be redis://user:password@host:port/db"},
		"bad port":       {"redis://u:secret@h:secret/0", "--redis-url: the address must be"},
		"bad database":   {"redis://u:secret@h/secret", "db is a number"},
		"negative":       {"redis://u:secret@h/-1", "db is a number"},
		"bad parameter":  {"redis://u:secret@h/0?x=secret", "a parameter other than"},
		"ca without TLS": {"redis://u:secret@h?ca=/nonexistent", "write rediss://"},
		"no ca":          {"rediss://u:secret@h?ca=/nonexistent", "/nonexistent"},
		"wrong password": {"redis://default:secret@" + locked.Address(), "the user default or its password is wrong"},
		"no password":    {"redis://" + locked.Address(), "Redis wants a password"},
		"no database":    {"redis://" + server.Address() + "/99", "there is no database 99"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := command(t.Context(), map[string]string{"TERASOCKET_REDIS_URL": test.url}, "serve", "--plain-http", "--admin-listen", "",
				"--listen", "127.0.0.1:0", "--database-url", "postgres://127.0.0.1:1/x")
			if got.code != 1 || !strings.Contains(got.stderr, test.want) {
				t.Errorf("exit code %d, %q; want 1 and %q", got.code, got.stderr, test.want)
			}
			if strings.Count(strings.TrimSpace(got.stderr), "\n") > 0 || strings.Contains(got.stderr, "secret") {
				t.Errorf("not one clear sentence: %q", got.stderr)
			}
		})
	}
}

// bridge.md 0: beside a running OpenTera the default encoding is the one that its clients read.
func TestEncodingByDefault(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cmd  serveCmd
		want event.Encoding
	}{
		{serveCmd{}, event.Protobuf},
		{serveCmd{Encoding: "json"}, event.JSON},
		{serveCmd{redisFlags: redisFlags{RedisURL: "redis://h"}}, event.JSON},
		{serveCmd{redisFlags: redisFlags{RedisURL: "redis://h"}, Encoding: "protobuf"}, event.Protobuf},
	} {
		if got, err := test.cmd.encoding(); got != test.want || err != nil {
			t.Errorf("%+v: %v, %v", test.cmd, got, err)
		}
	}
}
