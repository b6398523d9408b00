package bridge

import (
	"context"
	"testing"
	"time"

	"terasocket/bridge/standin"
)

// slowManager puts one in the place of the stage's that is deaf for that long.
func (s *stage) slowManager(deaf time.Duration) {
	s.Helper()
	slow := standin.Fast
	slow.Deaf = []time.Duration{deaf}
	s.newManager(slow)
}

// bridge.md 6.2, 8.2: whoever listens to everything on Redis hides that the user manager is deaf. Who left meanwhile is told to go when a
// comparison shows that it is believed to be online: else OpenTera's login would refuse it until OpenTera is restarted.
func TestDeafBehindAnotherListener(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.slowManager(time.Second)
	s.opentera()
	said := s.overhear()
	s.leader(func(c *Config) { c.Answer = 500 * time.Millisecond })
	s.connect("user", 3, 1)
	s.isOnline(3)
	other := s.client.PSubscribe(t.Context(), "*")
	defer other.Close()
	_, err := other.Receive(t.Context())
	s.must(err)
	s.manager.Deafen()
	s.eventually("it is deaf", func() bool { return !s.manager.Hears() })
	s.leave(1)
	s.eventually("nobody hears that it went", func() bool { return said.count("USER_DISCONNECTED") == 1 })
	s.isOnline()
	s.eventually("it is forgotten", func() bool { return s.number("SELECT count(*) FROM terasocket.bridge_told") == 0 })
}

// bridge.md 7, 8.2: that somebody left OpenTera's own server is written late, after the user manager was told that it came here, and it
// leaves before it is told again.
func TestLeftThereWrittenLate(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	r := s.reign(s.idle("late"))
	s.connect("user", 3, 1)
	s.must(r.tell(t.Context(), true))
	s.isOnline(3)
	s.exec("SELECT terasocket.bridge_elsewhere('user', 3, false)")
	s.leave(1)
	s.must(r.tell(t.Context(), false))
	s.leader(nil)
	s.isOnline()
}

// bridge.md 7, 8: an answer that is older than what was heard of somebody since makes nobody count as told.
func TestOldAnswerOfOneWhoLeftThere(t *testing.T) {
	t.Parallel()
	s := setup(t)
	term := s.reign(s.idle("here")).term
	s.connect("user", 3, 1)
	s.exec("SELECT terasocket.bridge_elsewhere('user', 3, false)")
	s.exec("SELECT terasocket.bridge_reconcile($1, jsonb_build_object('user', ARRAY[$2::text]), '{}', '{}', ARRAY[$2])", term, s.user(3))
	if n := s.number("SELECT count(*) FROM terasocket.bridge_untold($1, true, 10) WHERE comes", term); n != 1 {
		t.Errorf("%d are to be told of", n)
	}
}

// bridge.md 8.2: whom the user manager has, and was told to go while there was a bridge, may have come to OpenTera's own server since, when
// there was none for a minute: it is left alone.
func TestMovedToOpenTeraWithoutABridge(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	r := s.reign(s.idle("gone"))
	s.connect("user", 3, 1)
	s.must(r.tell(t.Context(), true))
	s.isOnline(3)
	s.leave(1)
	s.must(r.farewell(t.Context()))
	s.isOnline()
	s.theirs(3, true)
	s.isOnline(3)
	s.exec("UPDATE terasocket.bridge SET lease_until = clock_timestamp() - interval '2 minutes'")
	b := s.leader(nil)
	s.quiet(b)
	s.isOnline(3)
}

// Those of whom nothing is to be said hide nobody: a page is of people of whom something is.
func TestManyOfWhomNothingIsSaid(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	b := s.idle("here")
	b.Lease = time.Minute
	r := s.reign(b)
	s.exec("INSERT INTO terasocket.connections (gateway, kind, principal) SELECT $1::text::uuid, 'user', n FROM generate_series(100001, 105000) n", s.gateway)
	s.exec("INSERT INTO terasocket.bridge_told (kind, principal) SELECT 'user', n FROM generate_series(200001, 205000) n")
	s.connect("user", 3, 1)
	s.must(r.tell(t.Context(), true))
	s.isOnline(3)
}

// While people come and go all the time, what else is due is done.
func TestTellingEnds(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	for _, everybody := range []bool{false, true} {
		b := s.idle("here")
		b.Lease = time.Minute
		r := s.reign(b)
		s.must(r.listens(t.Context()))
		r.everybody = false
		socket := 0
		b.Redis.AddHook(aroundPipelines(func(next func()) {
			next()
			if socket++; socket%2 == 1 {
				s.connect("user", 3, socket)
			} else {
				s.leave(socket - 1)
			}
		}))
		s.connect("user", 4, 1000)
		limited, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := r.tell(limited, everybody); err != nil || r.everybody != everybody {
			t.Errorf("everybody %v: %v; everybody the next time: %v", everybody, err, r.everybody)
		}
		cancel()
		s.exec("DELETE FROM terasocket.connections")
		s.exec("DELETE FROM terasocket.bridge_told")
		s.exec("UPDATE terasocket.bridge SET lease_until = '-infinity'")
	}
}

// While the user manager does not listen, whose sockets move is not kept: everybody is looked at when it does.
func TestMovesWithoutAUserManager(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.leader(nil)
	for i := range 5 {
		s.connect("user", 3+i, i)
	}
	s.leave(0)
	s.eventually("the moves are gone", func() bool { return s.number("SELECT count(*) FROM terasocket.bridge_moves") == 0 })
	s.opentera()
	s.isOnline(4, 5, 6, 7)
}

// bridge.md 7, 9: Redis came back empty, and the user manager does not listen again yet: its keys are gone, and nobody has left OpenTera's
// own server.
func TestRedisBackEmptyWithTheirSockets(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.slowManager(time.Second)
	s.opentera()
	b := s.leader(nil)
	s.theirs(3, true)
	s.hears("USER_CONNECTED 3")
	s.server.Kill()
	s.eventually("it is noticed", func() bool { return b.Err() != nil })
	s.must(s.server.Start(t.Context()))
	s.leads(b)
	s.eventually("the user manager listens", s.manager.Hears)
	s.quiet(b)
	s.hearsNothing()
	s.isOnline(3)
}

// bridge.md 7: OpenTera was killed, and is not started again: its keys stay. In the end nobody has a socket there.
func TestOpenTeraKilledWithItsSockets(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	s.leader(func(c *Config) { c.Gone = 500 * time.Millisecond })
	s.theirs(3, true)
	s.hears("USER_CONNECTED 3")
	s.manager.Crash()
	s.hears("USER_DISCONNECTED 3")
	if n := s.client.Exists(t.Context(), signingKey).Val(); n != 1 {
		t.Error("the keys are gone")
	}
}
