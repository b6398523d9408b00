package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"terasocket/bridge/standin"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
	pb "terasocket/proto/opentera"
)

// installation is a stand-in for a running OpenTera: a real Redis, its database, its user manager.
type installation struct {
	*testing.T
	url     string
	conn    *pgx.Conn
	redis   *standin.Redis
	manager *standin.UserManager
	service standin.Service
}

func install(t *testing.T, timing standin.Timing) *installation {
	t.Helper()
	i := &installation{T: t, url: dbtest.New(t, migrated()), redis: startRedis(t)}
	i.conn = dbtest.Conn(t, i.url)
	client := redis.NewClient(&redis.Options{Addr: i.redis.Address(), Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	i.service = standin.Service{Redis: client, Key: "VideoRehabService"}
	var err error
	if i.manager, err = standin.NewUserManager(i.redis.URL(), standin.PeopleOf(dbtest.Pool(t, i.url)), timing, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.manager.Close)
	i.start()
	return i
}

func (i *installation) start() {
	i.Helper()
	i.manager.Start(i.Context())
	dbtest.Eventually(i, "the user manager listens", i.manager.Hears)
}

// gateway starts one beside it, and waits until it holds the bridge.
func (i *installation) gateway(args ...string) *served {
	i.Helper()
	g := servePlain(i.T, gatewaytest.Config{Database: i.url, Args: append([]string{"--redis-url", i.redis.URL()}, args...)})
	g.waitFor(is("1"), "terasocket_bridge_leader")
	g.waitFor(is("1"), "terasocket_bridge_user_manager_up")
	return g
}

func (i *installation) uuid(kind string, id int) string {
	i.Helper()
	return dbtest.One[string](i, i.conn, "SELECT "+kind+"_uuid FROM t_"+kind+"s WHERE id_"+kind+" = $1", id)
}

func (i *installation) must(err error) {
	i.Helper()
	if err != nil {
		i.Fatal(err)
	}
}

// online waits until the user manager believes exactly these users to be online.
func (i *installation) online(uuids ...string) {
	i.Helper()
	slices.Sort(uuids)
	dbtest.Eventually(i, "users are online", func() bool { return slices.Equal(i.manager.Online("user"), uuids) })
}

// heard reads the frames of a socket until one of that type, which must contain the text.
func (e *ear) heard(name, text string) {
	e.t.Helper()
	if got := e.next(); !strings.Contains(got, " "+name+" ") || !strings.Contains(got, text) {
		e.t.Errorf("%s heard %s, want %s with %s", e.name, got, name, text)
	}
}

// hears reads one frame for each wanted one, "Type text".
func (e *ear) hears(want ...string) {
	e.t.Helper()
	for _, w := range want {
		name, text, _ := strings.Cut(w, " ")
		e.heard(name, text)
	}
}

func TestBesideOpenTera(t *testing.T) {
	t.Parallel()
	i := install(t, standin.Fast)
	g := i.gateway()
	g.part("all kinds", func(t *testing.T, g *served) { allKinds(t, i, g) })
	g.part("clinicians", func(t *testing.T, g *served) { clinicians(t, i, g) })
}

// bridge.md 1.1, 3.6, 4: a user, a participant and a device of a session receive in JSON exactly what OpenTera's own server would have sent
// to each: an invitation with the URL of its kind, a direct event, the device's status, a removal, the invitation of a returning
// member, and the end when the creator leaves.
func allKinds(t *testing.T, i *installation, g *served) {
	const url = "https://127.0.0.1:40075/webrtc/8080"
	dbtest.Exec(t, i.conn, "UPDATE t_sessions SET session_status = 1 WHERE id_session = 1") // of user 25, participant 12 and device 1
	user, participant, device := i.uuid("user", 25), i.uuid("participant", 12), i.uuid("device", 1)
	session := standin.Session{UUID: i.uuid("session", 1), Creator: "Ann", URL: url, Users: []string{user}, Participants: []string{participant}, Devices: []string{device}}
	come := func(kind, uuid string) *ear {
		t.Helper()
		e := g.listen(kind, uuid, "")
		e.name = "the " + kind + ", json by default"
		dbtest.Eventually(t, "the "+kind+" is online", func() bool { return slices.Contains(i.manager.Online(kind), uuid) })
		return e
	}
	ann, paul, kit := come("user", user), come("participant", participant), come("device", device)
	ended, err := i.service.Host(t.Context(), session, user)
	i.must(err)

	i.must(i.service.Join(t.Context(), session))
	ann.hears("JoinSessionEvent "+url+"/users", "UserEvent USER_JOINED_SESSION", "ParticipantEvent PARTICIPANT_JOINED_SESSION", "DeviceEvent DEVICE_JOINED_SESSION")
	paul.hears("JoinSessionEvent "+url+"/participants", "ParticipantEvent PARTICIPANT_JOINED_SESSION")
	kit.hears("JoinSessionEvent "+url+"/devices", "DeviceEvent DEVICE_JOINED_SESSION")

	i.must(i.service.Direct(t.Context(), "participant", participant, &pb.JoinSessionReplyEvent{SessionUuid: session.UUID, UserUuid: user, ReplyMsg: "to Paul"}))
	paul.hears("JoinSessionReplyEvent to Paul")

	i.must(i.service.Status(t.Context(), device, `{"battery": 7}`, 1732325000.5))
	ann.hears("DeviceEvent DEVICE_STATUS_CHANGED")
	kit.hears(`DeviceEvent "deviceStatus":"{\"status\": \"{\\\"battery\\\": 7}\", \"timestamp\": 1732325000.5}"`)

	i.must(i.service.Leave(t.Context(), session, standin.Session{Participants: []string{participant}}))
	ann.hears("LeaveSessionEvent "+participant, "ParticipantEvent PARTICIPANT_LEFT_SESSION")
	paul.hears("LeaveSessionEvent "+participant, "ParticipantEvent PARTICIPANT_LEFT_SESSION")
	kit.hears("LeaveSessionEvent " + participant)

	_ = paul.conn.Close()
	dbtest.Eventually(t, "the participant is offline", func() bool { return len(i.manager.Online("participant")) == 0 })
	paul = come("participant", participant)
	ann.hears("UserEvent USER_JOINED_SESSION", "ParticipantEvent PARTICIPANT_JOINED_SESSION", "DeviceEvent DEVICE_JOINED_SESSION")
	paul.hears("JoinSessionEvent "+url+"/participants", "ParticipantEvent PARTICIPANT_JOINED_SESSION")
	kit.hears("DeviceEvent DEVICE_JOINED_SESSION")

	_ = ann.conn.Close()
	paul.hears("StopSessionEvent "+session.UUID, "ParticipantEvent PARTICIPANT_LEFT_SESSION")
	kit.hears("StopSessionEvent "+session.UUID, "DeviceEvent DEVICE_LEFT_SESSION")
	i.must(<-ended)
	for _, e := range []*ear{paul, kit} {
		i.must(i.service.Kick(t.Context(), e.uuid))
		if got := e.next(); got != "closed 4000 CMD_CLIENT_DISCONNECT" {
			t.Errorf("%s: %s", e.name, got)
		}
	}
}

// bridge.md 1.1, 3.1, 4: clients beside a running OpenTera receive in JSON what its own server would have sent: an invitation,
// a busy reply, the end, an archive, a kick; and OpenTera knows who is connected.
func clinicians(t *testing.T, i *installation, g *served) {
	creator, guest := i.uuid("user", 1), i.uuid("user", 2)
	ann, bob := g.listen("user", creator, ""), g.listen("user", guest, "")
	ann.name, bob.name = "ann, json by default", "bob, json by default"
	i.online(creator, guest)
	session := standin.Session{UUID: dbtest.One[string](t, i.conn, "SELECT session_uuid FROM t_sessions WHERE session_status = 0 AND deleted_at IS NULL LIMIT 1"), Creator: "Ann",
		URL: "https://127.0.0.1:40075/webrtc/8080", Users: []string{creator, guest}}
	dbtest.Exec(t, i.conn, "INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id) SELECT 100000 + u.id_user, s.id_session, u.id_user, 1 FROM t_sessions s, t_users u WHERE s.session_uuid = $1 AND u.user_uuid = ANY ($2)",
		session.UUID, session.Users)
	i.must(i.service.Join(t.Context(), session))
	for _, e := range []*ear{ann, bob} { // 1.1: Join once, JOINED once a member
		e.heard("JoinSessionEvent", `"sessionUrl":"https://127.0.0.1:40075/webrtc/8080/users"`)
		e.heard("UserEvent", `"USER_JOINED_SESSION"`)
		e.heard("UserEvent", `"USER_JOINED_SESSION"`)
	}
	i.must(i.service.Reply(t.Context(), standin.Session{UUID: session.UUID, Users: []string{creator}}, guest, pb.JoinSessionReplyEvent_REPLY_BUSY))
	ann.heard("JoinSessionReplyEvent", `"REPLY_BUSY"`)
	for _, e := range []*ear{ann, bob} { // the one that replies gets its own LEFT only
		e.heard("UserEvent", `"USER_LEFT_SESSION"`)
	}
	i.must(i.service.Stop(t.Context(), standin.Session{UUID: session.UUID, Users: []string{creator}}))
	ann.heard("StopSessionEvent", session.UUID)
	for _, e := range []*ear{ann, bob} {
		e.heard("UserEvent", creator)
	}
	i.must(i.service.Archive(t.Context(), &pb.ArchiveEvent{ArchiveUuid: creator, OwnerUuid: guest, Status: pb.ArchiveEvent_STATUS_COMPLETED}))
	bob.heard("ArchiveEvent", `"STATUS_COMPLETED"`)
	i.must(i.service.Kick(t.Context(), creator))
	if got := ann.next(); got != "closed 4000 CMD_CLIENT_DISCONNECT" {
		t.Errorf("kicked: %s", got)
	}
	i.online(guest) // 3.3: and may log in again
	// after an ordered stop nobody is left online there
	g.mustStop()
	i.online()
	if i.manager.Raised() != 0 {
		t.Error("the user manager raised")
	}
}

// bridge.md 3.4: a gateway that was killed restarts on its address: its clients are offline there at once, long before the
// lease ends; 8.5: OpenTera restarts under its sockets.
func TestStartedAgainBesideOpenTera(t *testing.T) {
	t.Parallel()
	i := install(t, standin.Fast)
	address := fmt.Sprintf("127.0.0.1:%d", must(embedded.FreePort()))
	g := i.gateway("--listen", address, "--presence-lease", "1h")
	who := i.uuid("user", 1)
	g.listen("user", who, "")
	i.online(who)
	i.must(i.manager.Stop(t.Context()))
	i.start()
	i.online(who)
	g.Kill()
	g = i.gateway("--listen", address, "--presence-lease", "1h")
	i.online()
	g.listen("user", who, "")
	i.online(who)
}

// bridge.md 3.4: a gateway with sockets and the bridge dies for good: another takes the bridge, and when the lease ends OpenTera knows who is
// offline.
func TestKilledBesideOpenTera(t *testing.T) {
	t.Parallel()
	i := install(t, standin.Fast)
	g := i.gateway("--presence-lease", "2s")
	other := servePlain(t, gatewaytest.Config{Database: i.url, Args: []string{"--redis-url", i.redis.URL(), "--presence-lease", "2s"}})
	gone, stays := i.uuid("user", 1), i.uuid("user", 2)
	g.listen("user", gone, "")
	other.listen("user", stays, "")
	i.online(gone, stays)
	g.Kill()
	i.online(stays)
	other.waitFor(is("1"), "terasocket_bridge_leader")
	other.listen("user", gone, "") // and may come back
	i.online(gone, stays)
}
