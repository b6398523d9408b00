package ws

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"terasocket/access"
)

// Reasons not to Add a socket.
var (
	ErrDraining = errors.New("the hub is draining")
	ErrKicked   = errors.New("kicked while connecting")

	ErrTooManySockets = errors.New("too many sockets of one principal")
)

// Hub knows the sockets of each principal. All methods may be called at once.
//
// Deliver runs one at a time, so that the order of the calls is the order on every socket. Nothing waits for a client
// under a lock: Add, Kick and the rest never wait for a Deliver to finish its writes.
type Hub struct {
	// Sees says whether a transaction had ended in a snapshot (Identity.Snapshot): a client that was let in after a kick
	// is not meant by it, however late it is heard of. nil, or false in doubt: every kick counts. To be set before use.
	Sees func(snapshot string, xid uint64) bool

	PerPrincipal int // sockets of one principal; 0 = no limit. To be set before use

	log     *slog.Logger
	metrics *Metrics

	delivering sync.Mutex // one Deliver; guards Conn.stamp as well
	stamp      uint64
	targets    []*Conn // of this Deliver; kept for its capacity

	mu       sync.RWMutex
	sockets  map[access.Principal][]*Conn
	byKind   [len(access.Kinds) + 1]int
	total    int
	kicks    kicks
	draining bool
	empty    chan struct{} // closed when draining and no socket is left
}

// NewHub makes a hub without sockets.
func NewHub(log *slog.Logger, metrics *Metrics) *Hub {
	h := &Hub{log: log, metrics: metrics, sockets: make(map[access.Principal][]*Conn), empty: make(chan struct{})}
	metrics.watch(h)
	return h
}

// Add makes c receive what is delivered to its principal from now on, though the client has no answer yet: then it
// misses nothing that happens after its connect. began is when the principal was still unknown; a Kick since then
// counts for c too, unless c was let in after it. Errors: ErrDraining, ErrKicked, ErrTooManySockets. Each Add is followed by one remove, when the socket has ended.
func (h *Hub) Add(c *Conn, began time.Time) error {
	p := c.Identity.Principal
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		return ErrDraining
	case h.isMeant(c, h.kicks.since(p, began)):
		return ErrKicked
	case h.PerPrincipal > 0 && len(h.sockets[p]) >= h.PerPrincipal:
		return ErrTooManySockets
	}
	h.sockets[p] = append(h.sockets[p], c)
	h.count(p.Kind, 1)
	return nil
}

func (h *Hub) remove(c *Conn) {
	p := c.Identity.Principal
	h.mu.Lock()
	defer h.mu.Unlock()
	sockets := h.sockets[p]
	i := slices.Index(sockets, c)
	if i < 0 {
		return
	}
	if len(sockets) == 1 {
		delete(h.sockets, p)
	} else {
		h.sockets[p] = slices.Delete(sockets, i, i+1)
	}
	h.count(p.Kind, -1)
	if h.draining && h.total == 0 {
		close(h.empty)
	}
}

func (h *Hub) count(kind access.Kind, n int) {
	h.total += n
	h.byKind[kind] += n
	h.metrics.connections[kind].Add(float64(n))
}

// Len is the number of sockets.
func (h *Hub) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.total
}

// LenOf is the number of sockets of one kind.
func (h *Hub) LenOf(kind access.Kind) int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byKind[kind]
}

// backlog is how many bytes wait for all sockets together.
func (h *Hub) backlog() int {
	h.mu.RLock()
	conns := make([]*Conn, 0, h.total)
	for _, sockets := range h.sockets {
		conns = append(conns, sockets...)
	}
	h.mu.RUnlock()
	n := 0
	for _, c := range conns {
		n += c.waiting()
	}
	return n
}

// Kick closes the sockets of p with CloseKicked, those that are still connecting too, and returns how many it closed.
// xid is the transaction that kicked them: sockets that were let in after it stay. 0 is none, and means all.
func (h *Hub) Kick(p access.Principal, xid uint64) int {
	h.mu.Lock()
	h.kicks.add(p, xid, time.Now())
	sockets := slices.Clone(h.sockets[p])
	h.mu.Unlock()
	n := 0
	for _, c := range sockets {
		if h.isMeant(c, []uint64{xid}) && c.Close(CloseKicked) {
			n++
		}
	}
	return n
}

// closeAll closes every socket there is, and returns how many it closed.
func (h *Hub) closeAll(code CloseCode) int {
	h.mu.RLock()
	var all []*Conn
	for _, sockets := range h.sockets {
		all = append(all, sockets...)
	}
	h.mu.RUnlock()
	n := 0
	for _, c := range all {
		if c.Close(code) {
			n++
		}
	}
	return n
}

// isMeant says whether one of these kicks may have come after c was let in.
func (h *Hub) isMeant(c *Conn, xids []uint64) bool {
	return slices.ContainsFunc(xids, func(xid uint64) bool {
		return xid == 0 || h.Sees == nil || !h.Sees(c.Identity.Snapshot, xid)
	})
}

// Draining reports whether Drain was called: no socket is added any more.
func (h *Hub) Draining() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.draining
}
