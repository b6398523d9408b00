package presence

import (
	"context"
	"errors"
	"net"
	"sync"
	"terasocket/db/dbtest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

func TestOneSocket(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(func(g *Config) { g.Grace = time.Hour })
	c.run(r)
	left := r.Connected(user(9), "a client", "10.1.2.3")
	dbtest.Eventually(c, "connected", func() bool { return c.events("USER_CONNECTED") == 1 })
	if c.count("SELECT count(*) FROM terasocket.connections WHERE kind = 'user' AND principal = 9 AND client_name = 'a client' AND address = '10.1.2.3'") != 1 {
		t.Error("the connection is recorded incorrectly")
	}
	left(false)
	dbtest.Eventually(c, "ended", func() bool { return c.sockets() == 0 })
	if c.online() != 1 || c.events("USER_DISCONNECTED") != 0 {
		t.Error("no grace for a socket that broke")
	}
	left = r.Connected(user(9), "", "")
	dbtest.Eventually(c, "back", func() bool { return c.sockets() == 1 })
	left(true)
	dbtest.Eventually(c, "kicked", func() bool { return c.events("USER_DISCONNECTED") == 1 })
	if c.events("USER_CONNECTED") != 1 {
		t.Error("coming back within the grace was announced")
	}
}

func TestGraceThatEnds(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(func(g *Config) { g.Grace = 50 * time.Millisecond })
	c.run(r)
	left := r.Connected(user(9), "", "")
	dbtest.Eventually(c, "connected", func() bool { return c.sockets() == 1 })
	left(false)
	dbtest.Eventually(c, "offline", func() bool { return c.events("USER_DISCONNECTED") == 1 })
}

// A socket that closes before it is reported leaves nothing behind.
func TestClosedBeforeItWasReported(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(nil)
	for range 100 {
		r.Connected(user(9), "", "")(false)
	}
	last := r.Connected(user(10), "", "")
	c.run(r)
	dbtest.Eventually(c, "told", func() bool { return c.sockets() == 1 })
	if n := c.events("USER_CONNECTED"); n != 1 || len(r.sockets) != 1 {
		t.Errorf("%d events, %d sockets", n, len(r.sockets))
	}
	last(true)
	dbtest.Eventually(c, "gone", func() bool { return c.online() == 0 })
}

// 1,000 concurrent sockets cost at most a proportional number of statements, and each principal is announced once.
func TestAThousandAtOnce(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.exec(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, id_project, participant_enabled, version_id,
			participant_token_enabled, participant_login_enabled)
		SELECT 100000 + i, gen_random_uuid()::text, 'p' || i, 1, true, 1, false, false FROM generate_series(1, 1000) i`)
	r := c.gateway(func(g *Config) { g.Sweep = time.Hour })
	c.statements.Store(0)
	c.run(r)
	lefts := make([]func(bool), 1000)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range lefts {
		wg.Go(func() { lefts[i] = r.Connected(participant(int32(100001+i)), "", "") })
	}
	wg.Wait()
	dbtest.Eventually(c, "all are connected", func() bool { return c.online() == 1000 })
	t.Logf("connected: %d statements, %v", c.statements.Load(), time.Since(began).Round(time.Millisecond))
	for _, left := range lefts {
		left(false)
	}
	dbtest.Eventually(c, "all have gone", func() bool { return c.online() == 0 })
	if c.events("PARTICIPANT_CONNECTED") != 1000 || c.events("PARTICIPANT_DISCONNECTED") != 1000 {
		t.Errorf("%d connected, %d disconnected", c.events("PARTICIPANT_CONNECTED"), c.events("PARTICIPANT_DISCONNECTED"))
	}
	if n := c.statements.Load(); n > 1000 {
		t.Errorf("%d statements for 1,000 sockets that opened and closed", n)
	}
}

// One socket that the database refuses does not delay the others.
func TestRefusedSocket(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(nil)
	r.Connected(user(1), "not \xff a text", "")
	for i := range int32(20) {
		r.Connected(participant(i+1), "", "")
	}
	c.run(r)
	dbtest.Eventually(c, "the others are recorded", func() bool { return c.sockets() == 20 })
}

// During an outage of the database sockets open and close; afterwards their current state is reported, and no socket twice.
func TestDatabaseOutage(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(nil)
	c.run(r)
	staying, going := r.Connected(user(9), "", ""), r.Connected(user(10), "", "")
	dbtest.Eventually(c, "two are online", func() bool { return c.online() == 2 })

	c.exec("ALTER FUNCTION terasocket.connected_many RENAME TO away; ALTER FUNCTION terasocket.disconnected_many RENAME TO away2")
	kick := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
	c.exec(kick)
	going(false)
	r.Connected(user(11), "", "")
	r.Connected(user(12), "", "")(false) // opened and closed
	second := r.Connected(user(9), "", "")
	for range 5 {
		c.exec(kick)
		time.Sleep(20 * time.Millisecond)
	}
	if c.sockets() != 2 {
		t.Errorf("%d sockets are recorded in the outage", c.sockets())
	}
	c.exec("ALTER FUNCTION terasocket.away RENAME TO connected_many; ALTER FUNCTION terasocket.away2 RENAME TO disconnected_many")
	dbtest.Eventually(c, "told", func() bool {
		return c.events("USER_CONNECTED") == 3 && c.events("USER_DISCONNECTED") == 1 && c.sockets() == 3
	})
	staying(true)
	second(true)
	dbtest.Eventually(c, "user 9 is gone", func() bool { return c.events("USER_DISCONNECTED") == 2 })
	if n := c.events("USER_CONNECTED"); n != 3 {
		t.Errorf("%d connected", n)
	}
}

// A statement whose answer is lost is repeated.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(nil)
	left := r.Connected(user(9), "", "")
	gateway, batch := r.take()
	if err := r.tell(t.Context(), gateway, batch); err != nil {
		t.Fatal(err)
	}
	lose := func() { // as if the answer was lost
		r.mu.Lock()
		batch[0].told = false
		r.mu.Unlock()
		r.putBack(batch, errors.New("lost"))
	}
	lose()
	if _, err := r.flush(t.Context()); err != nil || c.sockets() != 1 || c.events("USER_CONNECTED") != 1 {
		t.Errorf("%v, %d sockets", err, c.sockets())
	}
	batch[0].told = false
	left(false) // closed, unknown whether recorded: reported open again, and closed
	for want := 1; want >= 0; want-- {
		if left, err := r.flush(t.Context()); err != nil || left != want || c.sockets() != want || c.online() != want {
			t.Errorf("%v, %d sockets, %d still to be reported", err, c.sockets(), left)
		}
	}
}

func TestHandover(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.gateway(func(g *Config) { g.Grace = time.Hour })
	c.run(r)
	lefts := []func(bool){r.Connected(user(9), "", ""), r.Connected(user(10), "", "")}
	dbtest.Eventually(c, "two are online", func() bool { return c.sockets() == 2 })
	for _, left := range lefts {
		left(false)
	}
	if err := r.Handover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.sockets() != 0 || c.online() != 2 || c.count("SELECT count(*) FROM terasocket.gateways") != 0 {
		t.Error("not handed over: ", c.sockets(), c.online())
	}
	r.beat(t.Context())
	if n := c.count("SELECT count(*) FROM terasocket.gateways"); n != 0 {
		t.Error("registered again after the handover")
	}

	// without a database it gives up in time
	r = c.gateway(nil)
	left := r.Connected(user(9), "", "")
	if _, err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	left(false)
	r.Pool.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := r.Handover(ctx); err == nil {
		t.Error("handed over without a database")
	}
}

// The connection breaks while the database is still recording a socket, and the socket closes: what the database records in the end must
// not remain.
func TestClosedWhileUnknownWhetherReported(t *testing.T) {
	t.Parallel()
	c := setup(t)
	// like a commit on a disk that stalls, it cannot be cancelled
	c.exec(`CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_sleep(60); RETURN NULL; EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(1); RETURN NULL; END $$`)
	c.exec(`CREATE TRIGGER stall AFTER INSERT ON terasocket.connections FOR EACH ROW EXECUTE FUNCTION stall()`)
	r := c.gateway(nil)
	var dialled sync.Map
	settings := r.Pool.Config()
	settings.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		dialled.Store(conn, true)
		return conn, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r.Pool = pool
	c.run(r)
	left := r.Connected(user(9), "", "")
	dbtest.Eventually(c, "the database is busy", func() bool {
		return c.count("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()") == 1
	})
	left(true)
	dialled.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
	dbtest.Eventually(c, "recorded", func() bool { return c.events("USER_CONNECTED") == 1 })
	dbtest.Eventually(c, "gone", func() bool { return c.online() == 0 && c.sockets() == 0 })
	if c.events("USER_CONNECTED") != 1 || c.events("USER_DISCONNECTED") != 1 {
		t.Errorf("announced %d times, and %d times gone", c.events("USER_CONNECTED"), c.events("USER_DISCONNECTED"))
	}
}
