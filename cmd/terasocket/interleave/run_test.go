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
	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
)

const (
	stepLimit  = 30 * time.Second // of one statement that is not waiting
	quietLimit = 60 * time.Second // until all have heard the sentinel
)

// session is a connection that runs one step after the other. A step that waits for a lock leaves the others running.
type session struct {
	conn    *pgx.Conn
	pid     uint32
	pending []step     // not yet begun
	current *step      // waits for a lock; nil: idle
	done    chan error // of current
	isOpen  bool       // a transaction is
	failed  bool       // it was aborted
	saved   []string   // its savepoints
}

// runner runs a program and gathers what was committed and heard.
type runner struct {
	t        *testing.T
	url      string
	control  *pgx.Conn // reads states, watches locks, ends prepared transactions
	gateways []*gateway
	sessions map[int]*session
	prepared map[string]bool // exist now
	wanted   []step          // ends of prepared transactions that come before them
	states   []*state        // of this round, the first as it was before
	took     []string        // what happened, in order
	live     map[int]*client
	deaf     map[string]*client // a participant and a device, who hear of no object
	cursors  map[int]uint64     // where a viewer resumes
	wasDown  map[int]bool       // viewers who could not be connected at some moment of the last round
	refused  []string           // statements of a round that failed and must not
	marks    int
	counts   map[string]int // statements, commits, aborts, ...
}

// run runs a program on a new database and gives what is wrong. An error says that it could not be run.
func run(t *testing.T, p program) (problems []problem, counts map[string]int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	r := &runner{t: t, url: dbtest.New(t, world()), sessions: map[int]*session{}, prepared: map[string]bool{}, live: map[int]*client{},
		deaf: map[string]*client{}, wasDown: map[int]bool{}, cursors: map[int]uint64{}, counts: map[string]int{}}
	defer r.end()
	if r.control, err = r.connect(ctx); err != nil {
		return nil, nil, err
	}
	for range max(p.gateways, 1) {
		g, err := startGateway(r.url)
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
		case <-g.exited:
			return problems, r.counts, fmt.Errorf("a gateway ended: %s", g.said())
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
	for _, c := range slices.Concat(slices.Collect(maps.Values(r.live)), slices.Collect(maps.Values(r.deaf))) {
		_ = c.conn.Close()
	}
	for _, g := range r.gateways {
		_ = g.process.Process.Signal(syscall.SIGCONT)
		g.stop()
	}
	for _, s := range r.sessions {
		_ = s.conn.Close(ctx)
	}
	if r.control != nil {
		_ = r.control.Close(ctx)
	}
}

// round lets the viewers connect, runs the steps, waits until all is heard, and judges.
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
	var sleeping *gateway
	if p.stopped && len(r.gateways) > 1 {
		sleeping = r.gateways[len(r.gateways)-1]
		if err := sleeping.process.Process.Signal(syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	err := r.schedule(ctx, steps)
	if sleeping != nil {
		err = errors.Join(err, sleeping.process.Process.Signal(syscall.SIGCONT))
	}
	if err != nil {
		return nil, err
	}
	if err := r.quiet(ctx); err != nil {
		return nil, err
	}
	r.states = append(r.states, r.states[len(r.states)-1]) // what is announced late is announced as it is at the end
	return r.judge(ctx, p)
}

// listen connects every viewer who may be connected and is not.
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

// client connects a viewer; nil when he is disabled or deleted.
func (r *runner) client(ctx context.Context, viewer int, g *gateway, how string, since *uint64) (*client, error) {
	return r.connectAs(ctx, "user", viewer, g, how, since)
}

func (r *runner) connectAs(ctx context.Context, kind string, id int, g *gateway, how string, since *uint64) (*client, error) {
	var token string
	err := r.control.QueryRow(ctx, fmt.Sprintf(`SELECT terasocket.create_connect_token('%[1]s', %[1]s_uuid) FROM t_%[1]ss
		WHERE id_%[1]s = $1 AND %[1]s_enabled AND deleted_at IS NULL`, kind), id).Scan(&token)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("token of %s %d: %w", kind, id, err)
	}
	conn, err := dial(ctx, g.url, kind, token, since)
	if err != nil {
		return nil, fmt.Errorf("connect %s %d: %w", kind, id, err)
	}
	return newClient(id, fmt.Sprintf("%s %d %s", kind, id, how), conn), nil
}

func (r *runner) mark() string { return fmt.Sprintf("mark %d", r.marks) }

// quiet publishes a sentinel to every viewer and waits until those who are connected have it; twice, since the first may
// stand before changes that are announced with it.
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
		for _, c := range slices.Concat(slices.Collect(maps.Values(r.live)), slices.Collect(maps.Values(r.deaf))) {
			if err := c.wait(ctx, r.mark()); err != nil {
				var logs strings.Builder
				for _, g := range r.gateways {
					logs.WriteString("\nlog of the gateway:\n" + g.said())
				}
				return fmt.Errorf("%w%s", err, &logs)
			}
		}
	}
	return nil
}

// look reads the committed state and keeps it when something is different.
func (r *runner) look(ctx context.Context, after string) error {
	s, err := readState(ctx, r.control, after)
	if err != nil {
		return err
	}
	if n := len(r.states); n > 0 && r.states[n-1].isSame(s) {
		return nil
	}
	r.states = append(r.states, s)
	return nil
}

// schedule takes the steps in their order. Those of a session that waits are taken as soon as it goes on.
func (r *runner) schedule(ctx context.Context, steps round) error {
	for _, s := range steps {
		if s.op == commitPrepared || s.op == rollbackPrepared {
			if !r.prepared[s.name] {
				r.wanted = append(r.wanted, s)
				continue
			}
			if err := r.endPrepared(ctx, s); err != nil {
				return err
			}
		} else {
			own, err := r.session(ctx, s.session)
			if err != nil {
				return err
			}
			own.pending = append(own.pending, s)
		}
		if err := r.goOn(ctx); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(stepLimit)
	for {
		isOver := len(r.wanted) == 0
		for _, s := range r.wanted {
			if r.prepared[s.name] {
				if err := r.endPrepared(ctx, s); err != nil {
					return err
				}
			}
		}
		r.wanted = slices.DeleteFunc(r.wanted, func(s step) bool { return !r.prepared[s.name] && !r.isComing(s.name) })
		if err := r.goOn(ctx); err != nil {
			return err
		}
		for _, s := range r.sessions {
			isOver = isOver && s.current == nil && len(s.pending) == 0
		}
		if isOver {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("the sessions do not come to an end")
		}
		time.Sleep(2 * time.Millisecond)
	}
	for name := range r.prepared { // whose end was cut away
		if err := r.endPrepared(ctx, step{op: rollbackPrepared, name: name, sql: "ROLLBACK PREPARED " + name}); err != nil {
			return err
		}
	}
	for i, s := range r.sessions {
		if s.isOpen {
			if err := r.begin(ctx, i, step{session: i, op: rollback, sql: "ROLLBACK"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// isComing says whether a transaction is still to be prepared under this name.
func (r *runner) isComing(name string) bool {
	for _, s := range r.sessions {
		if s.current != nil && s.current.name == name || slices.ContainsFunc(s.pending, func(p step) bool { return p.op == prepare && p.name == name }) {
			return true
		}
	}
	return false
}

func (r *runner) endPrepared(ctx context.Context, s step) error {
	delete(r.prepared, s.name)
	r.took = append(r.took, s.sql+"; -- S"+fmt.Sprint(s.session))
	if _, err := r.control.Exec(ctx, s.sql); err != nil {
		return fmt.Errorf("%s: %w", s.sql, err)
	}
	r.counts["prepared"]++
	return r.look(ctx, fmt.Sprintf("S%d %s", s.session, s.sql))
}

func (r *runner) session(ctx context.Context, n int) (*session, error) {
	s := r.sessions[n]
	if s == nil {
		conn, err := r.connect(ctx)
		if err != nil {
			return nil, err
		}
		s = &session{conn: conn, pid: conn.PgConn().PID()}
		r.sessions[n] = s
	}
	return s, nil
}

// goOn begins all pending steps of the sessions that do not wait.
func (r *runner) goOn(ctx context.Context) error {
	for isMoving := true; isMoving; {
		isMoving = false
		for _, n := range slices.Sorted(mapKeys(r.sessions)) {
			s := r.sessions[n]
			if s.current != nil {
				select {
				case err := <-s.done:
					r.took = append(r.took, fmt.Sprintf("-- S%d goes on", n))
					if err := r.ended(ctx, n, err); err != nil {
						return err
					}
				default:
					continue
				}
			}
			if len(s.pending) > 0 {
				next := s.pending[0]
				s.pending = s.pending[1:]
				isMoving = true
				if err := r.begin(ctx, n, next); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// begin starts a step and returns when it has ended or waits for a lock.
func (r *runner) begin(ctx context.Context, n int, next step) error {
	s := r.sessions[n]
	switch {
	case next.op != begin && !s.isOpen:
		return nil // of a transaction that was cut short
	case s.failed && next.op == rollbackTo && slices.Contains(s.saved, next.name), s.failed && next.op == rollback:
	case s.failed && (next.op == commit || next.op == prepare):
		next.op, next.sql = rollback, "ROLLBACK"
	case s.failed:
		return nil
	case next.op == rollbackTo && !slices.Contains(s.saved, next.name):
		return nil
	}
	s.current, s.done = &next, make(chan error, 1)
	r.took = append(r.took, fmt.Sprintf("%s; -- S%d", next.sql, n))
	done, conn := s.done, s.conn.PgConn()
	go func() {
		_, err := conn.Exec(ctx, next.sql).ReadAll()
		done <- err
	}()
	isCommit := next.op == commit || next.op == prepare || next.op == rollback
	deadline := time.After(stepLimit)
	seenWaiting := 0
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 10*time.Millisecond) {
		select {
		case err := <-done:
			return r.ended(ctx, n, err)
		case <-deadline:
			return fmt.Errorf("S%d: %s does not end", n, next.sql)
		case <-time.After(wait):
		}
		if isCommit {
			continue // nobody may commit before its state was read
		}
		var isWaiting bool
		if err := r.control.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)", s.pid).Scan(&isWaiting); err != nil {
			return err
		}
		if !isWaiting {
			seenWaiting = 0
		} else if seenWaiting++; seenWaiting == 2 {
			r.took = append(r.took, fmt.Sprintf("-- S%d waits", n))
			r.counts["waits"]++
			return nil
		}
	}
}

// ended notes how the current step of a session ended.
func (r *runner) ended(ctx context.Context, n int, err error) error {
	s := r.sessions[n]
	was := *s.current
	s.current = nil
	var refused *pgconn.PgError
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("S%d: %s: %w", n, was.sql, err)
	}
	if refused != nil {
		r.took = append(r.took, fmt.Sprintf("-- S%d: %s %s", n, refused.Code, refused.Message))
		r.counts["refused "+refused.Code]++
		if !slices.Contains([]string{"23503", "23505", "40001", "40P01"}, refused.Code) {
			r.refused = append(r.refused, fmt.Sprintf("S%d: %s: %v", n, was.sql, err)) // a writer must never fail because of us
		}
		switch was.op {
		case begin:
			return fmt.Errorf("S%d: %s: %w", n, was.sql, err)
		case commit, prepare, rollback:
			s.isOpen, s.failed, s.saved = false, false, nil
			return nil
		}
		s.failed = true
		return nil
	}
	r.counts["steps"]++
	switch was.op {
	case begin:
		s.isOpen, s.failed, s.saved = true, false, nil
	case savepoint:
		s.saved = append(s.saved, was.name)
	case rollbackTo:
		s.failed = false
	case prepare:
		r.prepared[was.name] = true
		s.isOpen = false
	case rollback:
		s.isOpen, s.failed = false, false
	case commit:
		s.isOpen = false
		r.counts["commits"]++
		return r.look(ctx, fmt.Sprintf("S%d COMMIT", n))
	}
	return nil
}
