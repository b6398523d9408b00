package presence

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
)

// Config configures a gateway's presence.
type Config struct {
	Pool *pgxpool.Pool
	Name string // "host address (process)", as shown in the table terasocket.gateways

	PublicURL string // what its logins put before /wss/..., for operators; "": as the request says

	Lease time.Duration // the clients of a dead gateway are announced offline within this time; 10 s
	Grace time.Duration // how long a client may be away before it is announced offline; 0: not at all
	Sweep time.Duration // interval of sweeps; 1 s, or a tenth of Lease if that is less
	Log   *slog.Logger
}

// Registry holds the sockets of this gateway. Register it first, then Run it; Connected may be called at any time.
type Registry struct {
	Config

	wake    chan struct{} // capacity 1: the queue is not empty
	writing sync.Mutex    // one flush at a time
	beating sync.Mutex    // one beat at a time

	mu      sync.Mutex
	gateway string // id of the registration; "": none
	last    int64  // number of the newest socket
	sockets map[*socket]struct{}
	queue   []*socket // what the database has not recorded yet
	batch   int       // sockets per statement
	held    span      // the lease
}

// socket is an open socket, or a closed one that the database has not recorded as closed.
type socket struct {
	number     int64 // in this gateway
	who        access.Principal
	clientName string
	addr       string

	// guarded by Registry.mu
	tried     bool // the database may have recorded it, or may yet
	told      bool // the database has recorded it
	gone      bool // it is closed
	onPurpose bool
	queued    bool // it is in the queue, or being written
}

// open reports whether s must be reported open; ended, whether it must be reported closed. One that closed while it was unknown whether
// it was recorded is reported open again first: otherwise a statement in progress could record it after its end.
func (s *socket) open() bool  { return !s.told && (!s.gone || s.tried) }
func (s *socket) ended() bool { return s.told && s.gone }

// New returns a registry without sockets.
func New(c Config) *Registry {
	if c.Lease <= 0 {
		c.Lease = 10 * time.Second
	}
	if c.Sweep <= 0 {
		c.Sweep = min(time.Second, c.Lease/10)
	}
	return &Registry{Config: c, wake: make(chan struct{}, 1), sockets: make(map[*socket]struct{}), batch: maxBatch}
}

// Connected notes an open socket (ws.Presence). The caller calls left once, when it is closed; onPurpose: the client was kicked or logged
// out, so there is no grace. Neither waits.
func (r *Registry) Connected(who access.Principal, clientName, addr string) (left func(onPurpose bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	s := &socket{number: r.last, who: who, clientName: clientName, addr: addr}
	r.sockets[s] = struct{}{}
	r.enqueue(s)
	return func(onPurpose bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		s.gone, s.onPurpose = true, onPurpose
		delete(r.sockets, s)
		r.enqueue(s)
	}
}

// enqueue must be called with r.mu held.
func (r *Registry) enqueue(s *socket) {
	if s.queued || !s.open() && !s.ended() {
		return
	}
	s.queued = true
	r.queue = append(r.queue, s)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run reports to the database, renews the lease and sweeps, until ctx ends. It returns nil: errors are logged and retried.
func (r *Registry) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { r.write(ctx); return nil })
	group.Go(func() error { every(ctx, r.Lease/3, r.beat); return nil })
	group.Go(func() error { every(ctx, r.Sweep, r.sweep); return nil })
	return group.Wait()
}

func every(ctx context.Context, d time.Duration, do func(context.Context)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do(ctx)
		}
	}
}

// Handover reports every closed socket to the database, and releases the lease if none is left, so that others need not wait for it to
// expire. Call it after the last socket has closed. Error: that of ctx, or why the lease is kept; it then expires by itself.
func (r *Registry) Handover(ctx context.Context) error {
	for {
		left, err := r.flush(ctx)
		switch {
		case err == nil && left == 0:
			return r.leave(ctx)
		case err != nil && !sleep(ctx, firstPause):
			return err
		}
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
