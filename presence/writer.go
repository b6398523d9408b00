package presence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	maxBatch      = 200              // sockets per statement, which locks their rows while it runs
	statementWait = 10 * time.Second // time limit of a statement
	firstPause    = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

var (
	//go:embed sql/connected.sql
	connectedSQL string
	//go:embed sql/disconnected.sql
	disconnectedSQL string
)

var errNotRegistered = errors.New("the gateway has no lease")

// write reports the queued sockets to the database until ctx ends.
func (r *Registry) write(ctx context.Context) {
	pause := firstPause
	for {
		left, err := r.flush(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.Log.Warn("presence not recorded, trying again", "op", "presence", "sockets", left, "err", err)
			if !sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, longestPause)
			continue
		}
		pause = firstPause
		if left > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
	}
}

// flush reports one batch, and returns how many sockets are left. Those that fail go to the end of the queue, and the next batch is half
// as large: one socket that the database refuses does not delay the rest.
func (r *Registry) flush(ctx context.Context) (left int, err error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	gateway, batch := r.take()
	if len(batch) == 0 {
		return 0, nil
	}
	if gateway == "" {
		return r.putBack(batch, errNotRegistered), errNotRegistered
	}
	err = r.tell(ctx, gateway, batch)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "23503" { // foreign_key_violation: this gateway was declared dead
		r.beat(ctx)
	}
	return r.putBack(batch, err), err
}

func (r *Registry) take() (gateway string, batch []*socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(r.batch, len(r.queue))
	batch = append(batch, r.queue[:n]...)
	if r.queue = r.queue[n:]; len(r.queue) == 0 {
		r.queue = nil
	}
	return r.gateway, batch
}

func (r *Registry) registered() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gateway
}

// putBack queues again what is still to be reported.
func (r *Registry) putBack(batch []*socket, err error) (left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range batch {
		s.queued = false
		r.enqueue(s)
	}
	if err != nil {
		r.batch = max(1, r.batch/2)
	} else {
		r.batch = min(maxBatch, 2*r.batch)
	}
	return len(r.queue)
}

// tell reports a batch: open sockets with one statement, closed ones with another, and a third for those closed on purpose.
func (r *Registry) tell(ctx context.Context, gateway string, batch []*socket) error {
	var open, first, ended, kicked []*socket
	r.mu.Lock()
	for _, s := range batch {
		switch {
		case s.open():
			if !s.tried {
				first = append(first, s)
			}
			s.tried = true
			open = append(open, s)
		case s.ended() && s.onPurpose:
			kicked = append(kicked, s)
		case s.ended():
			ended = append(ended, s)
		}
	}
	r.mu.Unlock()

	if len(open) > 0 {
		if err := r.tellOpen(ctx, gateway, open); err != nil {
			r.forget(first, err)
			return err
		}
	}
	for grace, sockets := range map[time.Duration][]*socket{r.Grace: ended, -1: kicked} {
		if len(sockets) > 0 {
			if err := r.tellEnded(ctx, gateway, sockets, grace); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Registry) tellOpen(ctx context.Context, gateway string, sockets []*socket) error {
	numbers, kinds, ids := make([]int64, len(sockets)), make([]string, len(sockets)), make([]int32, len(sockets))
	names, addrs := make([]string, len(sockets)), make([]string, len(sockets))
	for i, s := range sockets {
		numbers[i], kinds[i], ids[i], names[i], addrs[i] = s.number, s.who.Kind.String(), s.who.ID, s.clientName, s.addr
	}
	if err := r.exec(ctx, connectedSQL, gateway, numbers, kinds, ids, names, addrs); err != nil {
		return fmt.Errorf("record open sockets: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range sockets {
		s.told = r.gateway == gateway // otherwise it must be reported again, under the new lease
	}
	return nil
}

func (r *Registry) tellEnded(ctx context.Context, gateway string, sockets []*socket, grace time.Duration) error {
	numbers := make([]int64, len(sockets))
	for i, s := range sockets {
		numbers[i] = s.number
	}
	if err := r.exec(ctx, disconnectedSQL, gateway, numbers, max(0, grace)); err != nil {
		return fmt.Errorf("record ended sockets: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range sockets {
		s.tried, s.told = false, false
	}
	return nil
}

// forget records that the database refused the first report of these, so that it has not recorded them. After another error that is
// unknown.
func (r *Registry) forget(sockets []*socket, err error) {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.SeverityUnlocalized != "ERROR" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range sockets {
		s.tried = false
	}
}

func (r *Registry) exec(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, statementWait)
	defer cancel()
	_, err := r.Pool.Exec(ctx, sql, args...)
	return err
}
