package access

import (
	"context"
	"slices"
	"sync"
)

// Places in the queue of passwords. A turn takes about 200 ms, so that a queue is a few seconds long.
const (
	passwordQueue   = 16     // of addresses that nobody has come in from
	knownQueue      = 32     // of those that somebody has
	addressPlaces   = 2      // of one address; the turn itself counts
	knownPlaces     = 8      // of one that is known
	usernamePlaces  = 2      // of one username
	knownAddresses  = 10_000 // remembered; twice as many at most
	unknown, known  = 0, 1   // the two queues
	noAddress, none = "", "" // whose address is not known shares its places with all like it; who has no name has no limit
)

// turns gives one at a time its turn, in the order of their coming, by two queues that take turns: one of addresses from
// which somebody has come in, one of all others. Nobody can fill it for the others: an address, and a username, has few
// places, and strangers have none of those of who is known.
type turns struct {
	mu       sync.Mutex
	isTaken  bool
	last     int // whose queue had the last turn
	queues   [2][]*waiter
	address  map[string]int // places taken, the turn included
	username map[string]int

	recent, older map[string]struct{} // known addresses
}

type waiter struct {
	turn chan struct{} // closed when it has come
}

// welcome remembers an address that somebody has come in from.
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

// wait returns when it is the caller's turn, which done ends. Errors: ErrBusy, or ctx's.
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

// giveUp takes a waiter out, or ends the turn that came at the same moment.
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

// leave is called with mu held, as next is.
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
