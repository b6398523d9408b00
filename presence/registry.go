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

// Config says how a gateway keeps presence.
type Config struct {
	Pool *pgxpool.Pool
	Name string // of the gateway: "host address (process)"; the table terasocket.gateways shows it

	PublicURL string // what its logins put before /wss/..., for operators; "" = what the request says

	Lease time.Duration // the clients of a gateway that dies are announced offline within this time; 10 s
	Grace time.Duration // how long a client may be away before it is announced offline; 0 = not at all
	Sweep time.Duration // how often to look for who is to be taken offline; 1 s, or a tenth of Lease when that is less
	Log   *slog.Logger
}

// Registry holds the sockets of this gateway. Register it first, then Run it; Connected may be called from the beginning.
type Registry struct {
	Config

	wake    chan struct{} // something is in the queue; holds one
	writing sync.Mutex    // one flush at a time
	beating sync.Mutex    // one beat at a time

	mu      sync.Mutex
	gateway string // as registered; "" = not
	last    int64  // number of the newest socket
	sockets map[*socket]struct{}
	queue   []*socket // what the database does not know yet
	batch   int       // how many of them with one statement
	held    span      // the lease
}

// socket is one that is open, or was and the database does not know that it is no more.
type socket struct {
	number     int64 // in this gateway
	who        access.Principal
	clientName string
	addr       string

	// guarded by Registry.mu
	tried     bool // the database may know that it is open, or come to know
	told      bool // and does
	gone      bool // it has ended
	onPurpose bool
	queued    bool // it is in the queue, or in the hands of the writer
}

// open says whether the database must be told that s is open; ended, that it is not any more. Of one that has ended while
// nobody knows whether it was told, it is told again first: what is still under way there would be recorded after its end.
func (s *socket) open() bool  { return !s.told && (!s.gone || s.tried) }
func (s *socket) ended() bool { return s.told && s.gone }

// New makes a registry without sockets.
func New(c Config) *Registry {
	if c.Lease <= 0 {
		c.Lease = 10 * time.Second
	}
	if c.Sweep <= 0 {
		c.Sweep = min(time.Second, c.Lease/10)
	}
	return &Registry{Config: c, wake: make(chan struct{}, 1), sockets: make(map[*socket]struct{}), batch: maxBatch}
}

// Connected notes an open socket (ws.Presence). The caller calls left once, when it has ended; onPurpose: the client was
// kicked or logged out, so there is no grace. Neither waits.
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

// enqueue is called with r.mu held.
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

// Run tells the database, renews the lease and sweeps, until ctx ends. It returns nil: what fails is logged and tried
// again.
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

// Handover tells the database of every socket that has ended, and gives the lease back when none is left: others need not
// wait for it to run out. Call it after the last socket has ended. Error: that of ctx, or why the lease stays; it then
// runs out by itself.
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

// sleep reports whether ctx lasts longer.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
