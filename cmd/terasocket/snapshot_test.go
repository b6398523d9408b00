package main

import (
	"fmt"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// presenceFrame reads the next frame: its type, and the UUID of whom it is about.
func (s *socket) presenceFrame() string {
	s.t.Helper()
	what, _, uuid, err := s.presenceEvent()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	return what + " " + uuid
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()), "--presence-grace", "0")
	gateway.part("on connect", snapshotOnConnect)
	gateway.part("no gap between snapshot and live", noGapAfterTheSnapshot)
}

func snapshotOnConnect(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	connect := func(kind, uuid, query string) *socket { return dial(t, gateway.address(kind, uuid)+query) }
	// who is there: in site 1 and in site 2
	lucie := connect("participant", opentera.DemoParticipantUUID, "")
	connect("participant", opentera.DemoOtherParticipantUUID, "")
	device := connect("device", opentera.DemoDeviceUUID, "")
	for _, s := range []*socket{lucie, device} { // once they receive their own event, they are known to be online
		s.presenceFrame()
	}
	dbtest.Eventually(t, "three are online", func() bool { return dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.online") == 3 })
	dbtest.Exec(t, pool, "SELECT terasocket.device_status(1, '{\"battery\": 7}', 12.5)")
	dbtest.Exec(t, pool, `SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', jsonb_build_object(
		'@type', 'type.googleapis.com/opentera.protobuf.JoinSessionEvent', 'sessionUuid', session_uuid, 'sessionParticipants', jsonb_build_array($1::text)))
		FROM t_sessions WHERE session_status = 1 AND deleted_at IS NULL LIMIT 1`, opentera.DemoParticipantUUID)

	paul := connect("user", opentera.DemoProjectAdminUUID, "&snapshot=1")
	want := map[string]bool{ // once or, if it also came live, twice
		"USER_CONNECTED " + opentera.DemoProjectAdminUUID:                                                        true,
		"PARTICIPANT_CONNECTED " + opentera.DemoParticipantUUID:                                                  true,
		"PARTICIPANT_JOINED_SESSION " + opentera.DemoParticipantUUID:                                             true,
		"DEVICE_CONNECTED " + opentera.DemoDeviceUUID:                                                            true,
		"DEVICE_STATUS_CHANGED " + opentera.DemoDeviceUUID + `{"status": "{\"battery\": 7}", "timestamp": 12.5}`: true,
	}
	heard := map[string]bool{}
	mustBeOfTheSnapshot := func(frame string) {
		t.Helper()
		if !want[frame] {
			t.Fatalf("received %q after %v", frame, heard)
		}
		heard[frame] = true
	}
	for len(heard) < len(want) {
		mustBeOfTheSnapshot(paul.presenceFrame())
	}
	// changes from now on are live
	_ = lucie.conn.Close()
	for {
		frame := paul.presenceFrame()
		if frame == "PARTICIPANT_DISCONNECTED "+opentera.DemoParticipantUUID {
			return
		}
		mustBeOfTheSnapshot(frame)
	}
}

// Clients come and go while others connect with a snapshot: each of these ends up with the state of the database.
func noGapAfterTheSnapshot(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	dbtest.Exec(t, pool, "INSERT INTO terasocket.gateways (name, lease_until) VALUES ('test', 'infinity')")
	const people = 24 // participants 1 to 24 are in project 1
	stop, done, changed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		open := map[int]int64{}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case changed <- struct{}{}: // the one before
			default:
			}
			who := i*7%people + 1
			var err error
			if id, isOpen := open[who]; isOpen {
				_, err = pool.Exec(t.Context(), "SELECT terasocket.disconnected($1, '0')", id)
				delete(open, who)
			} else {
				var id int64
				err = pool.QueryRow(t.Context(), "SELECT terasocket.connected(id, 'participant', $1, '', '') FROM terasocket.gateways WHERE name = 'test'", who).Scan(&id)
				open[who] = id
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	sockets := make([]*socket, 8)
	for i := range sockets {
		sockets[i] = gateway.login(opentera.DemoProjectAdmin, "&snapshot=1").keepReading()
		for range 5 {
			select {
			case <-changed:
			case <-done:
				t.FailNow()
			}
		}
	}
	close(stop)
	<-done
	want := map[string]bool{}
	for _, uuid := range dbtest.One[[]string](t, pool, "SELECT array_agg(participant_uuid) FROM terasocket.online JOIN t_participants ON id_participant = principal WHERE kind = 'participant' AND principal <= 24") {
		want[uuid] = true
	}
	// a sentinel for everybody: the user's own name
	gateway.exec("UPDATE t_users SET user_lastname = 'Sentinel' WHERE user_username = 'paul.project'")
	for i, s := range sockets {
		online := map[string]bool{}
		for {
			what, uuid, _ := strings.Cut(s.presenceFrame(), " ")
			if what == "*opentera.DatabaseEvent" {
				break
			}
			switch what {
			case "PARTICIPANT_CONNECTED":
				online[uuid] = true
			case "PARTICIPANT_DISCONNECTED":
				delete(online, uuid)
			}
		}
		if fmt.Sprint(online) != fmt.Sprint(want) {
			t.Errorf("socket %d ends with %d online, want %d", i, len(online), len(want))
		}
	}
}
