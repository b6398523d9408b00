package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// Migrated is the demo installation, migrated.
func Migrated() dbtest.Template {
	return dbtest.OpenTera("migrated", migrations.Up, dbtest.QuickPasswords)
}

// stage is a real redis-server, a real PostgreSQL, and a stand-in for OpenTera between them.
type stage struct {
	*testing.T
	url     string
	conn    *pgx.Conn
	server  *standin.Redis
	client  *redis.Client // the test's own
	manager *standin.UserManager
	service standin.Service
	gateway string // holds the test's sockets
	seen    int64  // rows of the log already returned by said()
}

// quick sets the bridge's intervals for tests, to go with standin.Fast.
func quick(c *Config) {
	c.Lease, c.Look, c.Probe, c.Reconcile, c.Answer = 600*time.Millisecond, 5*time.Millisecond, 20*time.Millisecond, 300*time.Millisecond, 5*time.Second
}

func setup(t *testing.T, settings ...string) *stage {
	t.Helper()
	url, conns := dbtest.Lend(t, Migrated(), 1)
	return setupOn(t, url, conns[0], settings...)
}

// setupOn is the same on this database; settings are those of Redis.
func setupOn(t *testing.T, url string, conn *pgx.Conn, settings ...string) *stage {
	t.Helper()
	s := &stage{T: t, url: url, conn: conn}
	dbtest.Announce(s, s.conn, 2000)
	server, err := standin.StartRedis(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	s.server = server
	s.client = s.open()
	s.service = standin.Service{Redis: s.client, Key: "VideoRehabService"}
	people := dbtest.Pool(t, s.url)
	if s.manager, err = standin.NewUserManager(server.URL(), standin.PeopleOf(people), standin.Fast, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.manager.Close)
	s.gateway = dbtest.One[string](s, s.conn, "SELECT terasocket.gateway_register('here :1 (1)', '1 hour')::text")
	return s
}

// open returns a connection pool for the stage's Redis.
func (s *stage) open() *redis.Client {
	s.Helper()
	client, err := Open(func() (string, error) { return s.server.URL(), nil })
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = client.Close() })
	return client
}

// running is a bridge that runs.
type running struct {
	*Bridge
	metrics *Metrics
	stop    func()
}

// bridge starts one and waits until it is subscribed.
func (s *stage) bridge(change func(*Config)) *running {
	s.Helper()
	pool, err := pgxpool.New(s.Context(), s.url)
	if err != nil {
		s.Fatal(err)
	}
	r := &running{metrics: NewMetrics(prometheus.NewRegistry())}
	config := Config{Redis: s.open(), Pool: pool, Gateway: fmt.Sprintf("here :%d (1)", time.Now().UnixNano()), Metrics: r.metrics,
		Log: slog.New(slog.NewTextHandler(s.Output(), nil))}
	quick(&config)
	if change != nil {
		change(&config)
	}
	r.Bridge = New(config)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	r.stop = func() { cancel(); <-done; pool.Close() }
	s.Cleanup(r.stop)
	s.eventually("the bridge is subscribed", func() bool { return r.Err() == nil })
	return r
}

// leader starts one and waits until it holds the bridge.
func (s *stage) leader(change func(*Config)) *running {
	s.Helper()
	r := s.bridge(change)
	s.leads(r)
	return r
}

// leads waits until r holds the bridge.
func (s *stage) leads(r *running) {
	s.Helper()
	s.eventually("it holds the bridge", func() bool { return testutil.ToFloat64(r.metrics.leader) == 1 })
}

// opentera starts OpenTera and waits until its user manager listens.
func (s *stage) opentera() {
	s.Helper()
	s.manager.Start(s.Context())
	s.eventually("the user manager listens", s.manager.Hears)
}

func (s *stage) exec(sql string, args ...any) {
	s.Helper()
	dbtest.Exec(s, s.conn, sql, args...)
}

func (s *stage) number(sql string, args ...any) int {
	s.Helper()
	return dbtest.One[int](s, s.conn, sql, args...)
}

// said returns what is new in the log: "USER_CONNECTED <id>", "StopSessionEvent", "Kick user 9".
func (s *stage) said() (all []string) {
	s.Helper()
	dbtest.Announce(s, s.conn, 2000)
	rows, err := s.conn.Query(s.Context(), `SELECT seq, CASE WHEN type = 'terasocket.Kick' THEN concat_ws(' ', 'Kick', object_type, object_id)
		WHEN body ? 'userUuid' AND body ? 'type' THEN concat_ws(' ', body->>'type', (SELECT id_user FROM t_users WHERE user_uuid = body->>'userUuid'))
		WHEN body ? 'participantUuid' AND body ? 'type' THEN concat_ws(' ', body->>'type', (SELECT id_participant FROM t_participants WHERE participant_uuid = body->>'participantUuid'))
		WHEN body ? 'deviceUuid' AND body ? 'type' THEN concat_ws(' ', body->>'type', (SELECT id_device FROM t_devices WHERE device_uuid = body->>'deviceUuid'))
		ELSE replace(type, 'opentera.protobuf.', '') END
		FROM terasocket.events WHERE seq > $1 AND type NOT IN ('terasocket.Settled', 'terasocket.Rights', 'terasocket.Alias') ORDER BY seq`, s.seen)
	if err != nil {
		s.Fatal(err)
	}
	all = []string{}
	var text string
	if _, err := pgx.ForEachRow(rows, []any{&s.seen, &text}, func() error { all = append(all, text); return nil }); err != nil {
		s.Fatal(err)
	}
	return all
}

// hears waits until the log has exactly these new entries.
func (s *stage) hears(want ...string) {
	s.Helper()
	var got []string
	for end := time.Now().Add(20 * time.Second); len(got) < len(want) && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		got = append(got, s.said()...)
	}
	if !slices.Equal(got, want) {
		s.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// hearsNothing proves that the log has no new entries: an event published afterwards comes first.
func (s *stage) hearsNothing() {
	s.Helper()
	s.publishStop()
	s.hears("StopSessionEvent")
}

// publishStop publishes an event that concerns nobody, directly to user 1.
func (s *stage) publishStop() {
	s.Helper()
	if err := s.service.Direct(s.Context(), "user", s.user(1), stopEvent()); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) eventually(what string, isSo func() bool) {
	s.Helper()
	dbtest.Eventually(s, what, isSo)
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) uuid(kind string, id int) string {
	s.Helper()
	return dbtest.One[string](s, s.conn, fmt.Sprintf("SELECT %[1]s_uuid FROM t_%[1]ss WHERE id_%[1]s = $1", kind), id)
}

func (s *stage) user(id int) string        { return s.uuid("user", id) }
func (s *stage) participant(id int) string { return s.uuid("participant", id) }
func (s *stage) device(id int) string      { return s.uuid("device", id) }

// connect opens a socket here; socket is its number.
func (s *stage) connect(kind string, id, socket int) {
	s.Helper()
	s.exec("SELECT terasocket.connected($1::text::uuid, $2, $3, '', '', $4)", s.gateway, kind, id, socket)
}

// leave closes a socket, with a grace.
func (s *stage) leave(socket int) {
	s.Helper()
	s.exec("SELECT terasocket.disconnected_many($1::text::uuid, ARRAY[$2::bigint], '1 hour')", s.gateway, socket)
}

// isOnline waits until the user manager believes exactly these users to be online.
func (s *stage) isOnline(ids ...int) { s.Helper(); s.areOnline("user", ids...) }

// areOnline is the same for users, participants or devices.
func (s *stage) areOnline(kind string, ids ...int) {
	s.Helper()
	want := []string{}
	for _, id := range ids {
		want = append(want, s.uuid(kind, id))
	}
	slices.Sort(want)
	s.eventually(fmt.Sprintf("online are the %ss %v", kind, ids), func() bool { return slices.Equal(s.manager.Online(kind), want) })
}

// crowd opens 200 sockets; isOnline reports whether the user manager believes exactly their owners to be online.
func (s *stage) crowd() (isOnline func() bool) {
	s.Helper()
	s.exec(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_enabled, participant_token_enabled, participant_login_enabled, id_project, version_id)
		SELECT 10000 + i, gen_random_uuid(), 'P ' || i, true, false, false, 1, 1 FROM generate_series(1, 200) i`)
	s.exec(`SELECT terasocket.connected($1::text::uuid, kind, id, '', '', 100000 + n) FROM (SELECT kind, id, row_number() OVER (ORDER BY kind DESC, id) AS n
		FROM (SELECT 'user', id_user FROM t_users WHERE deleted_at IS NULL UNION ALL SELECT 'participant', id_participant FROM t_participants WHERE deleted_at IS NULL) p (kind, id)) q
		WHERE n <= 200`, s.gateway)
	return func() bool {
		for _, kind := range []string{"user", "participant"} {
			want := dbtest.One[[]string](s, s.conn, fmt.Sprintf("SELECT array_agg(DISTINCT %[1]s_uuid::text) FROM t_%[1]ss JOIN terasocket.connections c ON c.kind = '%[1]s' AND c.principal = id_%[1]s", kind))
			slices.Sort(want)
			if !slices.Equal(want, s.manager.Online(kind)) {
				return false
			}
		}
		return true
	}
}
