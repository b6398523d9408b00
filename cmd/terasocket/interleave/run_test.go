package interleave

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
)

const (
	quietLimit = 60 * time.Second // until all have received the sentinel
)

// runner runs a program and collects what was committed and received.
type runner struct {
	t        *testing.T
	url      string
	control  *pgx.Conn // reads states, watches locks, ends prepared transactions
	gateways []*gatewaytest.Gateway
	sessions map[int]*session
	prepared map[string]bool // that exist now
	wanted   []step          // COMMIT or ROLLBACK PREPARED steps whose transaction is not prepared yet
	states   []*state        // of this round, the first as it was before
	took     []string        // what happened, in order
	live     map[int]*client
	joined   []joined           // who joined during the round
	deaf     map[string]*client // a participant and a device, which receive nothing about objects
	cursors  map[int]uint64     // where a viewer resumes
	inParts  bool
	wasDown  map[int]bool // viewers that could not be connected at some moment of the last round
	refused  []string     // statements of a round that failed and must not
	marks    int
	counts   map[string]int // statements, commits, aborts, ...
}

// joined is a client that joined during a round.
type joined struct {
	*client
	begin   int // the newest state when it connected
	resumed bool
}

// run runs a program on a new database and returns the problems. An error means that it could not be run.
func run(t *testing.T, p program) (problems []problem, counts map[string]int, err error) {
	t.Helper()
	url := dbtest.New(t, world())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	r := &runner{t: t, url: url, sessions: map[int]*session{}, prepared: map[string]bool{}, live: map[int]*client{},
		deaf: map[string]*client{}, wasDown: map[int]bool{}, cursors: map[int]uint64{}, counts: map[string]int{}}
	defer r.end()
	if r.control, err = r.connect(ctx); err != nil {
		return nil, nil, err
	}
	path, err := gatewaytest.Program()
	if err != nil {
		return nil, nil, err
	}
	if p.polled {
		dbtest.Exec(t, r.control, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET terasocket.poll = always', current_database()); END $$")
	}
	if r.inParts = p.atMost > 0; r.inParts {
		dbtest.Exec(t, r.control, "CREATE SCHEMA whole; ALTER FUNCTION terasocket.announce(integer, boolean, bigint) SET SCHEMA whole")
		dbtest.Exec(t, r.control, fmt.Sprintf(`
			CREATE FUNCTION terasocket.announce(at_most integer, careful boolean, last_seen bigint, OUT epoch bigint, OUT last_seq bigint, OUT announced integer, OUT more boolean)
			LANGUAGE plpgsql AS $$ BEGIN SELECT * INTO epoch, last_seq, announced, more FROM whole.announce(least(at_most, %d), careful, last_seen); END $$`, p.atMost))
	}
	for range max(p.gateways, 1) {
		g, err := gatewaytest.Start(ctx, gatewaytest.Config{Program: path, Database: r.url, Args: []string{"--plain-http", "--drain-time", "0s", "--presence-grace", "0s"}})
		if err != nil {
			return nil, nil, err
		}
		r.gateways = append(r.gateways, g)
	}
	for i, round := range p.rounds {
		if len(round) == 0 {
			continue
		}
		found, err := r.round(ctx, p, round)
		if err != nil {
			return nil, r.counts, fmt.Errorf("round %d: %w\n%s", i+1, err, strings.Join(r.took, "\n"))
		}
		for _, f := range found {
			f.round = i + 1
			f.took = slices.Clone(r.took)
			problems = append(problems, f)
		}
		r.counts["rounds"]++
	}
	for _, g := range r.gateways {
		select {
		case <-g.Exited:
			return problems, r.counts, fmt.Errorf("a gateway ended: %s", &g.Log)
		default:
		}
	}
	return problems, r.counts, nil
}

func (r *runner) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(r.url)
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{"jit": "off", "timezone": "UTC", "deadlock_timeout": "200ms", "client_min_messages": "error"} {
		config.RuntimeParams[k] = v
	}
	return pgx.ConnectConfig(ctx, config)
}

func (r *runner) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range r.all() {
		_ = c.conn.Close()
	}
	for _, g := range r.gateways {
		g.Kill()
	}
	for _, s := range r.sessions {
		_ = s.conn.Close(ctx)
	}
	if r.control != nil {
		_ = r.control.Close(ctx)
	}
}

// round connects the viewers, runs the steps, waits until everything has arrived, and judges.
func (r *runner) round(ctx context.Context, p program, steps round) ([]problem, error) {
	r.took = nil
	if err := r.listen(ctx, p); err != nil {
		return nil, err
	}
	if err := r.quiet(ctx); err != nil { // gives each of them a cursor
		return nil, err
	}
	for _, c := range r.live {
		c.taken() // presence aside, nothing: the database was at rest
		r.cursors[c.viewer] = c.marks[r.mark()]
	}
	r.states = nil
	if err := r.look(ctx, "the beginning"); err != nil {
		return nil, err
	}
	var sleeping *gatewaytest.Gateway
	if p.stopped && len(r.gateways) > 1 {
		sleeping = r.gateways[len(r.gateways)-1]
		if err := sleeping.Signal(syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	err := r.schedule(ctx, steps)
	if sleeping != nil {
		err = errors.Join(err, sleeping.Signal(syscall.SIGCONT))
	}
	if err != nil {
		return nil, err
	}
	if err := r.quiet(ctx); err != nil {
		return nil, err
	}
	r.states = append(r.states, r.states[len(r.states)-1]) // what is announced late has the final state
	return r.judge(ctx, p)
}

// listen connects every viewer that may be connected and is not.
func (r *runner) listen(ctx context.Context, p program) error {
	for viewer := 1; viewer <= viewers; viewer++ {
		if c := r.live[viewer]; c != nil {
			if _, closed, _ := c.taken(); closed == 0 {
				continue
			}
			delete(r.live, viewer)
		}
		g := r.gateways[viewer%len(r.gateways)]
		c, err := r.client(ctx, viewer, g, "live", nil)
		if err != nil {
			return err
		}
		if c != nil {
			r.live[viewer] = c
		}
	}
	for _, kind := range []string{"participant", "device"} {
		if r.deaf[kind] != nil {
			continue
		}
		c, err := r.connectAs(ctx, kind, 1, r.gateways[0], "live", nil)
		if err != nil {
			return err
		}
		if c != nil {
			r.deaf[kind] = c
		}
	}
	return nil
}

// client connects a viewer; nil if it is disabled or deleted.
func (r *runner) client(ctx context.Context, viewer int, g *gatewaytest.Gateway, how string, since *uint64) (*client, error) {
	return r.connectAs(ctx, "user", viewer, g, how, since)
}

func (r *runner) connectAs(ctx context.Context, kind string, id int, g *gatewaytest.Gateway, how string, since *uint64) (*client, error) {
	var token string
	err := r.control.QueryRow(ctx, fmt.Sprintf(`SELECT terasocket.create_connect_token('%[1]s', %[1]s_uuid) FROM t_%[1]ss
		WHERE id_%[1]s = $1 AND %[1]s_enabled AND deleted_at IS NULL`, kind), id).Scan(&token)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("token of %s %d: %w", kind, id, err)
	}
	url := g.URL + "/wss/" + kind + "?id=" + token
	if since != nil {
		url += fmt.Sprintf("&since=%d", *since)
	}
	conn, response, err := gatewaytest.Dial(ctx, url)
	if err != nil && response != nil {
		err = fmt.Errorf("%w: %s", err, response.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("connect %s %d: %w", kind, id, err)
	}
	return newClient(id, fmt.Sprintf("%s %d %s", kind, id, how), conn), nil
}

// join connects a viewer during a round, live or resuming from before it.
func (r *runner) join(ctx context.Context, s step) error {
	since, isResuming := r.cursors[s.session]
	j := joined{resumed: s.name == "resumed"}
	if j.resumed && !isResuming {
		return nil // it was not connected before the round
	}
	r.took = append(r.took, s.String())
	var from *uint64
	if j.resumed {
		from = &since
	}
	c, err := r.client(ctx, s.session, r.gateways[0], "joined", from)
	if err != nil && slices.ContainsFunc(r.states, func(st *state) bool { return !st.mayBe[s.session] }) {
		return nil // it may be enabled again, which is not announced yet
	}
	if err != nil {
		return err
	}
	if c != nil {
		j.client, j.begin = c, len(r.states)-1
		r.joined = append(r.joined, j)
		r.counts["joined"]++
	}
	return nil
}

// all returns the connected clients.
func (r *runner) all() []*client {
	all := slices.Concat(slices.Collect(maps.Values(r.live)), slices.Collect(maps.Values(r.deaf)))
	for _, j := range r.joined {
		all = append(all, j.client)
	}
	return all
}

func (r *runner) mark() string { return fmt.Sprintf("mark %d", r.marks) }

// quiet publishes a sentinel to every viewer and waits until all connected ones have it; twice, since the first may precede
// changes announced with it.
func (r *runner) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	for range 2 {
		r.marks++
		_, err := r.control.Exec(ctx, `SELECT terasocket.publish(format('websocket.%s.%s.events', kind, uuid), jsonb_build_object(
			'@type', 'type.googleapis.com/opentera.protobuf.ArchiveEvent', 'archiveUuid', uuid, 'ownerUuid', uuid, 'archiveUrl', $1::text))
			FROM  (SELECT 'user' AS kind, user_uuid AS uuid FROM t_users WHERE id_user <= $2 AND deleted_at IS NULL UNION ALL
			       SELECT 'participant', participant_uuid FROM t_participants WHERE id_participant = 1 AND deleted_at IS NULL UNION ALL
			       SELECT 'device', device_uuid FROM t_devices WHERE id_device = 1 AND deleted_at IS NULL) a`, r.mark(), viewers)
		if err != nil {
			return fmt.Errorf("publish the sentinel: %w", err)
		}
		for _, c := range r.all() {
			if err := c.wait(ctx, r.mark()); err != nil {
				var logs strings.Builder
				for _, g := range r.gateways {
					logs.WriteString("\nlog of the gateway:\n" + g.Log.String())
				}
				return fmt.Errorf("%w%s", err, &logs)
			}
		}
	}
	return nil
}

// look reads the committed state and keeps it if it differs.
func (r *runner) look(ctx context.Context, after string) error {
	s, err := readState(ctx, r.control, after)
	if err != nil {
		return err
	}
	s.inParts = r.inParts
	if n := len(r.states); n > 0 && r.states[n-1].isSame(s) {
		return nil
	}
	r.states = append(r.states, s)
	return nil
}
