package migrations_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// registered returns a database with gateways.
func registered(t *testing.T, n int) (f *fixture, gateways []string) {
	f = setup(t)
	for i := range n {
		gateways = append(gateways, one[string](f, "SELECT terasocket.gateway_register($1, '1 hour')::text", fmt.Sprint("gateway ", i)))
	}
	return f, gateways
}

// beside is a fixture on another connection.
func (f *fixture) beside() *fixture {
	f.Helper()
	other := *f
	other.conn = dbtest.Conn(f, f.url)
	return &other
}

// announced announces, and returns the presence events since the last call: "USER_CONNECTED Paul Project".
func (f *fixture) announced() []string {
	f.Helper()
	f.announce()
	rows, err := f.teller.Query(f.Context(), `SELECT seq, body->>'type' || ' ' || coalesce(body->>'userFullname', body->>'participantName', body->>'deviceName')
		FROM terasocket.events WHERE seq > $1 AND topic = 'module.TeraServer.UserManagerModule.events' ORDER BY seq`, f.seen)
	if err != nil {
		f.Fatal(err)
	}
	events := []string{}
	var what string
	if _, err := pgx.ForEachRow(rows, []any{&f.seen, &what}, func() error { events = append(events, what); return nil }); err != nil {
		f.Fatal(err)
	}
	return events
}

func (f *fixture) mustAnnounce(what string, want ...string) {
	f.Helper()
	if want == nil {
		want = []string{}
	}
	mustEqual(f, what, f.announced(), want)
}

func (f *fixture) connect(gateway, kind string, id int) int64 {
	f.Helper()
	return one[int64](f, "SELECT terasocket.connected($1::text::uuid, $2, $3::text::integer, 'test', '10.0.0.1')", gateway, kind, fmt.Sprint(id))
}

func (f *fixture) disconnect(connection int64, grace string) {
	f.Helper()
	f.exec(fmt.Sprintf("SELECT terasocket.disconnected(%d, '%s')", connection, grace))
}

func (f *fixture) sweep() int {
	f.Helper()
	return one[int](f, "SELECT terasocket.presence_sweep()")
}

// names of people of the demo installation
func (f *fixture) name(kind string, id int) string {
	f.Helper()
	column := "user_firstname || ' ' || user_lastname"
	if kind != "user" {
		column = kind + "_name"
	}
	return one[string](f, fmt.Sprintf("SELECT (%s)::text FROM t_%ss WHERE id_%s = %d", column, kind, kind, id))
}

func (f *fixture) uuid(kind string, id int) string {
	f.Helper()
	return one[string](f, fmt.Sprintf("SELECT %s_uuid::text FROM t_%ss WHERE id_%s = %d", kind, kind, kind, id))
}

func TestFirstSocketIsOnlineAndLastIsOffline(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 2)
	paul, one1, phone := f.name("user", 9), f.name("participant", 1), f.name("device", 1)
	a := f.connect(g[0], "user", 9)
	f.mustAnnounce("the first", "USER_CONNECTED "+paul)
	b := f.connect(g[1], "user", 9)
	f.disconnect(a, "0")
	f.disconnect(a, "0")
	f.mustAnnounce("a second, and the end of the first")
	f.disconnect(b, "0")
	f.mustAnnounce("the end of the last", "USER_DISCONNECTED "+paul)
	f.disconnect(b, "0")
	f.mustAnnounce("once more")

	p, d := f.connect(g[0], "participant", 1), f.connect(g[0], "device", 1)
	f.disconnect(p, "0")
	f.disconnect(d, "0")
	f.mustAnnounce("the other kinds", "PARTICIPANT_CONNECTED "+one1, "DEVICE_CONNECTED "+phone, "PARTICIPANT_DISCONNECTED "+one1, "DEVICE_DISCONNECTED "+phone)
	mustEqual(t, "rows left", one[int](f, "SELECT (SELECT count(*) FROM terasocket.presence) + (SELECT count(*) FROM terasocket.connections)"), 0)

	fields := oneOn[string](f, f.teller, "SELECT body::text FROM terasocket.events WHERE body->>'type' = 'PARTICIPANT_CONNECTED'")
	var participant map[string]string
	if err := json.Unmarshal([]byte(fields), &participant); err != nil || len(participant) != 5 ||
		participant["participantProjectName"] == "" || participant["participantSiteName"] == "" || participant["participantUuid"] != f.uuid("participant", 1) {
		t.Errorf("fields of a ParticipantEvent: %s", fields)
	}
}

func TestGrace(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 1)
	paul := f.name("user", 9)
	for range 20 { // a flapping client
		f.disconnect(f.connect(g[0], "user", 9), "1 hour")
	}
	f.sweep()
	f.mustAnnounce("flapping", "USER_CONNECTED "+paul)
	mustEqual(t, "online in the grace", one[bool](f, "SELECT online_since IS NOT NULL AND offline_at IS NOT NULL FROM terasocket.presence"), true)
	f.exec("UPDATE terasocket.online SET offline_at = now() - interval '1 second'")
	mustEqual(t, "swept", f.sweep(), 1)
	mustEqual(t, "swept again", f.sweep(), 0)
	f.mustAnnounce("the grace is over", "USER_DISCONNECTED "+paul)

	// back within the grace
	f.disconnect(f.connect(g[0], "user", 9), "1 hour")
	c := f.connect(g[0], "user", 9)
	mustEqual(t, "nothing is pending", one[bool](f, "SELECT offline_at IS NULL FROM terasocket.presence"), true)
	// leaving on purpose
	f.disconnect(c, "0")
	f.mustAnnounce("a kick", "USER_CONNECTED "+paul, "USER_DISCONNECTED "+paul)

	// kicked within the grace
	f.disconnect(f.connect(g[0], "user", 9), "1 hour")
	f.disconnect(f.connect(g[0], "user", 10), "1 hour")
	f.exec("SELECT terasocket.kick($1)", f.uuid("user", 9))
	f.sweep()
	f.announced()
	mustEqual(t, "online in the grace", one[int](f, "SELECT principal FROM terasocket.online"), 10)
	f.exec("SELECT terasocket.kick($1)", f.uuid("user", 11)) // somebody who is not connected

	// kicked and back, it has a grace again
	f.disconnect(f.connect(g[0], "user", 9), "1 hour")
	mustEqual(t, "swept", f.sweep(), 0)
	f.mustAnnounce("after the kick", "USER_CONNECTED "+paul)

	// a client closes its socket and logs out at the same moment
	service := f.beside()
	c = f.connect(g[0], "user", 9)
	service.exec("BEGIN")
	service.exec("SELECT terasocket.kick($1)", f.uuid("user", 9))
	f.disconnect(c, "1 hour")
	mustEqual(t, "before the kick has happened", f.sweep(), 0)
	service.exec("COMMIT")
	mustEqual(t, "after it", f.sweep(), 1)
	f.mustAnnounce("closed and kicked", "USER_DISCONNECTED "+paul)

	f.exec("UPDATE terasocket.kicked SET at = now() - interval '6 minutes'")
	f.sweep()
	mustEqual(t, "kicks that are remembered", one[int](f, "SELECT count(*) FROM terasocket.kicked"), 0)
}

// The gateway of a replaced socket may report before that of its replacement: the principal stays online, unless nobody comes, or it is
// kicked.
func TestReplacedOnAnotherGateway(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 2)
	replaced := func(connection int64) {
		t.Helper()
		f.exec("SELECT terasocket.replace_sockets('user', 9, nextval('terasocket.connect_tokens_counter'))")
		f.announced()
		f.disconnect(connection, "0")
		mustEqual(t, "swept", f.sweep(), 0)
		f.mustAnnounce("replaced")
	}
	replaced(f.connect(g[0], "user", 9))
	second := f.connect(g[1], "user", 9)
	f.mustAnnounce("the other one is there")
	replaced(second)
	f.exec("SELECT terasocket.kick($1)", f.uuid("user", 9))
	mustEqual(t, "swept after a kick", f.sweep(), 1)
	f.announced()
	third := f.connect(g[0], "user", 9)
	f.disconnect(third, "0")
	f.announced()
	mustEqual(t, "online after a kick", one[int](f, "SELECT count(*) FROM terasocket.online"), 0)
	replaced(f.connect(g[0], "user", 9))
	f.exec("UPDATE terasocket.online SET offline_at = offline_at - interval '5 seconds'")
	mustEqual(t, "swept when nobody came", f.sweep(), 1)
}

// Concurrent sessions connect and disconnect the same few people, with and without grace, while others sweep. In the log each one's
// events alternate, begin with CONNECTED and end with DISCONNECTED, since nobody is left.
func TestPresenceAlternates(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 3)
	const sessions, rounds = 4, 80
	var wg sync.WaitGroup
	for s := range sessions {
		conn := dbtest.Conn(t, f.url)
		random := rand.New(rand.NewPCG(uint64(s), 1))
		do := func(sql string, args ...any) {
			if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
		wg.Go(func() {
			open := map[int64]bool{}
			for i := range rounds {
				gateway := g[random.IntN(len(g))]
				switch k := random.IntN(10); {
				case k < 3: // some at once, in any order
					var sockets []int64
					var kinds []string
					var ids []int32
					for n := range 1 + random.IntN(2) {
						socket := int64(s*100000 + i*10 + n)
						sockets, kinds, ids = append(sockets, socket), append(kinds, []string{"user", "participant"}[random.IntN(2)]), append(ids, int32(1+random.IntN(2)))
						open[socket] = true
					}
					do("SELECT terasocket.connected_many($1::text::uuid, $2, $3, $4, $3, $3)", gateway, sockets, kinds, ids)
					do("SELECT terasocket.connected_many($1::text::uuid, $2, $3, $4, $3, $3)", gateway, sockets, kinds, ids) // the answer was lost
				case k < 8:
					var sockets []int64
					for socket := range open {
						if k < 7 || len(sockets) < 3 {
							sockets = append(sockets, socket)
						}
					}
					for _, other := range g {
						do("SELECT terasocket.disconnected_many($1::text::uuid, $2, $3::text::interval)", other, sockets, []string{"0", "2 ms"}[random.IntN(2)])
					}
					for _, socket := range sockets {
						delete(open, socket)
					}
				default:
					do("SELECT terasocket.presence_sweep()")
				}
			}
			var rest []int64
			for socket := range open {
				rest = append(rest, socket)
			}
			for _, gateway := range g {
				do("SELECT terasocket.disconnected_many($1::text::uuid, $2, '0')", gateway, rest)
			}
		})
	}
	wg.Wait()
	f.exec("SELECT pg_sleep(0.01)")
	f.sweep()
	last := map[string]string{}
	n := 0
	for _, e := range f.announced() {
		what, who, _ := strings.Cut(e, " ")
		kind, state, _ := strings.Cut(what, "_")
		who = kind + who
		if state == last[who] || last[who] == "" && state != "CONNECTED" {
			t.Errorf("%s %s after %q", who, state, last[who])
		}
		last[who] = state
		n++
	}
	for who, state := range last {
		if state != "DISCONNECTED" {
			t.Errorf("%s is left %s", who, state)
		}
	}
	if len(last) != 4 || n < 40 {
		t.Errorf("%d events of %d people: that shows little", n, len(last))
	}
	mustEqual(t, "rows left", one[int](f, "SELECT (SELECT count(*) FROM terasocket.presence) + (SELECT count(*) FROM terasocket.connections)"), 0)
}

func TestADeadGatewayIsSweptOnce(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 2)
	const people = 120 // all participants
	f.exec("SELECT terasocket.connected($1::text::uuid, 'participant', id_participant, '', '') FROM t_participants", g[0])
	f.connect(g[1], "participant", 2) // has reconnected elsewhere
	f.disconnect(f.connect(g[0], "user", 9), "1 hour")
	f.announced()
	f.exec("UPDATE terasocket.gateways SET lease_until = now() - interval '1 second' WHERE id = $1::text::uuid", g[0])
	mustEqual(t, "without the dead", one[int](f, "SELECT terasocket.presence_sweep(false)"), 0)
	mustEqual(t, "before the sweep it could have come back", one[bool](f, "SELECT lease_until > '-infinity' FROM terasocket.gateways WHERE id = $1::text::uuid", g[0]), true)

	var wg sync.WaitGroup
	for range 6 {
		conn := dbtest.Conn(t, f.url)
		wg.Go(func() {
			for range 5 {
				if _, err := conn.Exec(t.Context(), "SELECT terasocket.presence_sweep()"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	heard := map[string]int{}
	for _, e := range f.announced() {
		heard[e]++
	}
	participants := one[int](f, "SELECT count(*) FROM t_participants")
	if len(heard) != participants-1 {
		t.Errorf("%d are announced, want %d: all but the one connected elsewhere", len(heard), participants-1)
	}
	for e, n := range heard {
		if n != 1 || !strings.HasPrefix(e, "PARTICIPANT_DISCONNECTED") {
			t.Errorf("%s: %d times", e, n)
		}
	}
	mustEqual(t, "gateways left", one[int](f, "SELECT count(*) FROM terasocket.gateways"), 1)

	// the gateway was only paused: it may not go on as if nothing had happened
	mustEqual(t, "beat of the dead", one[bool](f, "SELECT terasocket.gateway_beat($1::text::uuid, '1 hour')", g[0]), false)
	if _, err := f.conn.Exec(t.Context(), "SELECT terasocket.connected($1::text::uuid, 'user', 1, '', '')", g[0]); err == nil || !strings.Contains(err.Error(), "23503") {
		t.Errorf("a socket of the dead: %v", err)
	}
	mustEqual(t, "leave with sockets", one[bool](f, "SELECT terasocket.gateway_leave($1::text::uuid)", g[1]), false)
	f.exec("SELECT terasocket.disconnected(id, '0') FROM terasocket.connections")
	mustEqual(t, "leave", one[bool](f, "SELECT terasocket.gateway_leave($1::text::uuid)", g[1]), true)
	if participants < people {
		t.Errorf("%d participants only", participants)
	}
}

// A sweep is done in parts; the gateway cannot come back between two of them.
func TestALargeSweepIsInParts(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 1)
	manyParticipants(f, 1200)
	f.exec("SELECT terasocket.connected($1::text::uuid, 'participant', id_participant, '', '') FROM t_participants WHERE id_participant >= 100000", g[0])
	f.announced()
	f.exec("UPDATE terasocket.gateways SET lease_until = now() - interval '1 second'")
	mustEqual(t, "the first part", f.sweep(), 500)
	mustEqual(t, "beat between two parts", one[bool](f, "SELECT terasocket.gateway_beat($1::text::uuid, '1 hour')", g[0]), false)
	for f.sweep() > 0 {
	}
	mustEqual(t, "announced", len(f.announced()), 1200)
	mustEqual(t, "left", one[int](f, "SELECT (SELECT count(*) FROM terasocket.gateways) + (SELECT count(*) FROM terasocket.connections)"), 0)
}

// A service that holds its transaction open does not delay anybody's connecting and disconnecting.
func TestServicesAndGatewaysDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 1)
	service := f.beside()
	f.exec("SET statement_timeout = '5s'")
	service.exec("SET statement_timeout = '5s'")
	f.disconnect(f.connect(g[0], "user", 10), "1 hour")
	service.exec("BEGIN")
	service.exec(fmt.Sprintf(`SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', '{"@type": "type.googleapis.com/opentera.protobuf.JoinSessionEvent",
		"sessionUuid": "%[1]s", "sessionUsers": ["%[1]s", "%[2]s"]}')`, f.uuid("user", 9), f.uuid("user", 10)))
	f.disconnect(f.connect(g[0], "user", 9), "0")
	f.connect(g[0], "user", 10)
	f.sweep()
	service.exec("ROLLBACK")

	f.exec("BEGIN")
	f.connect(g[0], "user", 9)
	service.exec("SELECT terasocket.kick($1)", f.uuid("user", 9))
	f.exec("COMMIT")
}

func TestDeviceStatus(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 1)
	status := func() bool {
		return one[bool](f, `SELECT terasocket.device_status(1, '{"battery": "ü"}', 1732325000.5)`)
	}
	mustEqual(t, "of a device that is offline", status(), false)
	f.mustAnnounce("offline")
	c := f.connect(g[0], "device", 1)
	mustEqual(t, "of a device that is online", status(), true)
	f.mustAnnounce("status", "DEVICE_CONNECTED "+f.name("device", 1), "DEVICE_STATUS_CHANGED "+f.name("device", 1))
	mustEqual(t, "event", one[string](f, "SELECT body->>'deviceStatus' FROM terasocket.events WHERE body->>'type' = 'DEVICE_STATUS_CHANGED' ORDER BY seq DESC LIMIT 1"),
		`{"status": "{\"battery\": \"ü\"}", "timestamp": 1732325000.5}`)
	mustEqual(t, "kept", one[string](f, "SELECT status || status_at FROM terasocket.presence"), `{"battery": "ü"}1732325000.5`)
	f.disconnect(c, "0")
	f.connect(g[0], "device", 1)
	mustEqual(t, "forgotten", one[bool](f, "SELECT status IS NULL FROM terasocket.presence"), true)
}
