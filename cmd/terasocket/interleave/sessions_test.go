package interleave

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// stepLimit bounds a statement that does not wait.
const stepLimit = 30 * time.Second

// session is a connection that runs one step after the other. If a step waits for a lock, the others go on.
type session struct {
	conn    *pgx.Conn
	pid     uint32
	pending []step     // not yet begun
	current *step      // waiting for a lock; nil: idle
	done    chan error // result of current
	isOpen  bool       // in a transaction
	failed  bool       // the transaction is aborted
	saved   []string   // its savepoints
}

// schedule runs the steps in order. Those of a waiting session run as soon as it goes on.
func (r *runner) schedule(ctx context.Context, steps round) error {
	for _, s := range steps {
		if s.op == connect {
			if err := r.join(ctx, s); err != nil {
				return err
			}
		} else if s.op == commitPrepared || s.op == rollbackPrepared {
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
			return errors.New("the sessions do not end")
		}
		time.Sleep(2 * time.Millisecond)
	}
	for name := range r.prepared { // whose end was cut off
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

// isComing reports whether a transaction is still to be prepared under this name.
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
	r.took = append(r.took, s.String())
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
	r.took = append(r.took, next.String())
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
			continue // no commit before the state has been read
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

// ended records how the current step of a session ended.
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
