package ws

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

// Reasons to refuse a socket.
var (
	ErrDraining = errors.New("the hub is draining")
	ErrKicked   = errors.New("kicked while connecting")
	ErrNotReady = errors.New("the event log is not read yet, or is begun anew")

	ErrTooManySockets = errors.New("too many sockets of one principal")
)

// Hub tracks the sockets of each principal and what it may see. All methods are safe for concurrent use, except that only the
// Dispatcher calls Dispatch and begin.
//
// mu is never held while waiting for a client, the database or the encoding of a large event. Dispatch writes to sockets under
// delivering, so that the order of events is the same on every socket.
type Hub struct {
	PerPrincipal int // sockets of one principal; 0 = no limit. Set before use

	standings Standings
	log       *slog.Logger
	metrics   *Metrics

	delivering sync.Mutex // held by one Dispatch or round of cursors at a time
	waiting    fanOut     // queued by this Dispatch
	lookUps    sync.WaitGroup

	mu         sync.Mutex
	generation int // number of calls of begin
	isBegun    bool
	epoch      uint64
	last       uint64 // last dispatched seq
	index      *access.Index
	rooms      map[access.Principal]*room
	arrivals   arrivals
	moved      chan struct{} // closed when last moves; nil: nobody waits
	kicks      kicks

	conns    map[*Conn]struct{}
	byKind   [len(access.Kinds) + 1]int
	draining bool
	empty    chan struct{} // closed when draining and no socket is left
}

// room is a principal with sockets. It is joining until its rights are known, then live: it is in the index and receives
// events. Guarded by Hub.mu.
type room struct {
	principal access.Principal
	conns     []*Conn
	from      uint64 // rows up to this seq neither reach it nor change it
	isLive    bool
	losses    atomic.Uint64 // Rights events that took a tag from it; read without the lock

	known chan struct{} // closed when the room is live or has failed
	err   error         // why it failed
}

// NewHub returns a hub without sockets. It accepts none before the Dispatcher has begun.
func NewHub(standings Standings, log *slog.Logger, metrics *Metrics) *Hub {
	h := &Hub{
		standings: standings, log: log, metrics: metrics,
		waiting: newFanOut(),
		index:   access.NewIndex(nil),
		rooms:   make(map[access.Principal]*room),
		conns:   make(map[*Conn]struct{}),
		empty:   make(chan struct{}),
	}
	metrics.watch(h)
	return h
}

// begin accepts sockets from now on and expects the events after b.
func (h *Hub) begin(b event.Beginning) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.generation++
	if b.Epoch != h.epoch {
		h.kicks = kicks{} // token counters of another epoch
	}
	h.isBegun, h.epoch, h.last = true, b.Epoch, b.Seq
	h.index = access.NewIndex(b.Aliases)
}

// interrupt closes all sockets, since events are missing, accepts none until begin, and returns how many it closed.
func (h *Hub) interrupt() int {
	h.mu.Lock()
	h.isBegun = false
	for _, r := range h.rooms {
		h.evict(r, ErrNotReady)
	}
	all := h.all()
	h.mu.Unlock()
	n := 0
	for _, c := range all {
		if c.Close(CloseInternal) {
			n++
		}
	}
	return n
}

// evict ends deliveries to a room. Its sockets stay open until they are closed.
func (h *Hub) evict(r *room, err error) {
	delete(h.rooms, r.principal)
	if r.isLive {
		h.index.Remove(r.principal)
	} else {
		h.arrivals.end()
		r.err = err
		close(r.known)
	}
	r.isLive = false
}

// begun reports whether sockets are accepted, and the generation.
func (h *Hub) begun() (generation int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation, h.isBegun
}

// Ready reports whether sockets are accepted: the Dispatcher has begun, and Drain was not called.
func (h *Hub) Ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.isBegun && !h.draining
}

// remove forgets a socket that has ended or was never opened.
func (h *Hub) remove(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, isThere := h.conns[c]; !isThere {
		return
	}
	delete(h.conns, c)
	h.count(c.Identity.Kind, -1)
	if c.room.leave(c) == 0 && c.room.isLive {
		h.evict(c.room, nil)
	}
	if h.draining && len(h.conns) == 0 {
		close(h.empty)
	}
}

// leave removes a socket and returns how many are left.
func (r *room) leave(c *Conn) int {
	if i := slices.Index(r.conns, c); i >= 0 {
		r.conns = slices.Delete(slices.Clone(r.conns), i, i+1) // a copy: a caller may be iterating over the old slice
	}
	return len(r.conns)
}

func (h *Hub) count(kind access.Kind, n int) {
	h.byKind[kind] += n
	h.metrics.connections[kind].Add(float64(n))
}

// Len is the number of sockets.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// LenOf is the number of sockets of one kind.
func (h *Hub) LenOf(kind access.Kind) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byKind[kind]
}

func (h *Hub) all() []*Conn {
	return slices.Collect(maps.Keys(h.conns))
}

// backlog is the number of bytes waiting for all sockets.
func (h *Hub) backlog() int {
	h.mu.Lock()
	conns := h.all()
	h.mu.Unlock()
	n := 0
	for _, c := range conns {
		n += c.waiting()
	}
	return n
}

func (h *Hub) indexSize() (principals, tags int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.index.Size()
}

// reach waits until seq is dispatched, and returns the state at that moment or later, and its seq.
func (h *Hub) reach(ctx context.Context, seq uint64) (access.Moment, uint64, error) {
	for {
		h.mu.Lock()
		last, moment := h.last, h.index.Moment()
		if h.moved == nil {
			h.moved = make(chan struct{})
		}
		moved := h.moved
		h.mu.Unlock()
		if last >= seq {
			return moment, last, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return access.Moment{}, 0, ctx.Err()
		}
	}
}

// sees reports whether the principal of c satisfies the routing keys now, and whether it is superadmin; errClosing if deliveries to
// it have ended, and nobody knows.
func (h *Hub) sees(c *Conn, keys access.RoutingKeys) (ok, isSuperadmin bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !c.room.isLive {
		return false, false, errClosing
	}
	ok, isSuperadmin = h.index.Satisfies(c.room.principal, keys)
	return ok, isSuperadmin, nil
}

// Draining reports whether Drain was called.
func (h *Hub) Draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

// standing looks up what a principal holds, within standingWait.
func (h *Hub) standing(ctx context.Context, p access.Principal) (access.Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, standingWait)
	defer cancel()
	return h.standings.Standing(ctx, p)
}

const standingWait = 5 * time.Second
