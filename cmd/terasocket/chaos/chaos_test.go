package chaos

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
	"terasocket/migrations"
)

//go:embed testdata/world.sql
var worldSQL string

// amounts sets how much of everything. Equal seeds make equal choices; the concurrency is the machine's.
type amounts struct {
	seed                     uint64
	users, participants      int
	devices, crowd           int
	time                     time.Duration // of faults, in all phases together
	phases                   int
	faultEvery               time.Duration
	writers                  int
	writeEvery, longEvery    time.Duration
	prepareEvery, burstEvery time.Duration
	moveEvery                time.Duration
	backlog                  int           // --max-backlog
	lease                    time.Duration // --presence-lease
}

// TestChaos is the fault suite: numbered changes by several writers, clients of all kinds on three gateways, random faults
// everywhere; and then the proof, from the database, that everybody received exactly what was due.
//
//	CHAOS_TIME=2m CHAOS_SEED=7 make chaos     the long one: 200 clients
//
// Without CHAOS_TIME it is short.
func TestChaos(t *testing.T) {
	plan := amounts{
		seed: uint64(time.Now().UnixNano() % 1e9), users: 20, participants: 12, devices: 8, crowd: 300, time: 14 * time.Second, phases: 2,
		faultEvery: 600 * time.Millisecond, writers: 3, writeEvery: 40 * time.Millisecond, longEvery: 200 * time.Millisecond,
		prepareEvery: 300 * time.Millisecond, burstEvery: 3 * time.Second, moveEvery: 100 * time.Millisecond, backlog: 32 << 10,
		lease: 6 * time.Second,
	}
	if text := os.Getenv("CHAOS_TIME"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("CHAOS_TIME: %v", err)
		}
		plan.users, plan.participants, plan.devices, plan.crowd = 96, 72, 32, 2000
		plan.time, plan.phases, plan.burstEvery, plan.writers = d, max(2, int(d/(30*time.Second))), 10*time.Second, 4
		plan.faultEvery, plan.backlog = time.Second, 128<<10
	} else {
		t.Parallel()
	}
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
		plan.seed = seed
	}
	t.Logf("seed %d", plan.seed)
	t.Cleanup(func() {
		if t.Failed() {
			if os.Getenv("CHAOS_TIME") != "" {
				t.Logf("to repeat: make chaos CHAOS_TIME=%v CHAOS_SEED=%d", plan.time, plan.seed)
			} else {
				t.Logf("to repeat: make chaos-short CHAOS_SEED=%d", plan.seed)
			}
		}
	})
	newSuite(t, plan).run()
}

// TestRollingRestart restarts three gateways one after the other under load: nobody misses anything, and nobody is announced
// offline.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("of the fault suite; make test-long runs it")
	}
	x := newSuite(t, amounts{seed: 1, users: 20, participants: 12, devices: 8, crowd: 300, writers: 3, writeEvery: 20 * time.Millisecond,
		longEvery: 200 * time.Millisecond, prepareEvery: time.Second, burstEvery: time.Second, moveEvery: 50 * time.Millisecond, backlog: 256 << 10,
		lease: 5 * time.Minute}) // a busy machine must not make anybody offline
	began := time.Now()
	p, disconnect := x.begin()
	defer disconnect()
	ctx, done := context.WithCancel(t.Context())
	defer done()
	var busy sync.WaitGroup
	for _, run := range x.writers() {
		busy.Go(func() { run(ctx) })
	}
	for slot := range x.proxies {
		g := x.gateways.take(slot)
		refused := make(chan bool, 1)
		go func() {
			saw := false
			for {
				status, _ := g.Ask(context.Background(), "/readyz")
				saw = saw || status == http.StatusServiceUnavailable
				if status == 0 {
					break // it has ended
				}
				time.Sleep(5 * time.Millisecond)
			}
			refused <- saw
		}()
		if err := x.gateways.terminate(g); err != nil {
			t.Error(err)
		}
		if !<-refused {
			t.Errorf("%s stopped and stayed ready to the end", g)
		}
		if err := x.gateways.start(ctx, slot); err != nil {
			t.Fatal(err)
		}
		sleepFor(ctx, time.Second)
	}
	done()
	busy.Wait()
	x.endPhase(0)
	disconnect()
	x.prove(p, began)
	for _, r := range p.order {
		if r.presence != "" {
			t.Errorf("%s %s was announced", r.uuid, r.presence)
		}
	}
	moved := 0
	for _, c := range x.world.clients {
		for _, v := range c.visits[:len(c.visits)-1] {
			switch v.end {
			case "code 1012":
				moved++
			case "code 1013", "lost": // on a busy machine a client may get no CPU time to read a burst, or the close frame
			default:
				t.Errorf("%s was closed by %s with %s, want code 1012", c, v.gateway, v.end)
			}
		}
	}
	if moved < len(x.world.clients) {
		t.Errorf("only %d clients were moved", moved)
	}
}

// suite is one run.
type suite struct {
	*testing.T
	plan     amounts
	server   *embedded.Server
	url      string
	pool     *pgxpool.Pool
	proxies  []*gatewaytest.Proxy
	gateways *cluster
	world    *world
	faults   []fault // besides those of the injector: what this machine allows
	stats    *tally
	rng      *rand.Rand
	sentinel int
	changed  map[int]bool // users whose rights changed
	postgres sync.Mutex   // one restart at a time, and none while its disk is full
}

// actor returns the random numbers of one actor.
func (plan amounts) actor(n int) *rand.Rand { return rand.New(rand.NewPCG(plan.seed, uint64(n))) }

func newSuite(t *testing.T, plan amounts) *suite {
	t.Helper()
	x := &suite{T: t, plan: plan, stats: &tally{count: map[string]int{}}, rng: plan.actor(0), changed: map[int]bool{}}
	// its own server, since it is restarted. Commits must survive that; fsync is not needed for it.
	x.server = dbtest.Server(t, map[string]string{
		"track_commit_timestamp": "on", "synchronous_commit": "on", "max_connections": "100", "autovacuum": "on"})
	x.url = x.server.URL("chaos")
	x.prepare()
	config, err := pgxpool.ParseConfig(x.url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 24
	if x.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.pool.Close)
	var databases []database
	for range 3 {
		proxy := gatewaytest.NewProxy(t, x.url)
		x.proxies = append(x.proxies, proxy)
		listen := proxy.URL + "&connect_timeout=5"
		databases = append(databases, database{pool: listen + "&options=-c%20lock_timeout%3D500ms", listen: listen})
	}
	databases[2].pool = x.pooler(databases[2].listen)
	x.smallDisk()
	x.gateways = newCluster(t, databases, "--max-backlog", fmt.Sprint(plan.backlog),
		"--presence-lease", plan.lease.String(), "--presence-grace", (plan.lease * 2 / 3).String())
	for slot := range databases {
		if err := x.gateways.start(t.Context(), slot); err != nil {
			t.Fatal(err)
		}
	}
	x.clients()
	return x
}

// prepare creates the installation.
func (x *suite) prepare() {
	admin, err := pgx.Connect(x.Context(), x.server.URL("postgres"))
	if err != nil {
		x.Fatal(err)
	}
	defer func() { _ = admin.Close(context.Background()) }()
	if _, err := admin.Exec(x.Context(), "CREATE DATABASE chaos TEMPLATE template0"); err != nil {
		x.Fatal(err)
	}
	if err := dbtest.OpenTera("chaos", migrations.Up).Fill(x.Context(), x.url); err != nil {
		x.Fatal(err)
	}
	conn, err := pgx.Connect(x.Context(), x.url)
	if err != nil {
		x.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	sql := strings.NewReplacer(":users", fmt.Sprint(x.plan.users), ":participants", fmt.Sprint(x.plan.participants),
		":devices", fmt.Sprint(x.plan.devices), ":crowd", fmt.Sprint(x.plan.crowd)).Replace(worldSQL)
	if _, err := conn.Exec(x.Context(), sql); err != nil {
		x.Fatalf("make the installation: %v", err)
	}
	if _, err := conn.Exec(x.Context(), "ALTER DATABASE chaos SET terasocket.poll = "+[]string{"off", "on", "always"}[x.plan.seed%3]); err != nil {
		x.Fatal(err)
	}
}

// clients creates them, in both encodings; some pass since= from the start.
func (x *suite) clients() {
	x.world = &world{users: x.plan.users, participants: x.plan.participants, devices: x.plan.devices, crowd: x.plan.crowd}
	rows, err := x.pool.Query(x.Context(), `SELECT 1, id_user, user_uuid FROM t_users WHERE id_user >= 100000 UNION ALL
		SELECT 2, id_participant, participant_uuid FROM t_participants WHERE id_participant >= 100000 AND id_participant < 200000 UNION ALL
		SELECT 3, id_device, device_uuid FROM t_devices WHERE id_device >= 100000 ORDER BY 1, 2`)
	if err != nil {
		x.Fatal(err)
	}
	var kind, id int
	var uuid string
	_, err = pgx.ForEachRow(rows, []any{&kind, &id, &uuid}, func() error {
		rng := x.plan.actor(1000*kind + id - 100000)
		x.world.clients = append(x.world.clients, &client{kind: access.Kind(kind), id: id, uuid: uuid, rng: rng, json: rng.IntN(3) == 0, since: rng.IntN(2) == 0})
		return nil
	})
	if err != nil {
		x.Fatal(err)
	}
}

// quietLimit ends a run that hangs: everything should have arrived some seconds after the last fault.
const quietLimit = 10 * time.Minute

// settle waits until everybody is connected and has received a new sentinel, twice: what follows the second is live.
func (x *suite) settle() {
	ctx, cancel := context.WithTimeout(x.Context(), quietLimit)
	defer cancel()
	if err := x.gateways.waitReady(ctx); err != nil {
		x.Fatal(err)
	}
	for range 2 {
		x.calm(ctx)
		mark := x.publishSentinel(ctx)
		for _, c := range x.world.clients {
			for c.lastMark.Load() < int64(x.sentinel) {
				if ctx.Err() != nil {
					c.mu.Lock()
					defer c.mu.Unlock()
					x.Fatalf("%s has not received %s within %v; connected: %v%s", c, mark, quietLimit, c.current != nil, c.story())
				}
				sleepFor(ctx, 10*time.Millisecond)
			}
		}
	}
}

// publishSentinel sends everybody the next sentinel. A failed one may have been committed all the same: the next attempt has
// another number.
func (x *suite) publishSentinel(ctx context.Context) (mark string) {
	for {
		x.sentinel++
		mark = fmt.Sprintf("sentinel-%d", x.sentinel)
		_, err := x.pool.Exec(ctx, `WITH client (object_type, id, uuid) AS (SELECT * FROM unnest($1::text[], $2::integer[], $3::text[])),
			published AS (SELECT terasocket.publish($4, jsonb_build_object('@type', 'type.googleapis.com/opentera.protobuf.ArchiveEvent',
				'archiveUuid', uuid, 'ownerUuid', uuid, 'archiveUrl', $5::text)) FROM client),
			numbered AS (SELECT count(*) FROM published)
			INSERT INTO chaos.changes (mark, writer, n, op, object_type, object_id, told)
			SELECT $5::text, 0, $6, 'M', object_type, id, uuid FROM client, numbered`,
			x.each(func(c *client) any { return c.kind.String() }), x.each(func(c *client) any { return c.id }),
			x.each(func(c *client) any { return c.uuid }), archiveTopic, mark, x.sentinel)
		if err == nil {
			return mark
		}
		if ctx.Err() != nil {
			x.Fatalf("publish a sentinel: %v", err)
		}
		sleepFor(ctx, 100*time.Millisecond)
	}
}

// calm waits until everybody is online, and nobody is about to be announced offline.
func (x *suite) calm(ctx context.Context) {
	for ; ; sleepFor(ctx, 100*time.Millisecond) {
		var waiting int
		err := x.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM terasocket.online WHERE offline_at IS NOT NULL)
			+ abs($1 - (SELECT count(*) FROM terasocket.online)) + (SELECT count(*) FROM terasocket.gateways WHERE lease_until < now())`,
			len(x.world.clients)).Scan(&waiting)
		if err == nil && waiting == 0 {
			return
		}
		if ctx.Err() != nil {
			x.Fatalf("not everybody is online within %v: %d to go, %v", quietLimit, waiting, err)
		}
	}
}

func (x *suite) each(of func(*client) any) (values []any) {
	for _, c := range x.world.clients {
		values = append(values, of(c))
	}
	return values
}

// begin connects everybody, and sets the event from which the proof counts.
func (x *suite) begin() (p *proof, stop func()) {
	began := time.Now()
	clientsCtx, disconnect := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for _, c := range x.world.clients {
		clients.Go(func() { c.run(clientsCtx, x.pool, x.gateways) })
	}
	stop = sync.OnceFunc(func() {
		disconnect()
		for _, c := range x.world.clients {
			c.pausing.Store(0)
			c.cut(false)
		}
		clients.Wait()
	})
	x.Cleanup(stop)
	x.settle()
	p = &proof{t: x.T, pool: x.pool, clients: x.world.clients, sentinel: x.sentinel}
	if err := x.pool.QueryRow(x.Context(), "SELECT max(seq) FROM terasocket.events").Scan(&p.from); err != nil {
		x.Fatal(err)
	}
	x.Logf("%d clients connected after %v", len(x.world.clients), time.Since(began).Round(time.Millisecond))
	return p, stop
}

// endPhase waits until everything has arrived, and records who could see what in this phase.
func (x *suite) endPhase(phase int) {
	if err := settlePrepared(x.Context(), x.pool); err != nil {
		x.Fatal(err)
	}
	x.settle()
	_, err := x.pool.Exec(x.Context(), "INSERT INTO chaos.phases SELECT $1, max(seq) FROM terasocket.events", phase)
	if err == nil {
		_, err = x.pool.Exec(x.Context(), "INSERT INTO chaos.saw SELECT $1, viewer, object_type, object_id FROM chaos.sees WHERE viewer >= 100000", phase)
	}
	if err != nil {
		x.Fatal(err)
	}
}

// run is the whole run.
func (x *suite) run() {
	began := time.Now()
	p, disconnect := x.begin()
	defer disconnect()
	inject := &injector{t: x.T, rng: x.plan.actor(1), server: x.server, direct: x.url, pool: x.pool, proxies: x.proxies, gateways: x.gateways,
		clients: x.world.clients, stats: x.stats, postgres: &x.postgres, more: x.faults, slots: make([]sync.Mutex, len(x.proxies))}
	writers := x.writers()
	for phase := range x.plan.phases {
		if phase > 0 {
			x.changeRights()
		}
		x.phase(inject, writers)
		quiet := time.Now()
		x.endPhase(phase)
		x.Logf("phase %d: everything had arrived %v after the last fault", phase+1, time.Since(quiet).Round(time.Millisecond))
	}
	disconnect()
	x.prove(p, began)
	// otherwise the suite would have proved nothing
	if x.reconnects() == 0 || p.checked == 0 {
		x.Errorf("only %d reconnects, %d deliveries checked", x.reconnects(), p.checked)
	}
}

func (x *suite) reconnects() (n int) {
	for _, c := range x.world.clients {
		n += len(c.visits) - 1
	}
	return n
}

// writers returns the work of each writer, and its rate.
func (x *suite) writers() (run []func(ctx context.Context)) {
	add := func(mean time.Duration, work func(w *writer) func(context.Context)) {
		n := len(run) + 1
		w := &writer{number: n, of: x.plan.writers + 1, pool: x.pool, rng: x.plan.actor(100 + n), world: x.world, stats: x.stats}
		run = append(run, func(ctx context.Context) { w.every(ctx, mean, work(w)) })
	}
	for range x.plan.writers {
		add(x.plan.writeEvery, func(w *writer) func(context.Context) { return w.small })
	}
	add(x.plan.longEvery, func(w *writer) func(context.Context) { return w.long })
	add(x.plan.prepareEvery, func(w *writer) func(context.Context) { return w.prepared })
	add(x.plan.burstEvery, func(w *writer) func(context.Context) { return w.burst })
	add(x.plan.moveEvery, func(w *writer) func(context.Context) { return w.move })
	add(x.plan.moveEvery, func(w *writer) func(context.Context) { return w.remove })
	return run
}

// phase runs writers and faults for a while. When it returns, faults are healed and changes written.
func (x *suite) phase(inject *injector, writers []func(context.Context)) {
	ctx, cancel := context.WithTimeout(x.Context(), x.plan.time/time.Duration(x.plan.phases))
	defer cancel()
	var busy sync.WaitGroup
	for _, run := range writers {
		busy.Go(func() { run(ctx) })
	}
	sleepFor(ctx, time.Second) // live and undisturbed, for the order of commits
	inject.run(ctx, x.plan.faultEvery)
	busy.Wait()
	x.pool.Reset() // connections that a restart has broken
}

// changeRights gives users projects and takes them away while the system is quiet. It returns once the consequences have
// arrived.
func (x *suite) changeRights() {
	for i := range x.plan.users {
		if i%8 == 0 || x.rng.IntN(4) != 0 {
			continue
		}
		id, project := 100000+i, 9101+x.rng.IntN(6)
		_, err := x.pool.Exec(x.Context(), `WITH lost AS (UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = $1 AND deleted_at IS NULL RETURNING 1)
			INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id)
			SELECT (SELECT max(id_user_user_group) + 1 FROM t_users_users_groups), $1, $2, 1 WHERE $3 OR NOT EXISTS (SELECT FROM lost)`,
			id, project+100, x.rng.IntN(2) == 0)
		if err != nil {
			x.Fatal(err)
		}
		x.changed[id] = true
		x.stats.add("users whose rights changed", 1)
	}
	x.settle() // events announced together with lost rights reach those that lost them
}

// prove stops the gateways and compares everything.
func (x *suite) prove(p *proof, began time.Time) {
	for slot := range x.proxies {
		if g := x.gateways.take(slot); g != nil {
			if err := x.gateways.terminate(g); err != nil {
				x.Error(err)
			}
		}
	}
	for _, g := range x.gateways.all {
		for _, problem := range g.problems() {
			x.Errorf("%s: %s", g, problem)
		}
	}
	for _, err := range []error{p.readLog(x.Context()), p.ask(x.Context(), logQuestions), p.readSights(x.Context())} {
		if err != nil {
			x.Fatal(err)
		}
	}
	p.entitle()
	p.compare()
	if err := p.audiences(x.Context(), x.changed); err != nil {
		x.Fatal(err)
	}
	for what, times := range x.gateways.oddities {
		p.complain("%d times: %s", times, what)
	}
	x.Logf("seed %d, %v\ninjected and done: %s\n%d clients, %d reconnects (ends: %s), %d handshakes failed, %d gateways ran\n"+
		"%d events in the log, %d epochs, %d deliveries checked; %d changes were not captured as they should\nlost %d, duplicated %d (only across a resume), leaked %d, reordered %d",
		x.plan.seed, time.Since(began).Round(time.Second), x.stats, len(x.world.clients), x.reconnects(), p.endings(),
		x.gateways.refused.Load(), len(x.gateways.all), len(p.order), p.epochs, p.checked, p.uncaptured, p.lost, p.duplicated, p.leaked, p.reordered)
	if p.lost+p.leaked+p.reordered > 0 || len(p.complaints) > 0 {
		x.Errorf("lost %d, leaked %d, reordered %d; some of the complaints:\n%s", p.lost, p.leaked, p.reordered, strings.Join(p.complaints, "\n"))
	}
}
