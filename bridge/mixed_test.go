package bridge

import (
	"slices"
	"testing"
	"time"

	"terasocket/bridge/standin"
	"terasocket/proto/opentera"
)

// theirs publishes that a user connects to OpenTera's own server, or disconnects.
func (s *stage) theirs(id int, comes bool) {
	s.Helper()
	event := &opentera.UserEvent{UserUuid: s.user(id), Type: opentera.UserEvent_USER_DISCONNECTED}
	if comes {
		event.Type = opentera.UserEvent_USER_CONNECTED
	}
	s.send(messagesTopic, standin.ModuleMessage("websocket.user."+s.user(id), messagesTopic, event))
}

// bridge.md 7: a user on OpenTera's server and a device here see each other connect and disconnect, once each.
func TestMixed(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	said := s.overhear()
	s.leader(nil)
	there := s.client.Subscribe(t.Context(), eventsTopic) // what OpenTera's own sockets receive
	defer there.Close()
	if _, err := there.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.theirs(3, true)
	s.hears("USER_CONNECTED 3")
	s.connect("device", 1, 1)
	s.hears("DEVICE_CONNECTED 1")
	s.isOnline(3)
	s.eventually("the device is known", func() bool { return len(s.manager.Online("device")) == 1 })
	if n := s.number("SELECT jsonb_array_length(terasocket.online_seen(1, 'user'))"); n != 1 {
		t.Errorf("%d are shown online", n)
	}
	if n := s.number("SELECT count(*) FROM terasocket.presence_snapshot('user', 1), unnest(messages) m WHERE m::jsonb ->> 'userUuid' = $1 AND m::jsonb ->> 'type' = 'USER_CONNECTED'", s.user(3)); n != 1 {
		t.Errorf("a snapshot shows it %d times", n)
	}
	s.leave(1)
	s.eventually("the device is gone", func() bool { return len(s.manager.Online("device")) == 0 })
	s.theirs(3, false)
	s.hears("USER_DISCONNECTED 3")
	s.isOnline()
	for range 4 { // two of each
		if _, err := there.ReceiveTimeout(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if got := said.ours(); !slices.Equal(got, []string{"DEVICE_CONNECTED", "DEVICE_DISCONNECTED"}) {
		t.Errorf("told: %v", got)
	}
}

// bridge.md 7: a user with a socket on both is no news. When the one there closes, the user manager is told that the user is
// still online; when the one here closes first, nothing is said.
func TestSocketsOnBothServers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	said := s.overhear()
	s.leader(nil)
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.theirs(3, true)
	s.theirs(3, false)
	s.eventually("it is told again", func() bool { return said.count("USER_CONNECTED") == 2 })
	s.isOnline(3)
	s.hears("USER_CONNECTED 3")
	s.hearsNothing()

	s.theirs(3, true)
	s.eventually("it is known", func() bool {
		return s.number("SELECT count(*) FROM terasocket.connections WHERE gateway = terasocket.opentera_gateway()") == 1
	})
	s.leave(1)
	s.eventually("the bridge has looked", func() bool {
		return s.number("SELECT count(*) FROM terasocket.bridge_told") == 0 && s.number("SELECT count(*) FROM terasocket.bridge_moves") == 0
	})
	if said.count("USER_DISCONNECTED") != 0 {
		t.Error("it was told of a disconnect")
	}
	s.hearsNothing()
	s.theirs(3, false)
	s.hears("USER_DISCONNECTED 3")
	s.isOnline()
}

// bridge.md 7, 8.2: users on OpenTera's server are offline when it stops, and found when the bridge starts.
func TestOpenTeraStopsWithItsSockets(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	s.theirs(3, true)
	s.isOnline(3)
	b := s.leader(nil)
	s.hears("USER_CONNECTED 3")
	s.theirs(4, true)
	s.hears("USER_CONNECTED 4")
	s.must(s.manager.Stop(t.Context()))
	s.hears("USER_DISCONNECTED 3", "USER_DISCONNECTED 4")
	s.opentera()
	s.theirs(4, true)
	s.hears("USER_CONNECTED 4")
	// no bridge: OpenTera's lease runs out
	b.stop()
	s.exec("UPDATE terasocket.gateways SET lease_until = now() - interval '1 second' WHERE id = terasocket.opentera_gateway()")
	s.exec("SELECT terasocket.presence_sweep()")
	s.hears("USER_DISCONNECTED 4")
}
