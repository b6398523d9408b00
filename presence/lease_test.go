package presence

import (
	"terasocket/db/dbtest"
	"testing"
	"time"
)

// A gateway that was paused for longer than its lease: others announce its clients offline. When it goes on, it announces
// those that are still with it, and nobody who has come back elsewhere.
func TestGivenUpForDead(t *testing.T) {
	t.Parallel()
	c := setup(t)
	paused := c.gateway(func(g *Config) { g.Lease = 300 * time.Millisecond })
	other := c.gateway(func(g *Config) { g.Lease = 300 * time.Millisecond })
	for i := range int32(3) {
		paused.Connected(user(9+i), "", "")
	}
	gone := paused.Connected(user(12), "", "")
	if _, err := paused.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.Connected(user(10), "", "")
	c.run(other)
	dbtest.Eventually(c, "its clients are announced", func() bool { return c.events("USER_DISCONNECTED") == 3 })
	if n := c.count("SELECT count(*) FROM terasocket.gateways"); n > 1 {
		dbtest.Eventually(c, "its row is gone", func() bool { return c.count("SELECT count(*) FROM terasocket.gateways") == 1 })
	}
	gone(false)
	paused.Connected(user(13), "", "") // the first statement learns that the lease is lost
	c.run(paused)
	dbtest.Eventually(c, "those still there are online", func() bool { return c.online() == 4 })
	dbtest.Eventually(c, "sockets", func() bool { return c.sockets() == 5 })
	if c.events("USER_CONNECTED") != 4+3 || c.events("USER_DISCONNECTED") != 3 {
		t.Errorf("%d connected, %d disconnected", c.events("USER_CONNECTED"), c.events("USER_DISCONNECTED"))
	}
}

// The lease is lost without anything to tell: the next beat notices.
func TestBeatThatComesTooLate(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(nil)
	r.Connected(user(9), "", "")
	if _, err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.exec("UPDATE terasocket.gateways SET lease_until = now() - interval '1 second'")
	c.exec("SELECT terasocket.presence_sweep()")
	r.beat(t.Context())
	if left, err := r.flush(t.Context()); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	if c.events("USER_CONNECTED") != 2 || c.events("USER_DISCONNECTED") != 1 || c.sockets() != 1 {
		t.Errorf("%d connected, %d sockets", c.events("USER_CONNECTED"), c.sockets())
	}
}

// After an outage of the database everybody's lease is over: nobody is called dead before all had the time to renew it.
func TestNobodyIsCalledDeadAfterAnOutage(t *testing.T) {
	t.Parallel()
	const lease = 10 * time.Second
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	held := span{at(0), at(10)}
	for i := 3; i <= 12; i += 3 {
		held = held.renewed(at(i), lease)
	}
	for second, want := range map[int]bool{5: false, 9: false, 10: true, 13: true, 21: true, 22: false, 40: false} {
		if got := held.unbroken(at(second), lease); got != want {
			t.Errorf("after %d s: %v, want %v", second, got, want)
		}
	}
	held = held.renewed(at(40), lease) // the database is back
	held = held.renewed(at(43), lease)
	held = held.renewed(at(49), lease)
	if held.unbroken(at(41), lease) || held.unbroken(at(49), lease) || !held.unbroken(at(51), lease) {
		t.Error("after the outage: too early, or never")
	}
}

// bridge.md 3.4: a gateway that was killed and starts again on its address ends its predecessor's lease at once; others stay.
func TestSucceed(t *testing.T) {
	t.Parallel()
	c := setup(t)
	named := func(name string) *Registry { return c.gateway(func(g *Config) { g.Name = name }) }
	dead, other, elsewhere, nameless := named("host :4050 (7)"), named("host :4051 (8)"), named("host2 :4050 (7)"), named("host :4052")
	for i, r := range []*Registry{dead, other, elsewhere, nameless} {
		r.Connected(user(9+int32(i)), "", "")
		if _, err := r.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	heir := named("host :4050 (7)")
	if err := heir.Succeed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := c.sockets(); n != 3 || c.events("USER_DISCONNECTED") != 1 {
		t.Errorf("%d sockets are left", n)
	}
	if err := named("host :4052").Succeed(t.Context()); err != nil { // no process in it: nobody knows whether it is the same
		t.Error(err)
	}
	if n := c.count("SELECT count(*) FROM terasocket.gateways"); n != 5 {
		t.Errorf("%d gateways are left", n)
	}
}
