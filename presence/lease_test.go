package presence

import (
	"terasocket/db/dbtest"
	"testing"
	"time"
)

// A gateway is paused for longer than its lease: others announce its clients offline. When it resumes, it announces those that are still
// connected, and nobody who has reconnected elsewhere.
func TestDeclaredDead(t *testing.T) {
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
	paused.Connected(user(13), "", "") // the first statement finds out that the lease is lost
	c.run(paused)
	dbtest.Eventually(c, "those still there are online", func() bool { return c.online() == 4 })
	dbtest.Eventually(c, "sockets", func() bool { return c.sockets() == 5 })
	if c.events("USER_CONNECTED") != 4+3 || c.events("USER_DISCONNECTED") != 3 {
		t.Errorf("%d connected, %d disconnected", c.events("USER_CONNECTED"), c.events("USER_DISCONNECTED"))
	}
}

// The lease is lost while there is nothing to report: the next beat notices.
func TestLateBeat(t *testing.T) {
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

// After an outage of the database every lease has expired: nobody is declared dead before all have had the time to renew it. The same if
// its clock has run ahead, however little, or ours stood still.
func TestNobodyIsDeclaredDeadTooEarly(t *testing.T) {
	t.Parallel()
	const lease = 10 * time.Second
	ours := time.Now()
	theirs := ours.Add(-time.Hour)
	var held span
	ahead := 0 // of the database's clock
	beat := func(second int) {
		our := ours.Add(time.Duration(second) * time.Second)
		held = held.renewed(our, theirs.Add(time.Duration(second+ahead)*time.Second), our, lease, lease/10)
	}
	must := func(what string, want map[int]bool) {
		t.Helper()
		for second, want := range want {
			from, until := held.unbroken(ours.Add(time.Duration(second)*time.Second), lease, lease/10)
			now := theirs.Add(time.Duration(second+ahead) * time.Second)
			if got := !now.Before(from) && !now.After(until); got != want {
				t.Errorf("%s, after %d s: %t, want %t", what, second, got, want)
			}
		}
	}
	for i := 0; i <= 12; i += 3 {
		beat(i)
	}
	must("at first", map[int]bool{5: false, 9: false, 10: true, 13: true, 22: true, 23: false, 40: false})
	for _, i := range []int{40, 43, 49} {
		beat(i)
	}
	must("after an outage", map[int]bool{41: false, 49: false, 51: true})
	ahead = 5
	must("the clock has run ahead", map[int]bool{50: false, 53: false})
	beat(52)
	beat(55)
	must("the clock had run ahead", map[int]bool{55: false, 61: false, 62: true})
}

// The machine of the database and both gateways was suspended, or the database's clock was set: their leases have expired, and neither
// declares the other dead, or itself, whichever runs first. A gateway that does not beat from then on is dead.
func TestNobodyIsDeclaredDeadAfterASuspend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		step        time.Duration
		isBeatFirst bool
	}{{"sweep first", time.Minute, false}, {"beat first", time.Minute, true}, {"by less than the lease", 7500 * time.Millisecond, false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := setup(t)
			c.exec(`CREATE SCHEMA clock; CREATE TABLE clock.step (by interval); INSERT INTO clock.step VALUES ('0');
				CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT pg_catalog.clock_timestamp() + by FROM clock.step'`)
			pass := func(d time.Duration) {
				c.exec("UPDATE clock.step SET by = by + $1::interval", d)
				c.exec("UPDATE terasocket.gateways SET lease_until = lease_until - $1::interval WHERE lease_until > '-infinity'", d)
			}
			c.url += "&search_path=clock,pg_catalog"
			first, second := c.gateway(func(g *Config) { g.Lease = 10 * time.Second }), c.gateway(func(g *Config) { g.Lease = 10 * time.Second })
			for i, r := range []*Registry{first, second} {
				r.Connected(user(9+int32(i)), "", "")
				if _, err := r.flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.held.since = r.held.since.Add(-time.Minute)
			}
			c.exec("UPDATE terasocket.gateways SET lease_until = lease_until - interval '3 seconds' WHERE id = $1::text::uuid", second.gateway)
			pass(tt.step)
			if tt.isBeatFirst {
				first.beat(t.Context())
			}
			for range 2 {
				first.sweep(t.Context())
				first.beat(t.Context())
			}
			if n := c.events("USER_DISCONNECTED"); n != 0 {
				t.Fatalf("%d are declared dead", n)
			}
			first.held.since = first.held.since.Add(-time.Minute) // a lease later
			first.sweep(t.Context())
			if n := c.events("USER_DISCONNECTED"); n != 1 || c.sockets() != 1 {
				t.Errorf("%d are declared dead, %d sockets are left: want that of the gateway that does not beat", n, c.sockets())
			}
		})
	}
}

// bridge.md 3.4: a killed gateway that restarts on its address ends its predecessor's lease at once; others stay.
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
	if err := named("host :4052").Succeed(t.Context()); err != nil { // no process in the name: it may or may not be the same
		t.Error(err)
	}
	if n := c.count("SELECT count(*) FROM terasocket.gateways"); n != 5 {
		t.Errorf("%d gateways are left", n)
	}
}
