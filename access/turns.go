package access

import (
	"context"
	"slices"
	"sync"
)

// Places in the password queue. A turn takes about 200 ms, so the queue is a few seconds long.
const (
	passwordQueue   = 16     // of addresses without a successful login
	knownQueue      = 32     // of addresses with one
	addressPlaces   = 2      // of one address, including the current turn
	knownPlaces     = 8      // of one known address
	usernamePlaces  = 2      // of one username
	knownAddresses  = 10_000 // remembered; at most twice as many
	unknown, known  = 0, 1   // the two queues
	noAddress, none = "", "" // all clients of unknown address share its places; an empty username has no limit
)

// turns serves waiters one at a time, first come first served, from two alternating queues: one for addresses with a successful login,
// one for all others. Nobody can fill it for the others: an address, and a username, has few places, and strangers have none in the queue
// of known addresses.
type turns struct {
	mu       sync.Mutex
	isTaken  bool
	last     int // the queue that had the last turn
	queues   [2][]*waiter
	address  map[string]int // places taken, including the current turn
	username map[string]int

	recent, older map[string]struct{} // known addresses
}

type waiter struct {
	turn chan struct{} // closed when its turn has come
}

// welcome remembers an address with a successful login.
func (t *turns) welcome(address string) {
	if address == noAddress {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.recent) >= knownAddresses || t.recent == nil {
		t.older, t.recent = t.recent, map[string]struct{}{}
	}
	t.recent[address] = struct{}{}
}

func (t *turns) isKnown(address string) bool {
	_, isRecent := t.recent[address]
	_, isOlder := t.older[address]
	return isRecent || isOlder
}

// wait returns when it is the caller's turn; done ends the turn. Errors: ErrBusy, or ctx's.
func (t *turns) wait(ctx context.Context, address, username string) (done func(), err error) {
	w, queue, err := t.join(address, username)
	if err != nil {
		return nil, err
	}
	select {
	case <-w.turn:
	case <-ctx.Done():
		t.giveUp(w, queue, address, username)
		return nil, ctx.Err()
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.leave(address, username)
		t.next()
	}, nil
}

func (t *turns) join(address, username string) (w *waiter, queue int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue, places, most := unknown, addressPlaces, passwordQueue
	if t.isKnown(address) {
		queue, places, most = known, knownPlaces, knownQueue
	}
	switch {
	case len(t.queues[queue]) >= most,
		address != noAddress && t.address[address] >= places,
		username != none && t.username[username] >= usernamePlaces:
		return nil, 0, ErrBusy
	}
	if t.address == nil {
		t.address, t.username = map[string]int{}, map[string]int{}
	}
	t.address[address]++
	t.username[username]++
	w = &waiter{make(chan struct{})}
	t.queues[queue] = append(t.queues[queue], w)
	if !t.isTaken {
		t.next()
	}
	return w, queue, nil
}

// giveUp removes a waiter, or ends its turn if that came at the same moment.
func (t *turns) giveUp(w *waiter, queue int, address, username string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leave(address, username)
	if i := slices.Index(t.queues[queue], w); i >= 0 {
		t.queues[queue] = slices.Delete(t.queues[queue], i, i+1)
	} else {
		t.next()
	}
}

// leave, like next, must be called with mu held.
func (t *turns) leave(address, username string) {
	for _, count := range []struct {
		of  map[string]int
		key string
	}{{t.address, address}, {t.username, username}} {
		if count.of[count.key]--; count.of[count.key] == 0 {
			delete(count.of, count.key)
		}
	}
}

func (t *turns) next() {
	queue := 1 - t.last
	if len(t.queues[queue]) == 0 {
		queue = t.last
	}
	if t.isTaken = len(t.queues[queue]) > 0; !t.isTaken {
		return
	}
	first := t.queues[queue][0]
	t.queues[queue] = slices.Delete(t.queues[queue], 0, 1)
	t.last = queue
	close(first.turn)
}
