package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/proto/opentera"
)

// overheard records what was published on UM.messages.
type overheard struct {
	mu   sync.Mutex
	list []*opentera.TeraModuleMessage
}

// overhear subscribes to UM.messages.
func (s *stage) overhear() *overheard {
	s.Helper()
	sub := s.client.Subscribe(s.Context(), messagesTopic)
	if _, err := sub.Receive(s.Context()); err != nil {
		s.Fatal(err)
	}
	o, done := &overheard{}, make(chan struct{})
	go func() {
		defer close(done)
		for {
			message, err := sub.ReceiveMessage(s.Context())
			if err != nil {
				return
			}
			var m opentera.TeraModuleMessage
			if proto.Unmarshal([]byte(message.Payload), &m) == nil {
				o.mu.Lock()
				o.list = append(o.list, &m)
				o.mu.Unlock()
			}
		}
	}()
	s.Cleanup(func() { _ = sub.Close(); <-done })
	return o
}

// ours returns the types of the bridge's own messages.
func (o *overheard) ours() (types []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.list {
		if !strings.HasPrefix(m.GetHead().GetSource(), ourSource) {
			continue
		}
		event, _ := m.GetData()[0].UnmarshalNew()
		switch e := event.(type) {
		case *opentera.UserEvent:
			types = append(types, e.GetType().String())
		case *opentera.ParticipantEvent:
			types = append(types, e.GetType().String())
		case *opentera.DeviceEvent:
			types = append(types, e.GetType().String())
		}
	}
	return types
}

func (o *overheard) count(name string) (n int) {
	for _, t := range o.ours() {
		if t == name {
			n++
		}
	}
	return n
}

// bridge.md 3.1: the first socket of a principal in the cluster is told, and the end of the last; the grace does not count.
// 3.5: the user manager repeats each, which is no news here.
func TestWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	said := s.overhear()
	s.leader(func(c *Config) { c.Reconcile = time.Hour }) // which would set it right
	s.connect("user", 3, 1)
	s.connect("user", 3, 2)
	s.isOnline(3)
	s.leave(1)
	s.connect("participant", 1, 3)
	s.connect("device", 1, 4)
	s.eventually("the device is online", func() bool { return len(s.manager.Online("device")) == 1 })
	s.isOnline(3)
	s.leave(2)
	s.isOnline()
	if n := s.number("SELECT count(*) FROM terasocket.online WHERE kind = 'user'"); n != 1 {
		t.Error("the grace has already ended")
	}
	s.connect("user", 3, 5)
	s.isOnline(3)
	s.leave(3)
	s.leave(4)
	s.eventually("the others are offline", func() bool { return len(s.manager.Online("participant"))+len(s.manager.Online("device")) == 0 })
	s.eventually("all were overheard", func() bool { return len(said.ours()) >= 7 })
	told := map[string][]string{} // by principal, in order
	for _, event := range said.ours() {
		kind, what, _ := strings.Cut(event, "_")
		told[kind] = append(told[kind], what)
	}
	if want := map[string][]string{"USER": {"CONNECTED", "DISCONNECTED", "CONNECTED"}, "PARTICIPANT": {"CONNECTED", "DISCONNECTED"},
		"DEVICE": {"CONNECTED", "DISCONNECTED"}}; !reflect.DeepEqual(told, want) {
		t.Errorf("told: %v, want %v", told, want)
	}
	s.hears("USER_CONNECTED 3", "PARTICIPANT_CONNECTED 1", "DEVICE_CONNECTED 1")
	s.hearsNothing()
}

// bridge.md 1 (out), 3.1, 3.2: one event a message, with OpenTera's fields and its envelope.
func TestWhatIsTold(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	said := s.overhear()
	b := s.leader(nil)
	for i, kind := range []string{"user", "participant", "device"} {
		s.connect(kind, 1, i)
		s.eventually(kind+" was overheard", func() bool { return len(said.ours()) == i+1 })
	}
	names := dbtest.One[string](t, s.conn, `SELECT concat_ws('|', u.user_firstname || ' ' || u.user_lastname, p.participant_name, o.project_name, s.site_name, d.device_name)
		FROM t_users u, t_participants p JOIN t_projects o USING (id_project) JOIN t_sites s USING (id_site), t_devices d
		WHERE u.id_user = 1 AND p.id_participant = 1 AND d.id_device = 1`)
	name := strings.Split(names, "|")
	want := []proto.Message{
		&opentera.UserEvent{UserUuid: s.user(1), Type: opentera.UserEvent_USER_CONNECTED, UserFullname: name[0]},
		&opentera.ParticipantEvent{ParticipantUuid: s.participant(1), Type: opentera.ParticipantEvent_PARTICIPANT_CONNECTED, ParticipantName: name[1],
			ParticipantProjectName: name[2], ParticipantSiteName: name[3]},
		&opentera.DeviceEvent{DeviceUuid: s.device(1), Type: opentera.DeviceEvent_DEVICE_CONNECTED, DeviceName: name[4]},
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	for i, m := range said.list {
		event, err := m.GetData()[0].UnmarshalNew()
		s.must(err)
		if !proto.Equal(event, want[i]) {
			t.Errorf("told: %s, want %s", protojson.Format(event), protojson.Format(want[i]))
		}
		head := m.GetHead()
		if len(m.GetData()) != 1 || head.GetVersion() != 1 || head.GetDest() != messagesTopic || head.GetSource() != "terasocket."+b.Gateway || time.Since(time.UnixMicro(int64(head.GetTime()*1e6))) > time.Hour {
			t.Errorf("head: %v", head)
		}
	}
}

// bridge.md 3.2: nothing is told about a deleted principal, connecting or disconnecting: the user manager would be deaf.
func TestNeverOfTheDeleted(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	b := s.leader(nil)
	s.connect("user", 3, 1)
	s.connect("user", 4, 2)
	s.connect("device", 1, 3)
	s.isOnline(3, 4)
	s.exec("UPDATE t_users SET deleted_at = now() WHERE id_user IN (3, 5)")
	s.leave(1)
	s.connect("user", 5, 4)
	s.leave(2)
	s.eventually("user 4 is offline", func() bool { return !slices.Contains(s.manager.Online("user"), s.user(4)) })
	s.leave(4)
	s.leave(3)
	s.eventually("the device is offline", func() bool { return len(s.manager.Online("device")) == 0 })
	if got := s.manager.Online("user"); len(got) != 1 || got[0] != s.user(3) || s.manager.Raised() != 0 {
		t.Errorf("online: %v; raised: %d", got, s.manager.Raised())
	}
	s.quiet(b)
	s.exec("UPDATE t_users SET deleted_at = NULL WHERE id_user = 3")
	s.isOnline() // else OpenTera's login would refuse it
}

// bridge.md 3.3: OpenTera's login refuses principals that it believes to be online: one that has disconnected may return at
// once.
func TestLoginAfterLeaving(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	s.leader(nil)
	for i := range 3 {
		s.connect("user", 3, i)
		s.isOnline(3)
		s.leave(i)
		s.isOnline()
	}
}

// bridge.md 3.6: a service answers the connect of a member of a running session with a new Join, and the disconnect of its
// creator with Stop.
func TestServiceAnswers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	s.leader(nil)
	session := standin.Session{UUID: newUUID(), Users: []string{s.user(3), s.user(4)}}
	ended, err := s.service.Host(t.Context(), session, s.user(3))
	s.must(err)
	for i, id := range []int{4, 3} {
		s.connect("user", id, i)
		s.hears(fmt.Sprintf("USER_CONNECTED %d", id), "JoinSessionEvent", "USER_JOINED_SESSION 3", "USER_JOINED_SESSION 4")
	}
	s.connect("user", 5, 2) // no member
	s.leave(0)              // not the creator
	s.isOnline(3, 5)
	s.hears("USER_CONNECTED 5")
	s.leave(1)
	s.hears("StopSessionEvent", "StopSessionEvent", "USER_LEFT_SESSION 3", "USER_LEFT_SESSION 4")
	s.must(<-ended)
}

// bridge.md 6.2, 11: ten principals connect and disconnect while the user manager is deaf; when it listens again it knows who
// is here.
func TestDeafUserManager(t *testing.T) {
	t.Parallel()
	s := setup(t)
	slow := standin.Fast
	slow.Deaf = []time.Duration{outage(3*time.Second, 15*time.Second)}
	s.newManager(slow)
	s.opentera()
	b := s.leader(nil)
	s.connect("user", 1, 1)
	s.connect("user", 2, 2)
	s.isOnline(1, 2)
	s.must(s.client.Publish(t.Context(), messagesTopic, "\xff\xff\xff").Err())
	s.eventually("it is deaf", func() bool { return !s.manager.Hears() })
	for i := range 10 { // odd ones stay
		s.connect("user", 3+i, 10+i)
		if i%2 == 0 {
			s.leave(10 + i)
		}
	}
	s.leave(1)
	s.eventually("the bridge has noticed", func() bool { return testutil.ToFloat64(b.metrics.managerUp) == 0 }) // 6.3
	s.isOnline(2, 4, 6, 8, 10, 12)
	s.eventually("the bridge has noticed that it listens", func() bool { return testutil.ToFloat64(b.metrics.managerUp) == 1 })
	if s.manager.Raised() != 1 {
		t.Errorf("raised %d times", s.manager.Raised())
	}
}

// bridge.md 11: a bridge that dies between its PUBLISH and its record causes one duplicate at most, and no ghost: after a connect, and after
// a disconnect, whether or not the user has returned.
func TestKilledBetweenPublishAndRecord(t *testing.T) {
	t.Parallel()
	t.Run("came", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		s.opentera()
		said := s.overhear()
		s.connect("user", 3, 1)
		s.connect("user", 4, 2)
		s.saysAndDies()
		s.isOnline(3, 4)
		s.leave(2) // a ghost, unless the next bridge asks
		s.leader(nil)
		s.isOnline(3)
		s.connect("user", 5, 3)
		s.isOnline(3, 5)
		if got := said.count("USER_CONNECTED"); got > 4 {
			t.Errorf("%d connects were told", got)
		}
	})
	t.Run("went", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		s.opentera()
		said := s.overhear()
		for id := 3; id <= 5; id++ {
			s.connect("user", id, id)
		}
		s.saysAndDies()
		s.isOnline(3, 4, 5)
		s.leave(3)
		s.leave(4)
		s.saysAndDies()
		s.isOnline(5)
		s.connect("user", 4, 6) // locked out, unless the next bridge asks
		b := s.leader(nil)
		s.isOnline(4, 5)
		s.quiet(b)
		s.isOnline(4, 5)
		if got := said.count("USER_DISCONNECTED"); got > 3 {
			t.Errorf("%d disconnects were told", got)
		}
	})
}

// saysAndDies runs a bridge that tells who connected and disconnected, and dies before it records that.
func (s *stage) saysAndDies() {
	s.Helper()
	dead, _, err := s.idle("dead").takeOver(s.Context())
	s.must(err)
	list, err := dead.untold(s.Context(), true)
	s.must(err)
	s.must(dead.say(s.Context(), list))
	s.exec("UPDATE terasocket.bridge SET lease_until = clock_timestamp()")
}

// A principal that returns before its disconnect could be recorded is told: the user manager believes it to be gone.
func TestRecordFails(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	said := s.overhear()
	s.leader(func(c *Config) { c.Reconcile = time.Hour })
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.exec(`CREATE FUNCTION terasocket.fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
		CREATE TRIGGER fails BEFORE UPDATE OR DELETE ON terasocket.bridge_told FOR EACH ROW EXECUTE FUNCTION terasocket.fails()`)
	s.leave(1)
	s.isOnline()
	s.connect("user", 3, 2)
	s.exec("DROP FUNCTION terasocket.fails CASCADE")
	s.isOnline(3)
	if said.count("USER_DISCONNECTED") == 0 {
		t.Error("it was not told of the disconnect")
	}
}

// If an answer of the database is lost, only the user manager knows what was told.
func TestAnswerOfUntoldIsLost(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.reign(s.idle("here"))
	r.reconciled = time.Now()
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.tell(ended, true); err == nil || !r.reconciled.IsZero() {
		t.Errorf("told: %v; reconciled %v", err, r.reconciled)
	}
}

// bridge.md 6, 6.1: an empty RPC counts the listeners without effect; a new key, or a user manager that listens again, starts a
// reconciliation, as 6.3 shows.
func TestProbe(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(func(c *Config) { c.Reconcile = time.Hour })
	reconciled := func(n float64) {
		t.Helper()
		s.eventually("it has reconciled", func() bool { return testutil.ToFloat64(b.metrics.reconciliations) >= n })
	}
	if testutil.ToFloat64(b.metrics.managerUp) != 0 {
		t.Error("a listener before OpenTera started")
	}
	s.opentera()
	reconciled(1)
	if testutil.ToFloat64(b.metrics.managerUp) != 1 {
		t.Error("the user manager does not listen")
	}
	n := testutil.ToFloat64(b.metrics.reconciliations)
	s.must(s.client.Set(t.Context(), signingKey, "another", 0).Err())
	reconciled(n + 1)
	s.manager.Deafen()
	reconciled(n + 2)
	if s.manager.Raised() != 0 {
		t.Error("the probe has an effect")
	}
}

// newManager replaces the stage's stand-in.
func (s *stage) newManager(timing standin.Timing) {
	s.Helper()
	s.manager.Close()
	var err error
	s.manager, err = standin.NewUserManager(s.server.URL(), standin.PeopleOf(dbtest.Pool(s, s.url)), timing, slog.New(slog.DiscardHandler))
	s.must(err)
	s.Cleanup(s.manager.Close)
}
