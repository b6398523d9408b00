package bridge_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"terasocket/bridge"
)

// everyRight is the ACL line of docs/operators.md; Redis has no channel rights before 6.2.
func everyRight(t *testing.T, server *redis.Client) string {
	t.Helper()
	const commands = "allkeys +ping +select +multi +discard +get +pttl +del +sismember +sadd +publish +subscribe +unsubscribe +psubscribe +punsubscribe"
	info, err := server.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(info, "redis_version:6.0.") {
		return commands
	}
	return "allchannels " + commands
}

// A Redis with a renamed command quotes its arguments, here the ticket, in the error.
func TestARedisThatLacksACommand(t *testing.T) {
	t.Parallel()
	_, client := start(t, "--rename-command", "DEL", "")
	err := bridge.Check(t.Context(), client)
	if _, isSetting := err.(*bridge.SettingError); !isSetting || !strings.Contains(err.Error(), "no command DEL") || strings.Contains(err.Error(), "00000000") {
		t.Errorf("%v", err)
	}
}

// bridge.md 0: the only writes are DEL, PUBLISH and SADD. The rights are checked without any.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	server, owner := start(t)
	all := everyRight(t, owner)
	for name, test := range map[string]struct{ without, says string }{
		"all":          {"", ""},
		"no GET":       {"-get", "ACL SETUSER gateway +get"},
		"no DEL":       {"-del", "ACL SETUSER gateway +del"},
		"no SADD":      {"-sadd", "ACL SETUSER gateway +sadd"},
		"no SISMEMBER": {"-sismember", "ACL SETUSER gateway +sismember"},
		"no PUBLISH":   {"-publish", "ACL SETUSER gateway +publish"},
		"no PSUB":      {"-psubscribe", "ACL SETUSER gateway +psubscribe"},
		"no MULTI":     {"-multi", "ACL SETUSER gateway +multi"},
		"no DISCARD":   {"-discard", "ACL SETUSER gateway +discard"},
		"no PING":      {"-ping", "ACL SETUSER gateway +ping"},
		"no SELECT":    {"-select", "ACL SETUSER gateway +select"},
		"no tickets":   {"resetkeys ~*_disabled_tokens ~*APIKey", "ACL SETUSER gateway ~*"},
		"no keys":      {"resetkeys ~0*", "ACL SETUSER gateway ~UserTokenAPIKey"},
		"no answers":   {"resetchannels &module.* &service.*", "ACL SETUSER gateway &RedisRPCClient."},
		"no patterns":  {"resetchannels &module.* &service.* &RedisRPCClient.* &websocket.user.*.events", "ACL SETUSER gateway &websocket.participant.*.events"},
		"no topics":    {"resetchannels &websocket.*", "ACL SETUSER gateway &module.TeraServer.UserManagerModule.messages"},
		"password":     {"resetpass >other", "the user gateway or its password is wrong"},
		"off":          {"off", "the user gateway or its password is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(test.without, "resetchannels") && !strings.Contains(all, "allchannels") {
				t.Skip("this Redis has no channel rights")
			}
			command := []any{"ACL", "SETUSER", "gateway", "reset", "on", ">pass"}
			for word := range strings.FieldsSeq(all + " " + test.without) {
				command = append(command, word)
			}
			if err := owner.Do(t.Context(), command...).Err(); err != nil {
				t.Fatal(err)
			}
			client, err := open("redis://gateway:pass@" + server.Address() + "/2")
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			err = bridge.Check(t.Context(), client)
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%v, want %q", err, test.says)
			}
			if _, isSetting := err.(*bridge.SettingError); err != nil && !isSetting {
				t.Errorf("not a SettingError: %v", err)
			}
		})
	}
	for _, db := range []string{"0", "2"} {
		client, err := open("redis://" + server.Address() + "/" + db)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if n, err := client.DBSize(t.Context()).Result(); n != 0 || err != nil {
			t.Errorf("%d keys in database %s, %v", n, db, err)
		}
	}
}

// bridge.md 0: Redis 6.0 must do: it has each of these commands.
func TestCommandsOfRedis6(t *testing.T) {
	t.Parallel()
	_, owner := start(t)
	all := everyRight(t, owner)
	if !strings.HasPrefix(all, "allchannels") {
		t.Skip("this is Redis 6.0")
	}
	for word := range strings.FieldsSeq(all + " +exists +auth +hello") {
		name, isCommand := strings.CutPrefix(word, "+")
		docs, err := owner.Do(t.Context(), "COMMAND", "DOCS", name).Slice()
		if isCommand && (err != nil || len(docs) != 2) {
			t.Errorf("%s: %v, %v", name, docs, err)
		} else if isCommand {
			about := docs[1].([]any)
			if since := about[slices.Index(about, any("since"))+1].(string); since > "6.0.0" {
				t.Errorf("%s needs Redis %s", name, since)
			}
		}
	}
}
