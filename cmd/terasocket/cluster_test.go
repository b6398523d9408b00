package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
	"terasocket/api"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
	"terasocket/ws"
)

// longGrace outlasts a test: no disconnect is announced.
const longGrace = 10 * time.Minute

// cluster is three gateways on one database. Participants are named "p7" and so on, and all may connect. The third gateway has a grace of
// 3 s, the others a long one.
type cluster struct {
	*testing.T
	pool *pgxpool.Pool
	g    [3]*served
}

// part runs a subtest. Nobody is online at its beginning.
func (c *cluster) part(name string, test func(c *cluster)) {
	c.Run(name, func(t *testing.T) {
		part := &cluster{T: t, pool: c.pool}
		for i, g := range c.g {
			gateway := *g
			gateway.t = t
			part.g[i] = &gateway
		}
		everybodyLeaves(t, c.pool)
		test(part)
	})
}

// lease is how long a gateway that was killed is believed to be alive.
const lease = 10 * time.Second

func TestCluster(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	c := &cluster{T: t, pool: dbtest.Pool(t, url)}
	psql(t, url, `UPDATE t_participants SET participant_name = 'p' || id_participant, participant_enabled = true, deleted_at = NULL`)
	for i, grace := range []time.Duration{longGrace, longGrace, 3 * time.Second} {
		c.g[i] = serve(t, url, "--presence-lease", lease.String(), "--presence-grace", grace.String())
	}
	c.part("presence across gateways", presenceAcrossGateways)
	c.part("replace across gateways", replaceAcrossGateways)
	c.part("a crowd connects at once", aCrowdConnects)
	c.part("one of three is killed", oneIsKilled)
}

// connect connects a participant, and keeps reading.
func (c *cluster) connect(gateway, id int) *socket {
	c.Helper()
	return dial(c.T, c.g[gateway].address("participant", participantUUID(c.T, c.pool, id))).keepReading()
}

// sockets waits until there are that many.
func sockets(t *testing.T, pool *pgxpool.Pool, want int64) {
	t.Helper()
	dbtest.Eventually(t, fmt.Sprintf("%d sockets", want), func() bool { return dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.connections") == want })
}

// everybodyLeaves waits until no socket is open, and announces everybody offline.
func everybodyLeaves(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	sockets(t, pool, 0)
	dbtest.Exec(t, pool, "SELECT terasocket.go_offline(kind, principal) FROM terasocket.online")
	announceAll(t, pool)
}

// presence reads the next frame, which must be a presence event, and returns its type and name.
func (s *socket) presence() string {
	s.t.Helper()
	what, err := s.readPresence()
	if err != nil {
		s.t.Fatal(err)
	}
	return what
}

func (s *socket) readPresence() (string, error) {
	what, name, _, err := s.presenceEvent()
	if err == nil && strings.HasPrefix(what, "*") {
		err = fmt.Errorf("received %s", name)
	}
	return what + " " + name, err
}

// presenceEvent reads a presence event: its type, and whom it is about. The UUID of a device is followed by its status. Of other events it
// returns the Go type and a description.
func (s *socket) presenceEvent() (what, name, uuid string, err error) {
	_, data, err := s.readFrame()
	if err != nil {
		return "", "", "", err
	}
	e, err := event.ParseFrame(data)
	if err != nil {
		return "", "", "", err
	}
	switch m := e.Message.(type) {
	case *pb.UserEvent:
		return m.GetType().String(), m.GetUserFullname(), m.GetUserUuid(), nil
	case *pb.ParticipantEvent:
		return m.GetType().String(), m.GetParticipantName(), m.GetParticipantUuid(), nil
	case *pb.DeviceEvent:
		return m.GetType().String(), m.GetDeviceName(), m.GetDeviceUuid() + m.GetDeviceStatus(), nil
	}
	return fmt.Sprintf("%T", e.Message), describe(e), "", nil
}

// mustPresence reads exactly these presence events.
func (s *socket) mustPresence(want ...string) {
	s.t.Helper()
	for _, w := range want {
		if got := s.presence(); got != w {
			s.t.Fatalf("received %q, want %q", got, w)
		}
	}
}

// mustEnd reads the close frame. Nothing may precede it.
func (s *socket) mustEnd(code int) {
	s.t.Helper()
	_, data, err := s.readFrame()
	if !websocket.IsCloseError(err, code) {
		s.t.Fatalf("got %q %v, want close code %d", data, err, code)
	}
}

// kick kicks a participant as a service does.
func kick(t *testing.T, pool *pgxpool.Pool, id int) {
	t.Helper()
	dbtest.Exec(t, pool, `SELECT terasocket.publish('module.TeraServer.TwistedModule.events.' || participant_uuid,
		'{"@type": "type.googleapis.com/opentera.protobuf.ServerCommand", "type": "CMD_CLIENT_DISCONNECT"}'::jsonb)
		FROM t_participants WHERE id_participant = $1`, id)
}

func presenceAcrossGateways(c *cluster) {
	admin := c.g[0].login(opentera.DemoSuperadmin, "").keepReading()
	if own := admin.presence(); !strings.HasPrefix(own, "USER_CONNECTED ") {
		c.Errorf("a client's first event: %s", own)
	}
	first := c.connect(1, 1)
	first.mustPresence("PARTICIPANT_CONNECTED p1")
	admin.mustPresence("PARTICIPANT_CONNECTED p1")

	second := c.connect(2, 1) // not announced, nor is the end of the first
	sockets(c.T, c.pool, 3)
	_ = first.conn.Close()
	sockets(c.T, c.pool, 2)
	sentinel := c.connect(2, 3)
	admin.mustPresence("PARTICIPANT_CONNECTED p3")
	sentinel.mustPresence("PARTICIPANT_CONNECTED p3")

	// a kick is announced at once, whatever gateway the socket is on; another one that left waits for its grace
	_ = sentinel.conn.Close()
	sockets(c.T, c.pool, 2)
	kick(c.T, c.pool, 1)
	second.mustEnd(4000)
	admin.mustPresence("PARTICIPANT_DISCONNECTED p1", "PARTICIPANT_DISCONNECTED p3")

	// flapping is not announced
	flapping := c.connect(0, 4)
	admin.mustPresence("PARTICIPANT_CONNECTED p4")
	for i := range 5 {
		_ = flapping.conn.Close()
		flapping = c.connect(i%2, 4)
	}
	c.connect(2, 5)
	admin.mustPresence("PARTICIPANT_CONNECTED p5")
}

// A client that returns on another gateway replaces what a vanished network left open, and stays online.
func replaceAcrossGateways(c *cluster) {
	t := c.T
	who := participantUUID(t, c.pool, 7)
	first, second := c.connect(0, 7), c.connect(1, 7)
	third := dial(t, c.g[2].address("participant", who)+"&replace=true").keepReading()
	for name, s := range map[string]*socket{"first": first, "second": second} {
		for {
			_, _, err := s.readFrame()
			if err == nil {
				continue
			}
			if !websocket.IsCloseError(err, int(ws.CloseKicked)) {
				t.Errorf("the %s socket ended with %v, want 4000", name, err)
			}
			break
		}
	}
	fourth := c.connect(0, 7) // a later token is not affected
	c.g[0].exec(archiveOf(who, ""))
	for _, s := range []*socket{third, fourth} {
		for heard := false; !heard; {
			_, data, err := s.readFrame()
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.ParseFrame(data)
			if err != nil {
				t.Fatal(err)
			}
			if p, is := e.Message.(*pb.ParticipantEvent); is && p.GetType() == pb.ParticipantEvent_PARTICIPANT_DISCONNECTED {
				t.Errorf("it was announced offline: %v", p)
			}
			_, heard = e.Message.(*pb.ArchiveEvent)
		}
	}
}

// Hundreds connect at once: each is announced once to everybody who may see it, and to nobody else.
func aCrowdConnects(c *cluster) {
	t, pool, g := c.T, c.pool, c.g
	crowd := dbtest.Many(300, 60)
	observers := map[string]*socket{"superadmin": g[0].login(opentera.DemoSuperadmin, ""), "project admin": g[1].login(opentera.DemoProjectAdmin, ""),
		"superadmin elsewhere": g[2].login(opentera.DemoSuperadmin, "")}
	dbtest.Exec(t, pool, fmt.Sprintf(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, id_project,
			participant_enabled, participant_token_enabled, participant_login_enabled, version_id)
		SELECT 100000 + i, gen_random_uuid()::text, 'crowd ' || i, 1, true, false, false, 1 FROM generate_series(1, %d) i`, crowd))
	for _, s := range observers { // on every gateway nothing but presence is still to come
		for n := 0; n < crowd; {
			if _, d := s.event(); d.GetType() == pb.DatabaseEvent_DB_CREATE {
				n++
			}
		}
	}
	outsider := g[2].login(opentera.DemoOtherProjectAdmin, "").keepReading()
	tokens, err := pgx.CollectRows(must(pool.Query(t.Context(), `SELECT terasocket.create_connect_token('participant', participant_uuid)
		FROM t_participants WHERE id_participant > 100000 ORDER BY id_participant`)), pgx.RowTo[string])
	if err != nil || len(tokens) != crowd {
		t.Fatal(len(tokens), err)
	}
	began := time.Now()
	var group errgroup.Group
	group.SetLimit(64 + len(observers))
	for who, s := range observers {
		group.Go(func() error { return s.hearCrowd(who, crowd) })
	}
	for i, token := range tokens {
		group.Go(func() error {
			conn, _, err := gatewaytest.Dial(t.Context(), api.WebsocketURL(g[i%len(g)].URL, access.Participant, token))
			if err != nil {
				return fmt.Errorf("dial: %w", err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			own, err := (&socket{t: t, conn: conn}).keepReading().readPresence()
			if err == nil && own != fmt.Sprintf("PARTICIPANT_CONNECTED crowd %d", i+1) {
				err = fmt.Errorf("crowd %d received %q, not its own event", i+1, own)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d connected in %v", crowd, time.Since(began).Round(time.Millisecond))
	if n := dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.online WHERE kind = 'participant' AND principal > 100000"); n != int64(crowd) {
		t.Errorf("%d are online", n)
	}
	// those who may see none of them have received nothing
	dbtest.Exec(t, pool, "UPDATE t_users SET user_firstname = 'Sentinel' WHERE user_username = $1", opentera.DemoOtherProjectAdmin)
	for {
		_, data, err := outsider.readFrame()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "Sentinel") {
			break
		}
		if strings.Contains(string(data), "crowd") {
			t.Fatalf("an outsider received %q", data)
		}
	}
}

// hearCrowd reads until each of the crowd was announced, once.
func (s *socket) hearCrowd(who string, crowd int) error {
	heard := map[string]bool{}
	for len(heard) < crowd {
		what, err := s.readPresence()
		if err != nil {
			return fmt.Errorf("%s: after %d of %d: %w", who, len(heard), crowd, err)
		}
		if !strings.HasPrefix(what, "PARTICIPANT_CONNECTED crowd") {
			if strings.HasPrefix(what, "PARTICIPANT") {
				return fmt.Errorf("%s received %q", who, what)
			}
			continue
		}
		if heard[what] {
			return fmt.Errorf("%s received %q twice", who, what)
		}
		heard[what] = true
	}
	return nil
}

// The last part: two gateways end.
func oneIsKilled(c *cluster) {
	t, g := c.T, c.g
	admin, paul := g[0].login(opentera.DemoSuperadmin, "").keepReading(), g[1].login(opentera.DemoProjectAdmin, "").keepReading()
	var want []string
	others := map[int]*socket{}
	for id := 1; id <= 10; id++ {
		c.connect(2, id)
		want = append(want, fmt.Sprintf("PARTICIPANT_DISCONNECTED p%d", id))
		others[100+id] = c.connect(1, 100+id)
		others[100+id].mustPresence(fmt.Sprintf("PARTICIPANT_CONNECTED p%d", 100+id))
	}
	others[2] = c.connect(1, 2) // it is connected twice
	for n := 0; n < 20; {       // all are connected
		if strings.HasPrefix(admin.presence(), "PARTICIPANT_CONNECTED") {
			n++
		}
	}

	killed := time.Now()
	g[2].Kill()
	back := c.connect(0, 3) // reconnects at once
	want = slices.DeleteFunc(want, func(w string) bool { return strings.HasSuffix(w, " p2") || strings.HasSuffix(w, " p3") })
	var heard []string
	for range want {
		heard = append(heard, admin.presence())
	}
	t.Logf("announced %v after the kill, with a lease of %v", time.Since(killed).Round(time.Millisecond), lease)
	slices.Sort(heard)
	slices.Sort(want)
	if !slices.Equal(heard, want) {
		t.Errorf("after the kill the superadmin received %q, want %q", heard, want)
	}
	// nothing more follows: the sentinel is next, and those on the other gateways have received nothing at all
	kick(t, c.pool, 3)
	admin.mustPresence("PARTICIPANT_DISCONNECTED p3")
	back.mustEnd(4000)
	for id, s := range others {
		kick(t, c.pool, id)
		s.mustEnd(4000)
		admin.mustPresence(fmt.Sprintf("PARTICIPANT_DISCONNECTED p%d", id))
	}

	// a gateway that stops hands over: its clients reconnect elsewhere, nothing is announced, and its row is gone
	stays := c.connect(1, 20)
	stays.mustPresence("PARTICIPANT_CONNECTED p20")
	admin.mustPresence("PARTICIPANT_CONNECTED p20")
	g[1].signal(syscall.SIGTERM)
	stays.mustEnd(websocket.CloseServiceRestart)
	if closed := paul.closed(); closed.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v, want 1012", closed)
	}
	g[0].login(opentera.DemoProjectAdmin, "")
	c.connect(0, 20)
	g[1].mustExit()
	if n := dbtest.One[int64](t, c.pool, "SELECT count(*) FROM terasocket.gateways"); n != 1 {
		t.Errorf("%d gateways are left", n)
	}
	c.connect(0, 21)
	admin.mustPresence("PARTICIPANT_CONNECTED p21")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func participantUUID(t *testing.T, pool *pgxpool.Pool, id int) string {
	t.Helper()
	return dbtest.One[string](t, pool, "SELECT participant_uuid FROM t_participants WHERE id_participant = $1", id)
}
