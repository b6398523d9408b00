package bridge_test

import (
	"strings"
	"testing"

	"terasocket/bridge"
	"terasocket/bridge/standin"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	server, err := standin.StartRedis(t.Context(), "--requirepass", "secret")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	for password, fails := range map[string]bool{"secret": false, "wrong": true} {
		client, err := open("redis://default:" + password + "@" + server.Address() + "/0")
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := bridge.Ping(t.Context(), client); (err != nil) != fails {
			t.Errorf("with the password %s: %v", password, err)
		}
	}
}

func TestOpenOfWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "secret", "http://u:secret@h", "redis://u:secret@h:port/0", "redis://u:secret@h/db", "redis://u:sec%ret@h", "redis://u:secret@h/0?secret=secret"} {
		if _, err := open(address); err == nil || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
