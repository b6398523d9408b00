package bridge

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"
)

// Bounds of what waits.
const (
	streamMessages = 1 << 14
	streamBytes    = 16 << 20
	streamKeeps    = time.Minute // of a gateway that does not hold the bridge
	payloadBytes   = 1 << 20     // of one message
	topicBytes     = 256
)

// heard is one message from Redis.
type heard struct {
	topic, payload string
	at             time.Time
	isTooBig       bool // it is cut
}

func (h heard) size() int { return len(h.topic) + len(h.payload) }

// bounded is a message as it is kept: one that is too big only to be counted. What answers us may be long.
func (h heard) bounded() heard {
	if strings.HasPrefix(h.topic, repliesTopic) || len(h.payload) <= payloadBytes && len(h.topic) <= topicBytes {
		return h
	}
	return heard{topic: strings.Clone(h.topic[:min(len(h.topic), topicBytes)]), at: h.at, isTooBig: true}
}

// mark is by what a message is known again: SHA-256 of topic and payload.
func (h heard) mark() [sha256.Size]byte {
	return sha256.Sum256([]byte(h.topic + "\x00" + h.payload))
}

// stream is what was heard and is not written yet, in order. Of the gateway that holds the bridge, whoever puts waits for room.
// The others keep the last minute, for the case that they take it. All methods may be called at once.
type stream struct {
	more, room chan struct{} // hold one: there is something, there is room

	mu       sync.Mutex
	waiting  []heard
	bytes    int
	before   int // so many were heard before the last outage
	isLeader bool
}

func newStream() *stream {
	return &stream{more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put appends. It waits while there is too much, as long as this gateway holds the bridge; the error is ctx's.
func (s *stream) put(ctx context.Context, h heard) error {
	h = h.bounded()
	for !s.tryPut(h) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.room:
		}
	}
	signal(s.more)
	return nil
}

func (s *stream) tryPut(h heard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isLeader && s.full() {
		return false
	}
	for !s.isLeader && len(s.waiting) > 0 && (s.full() || h.at.Sub(s.waiting[0].at) > streamKeeps) {
		s.drop(1)
	}
	s.waiting = append(s.waiting, h)
	s.bytes += h.size()
	return true
}

// full says whether there is too much. The caller holds s.mu.
func (s *stream) full() bool { return len(s.waiting) >= streamMessages || s.bytes >= streamBytes }

// isFull says whether whoever puts waits for room.
func (s *stream) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isLeader && s.full()
}

// drop takes the first n away. The caller holds s.mu.
func (s *stream) drop(n int) {
	for i := range n {
		s.bytes -= s.waiting[i].size()
		s.waiting[i] = heard{}
	}
	if s.waiting = s.waiting[n:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
	s.before = max(0, s.before-n)
}

// take waits for something and gives the first messages, at most n; they stay until done. The error is ctx's.
func (s *stream) take(ctx context.Context, n int) ([]heard, error) {
	for {
		s.mu.Lock()
		batch := append([]heard(nil), s.waiting[:min(n, len(s.waiting))]...)
		s.mu.Unlock()
		if len(batch) > 0 {
			return batch, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.more:
		}
	}
}

// done says that the first n are written.
func (s *stream) done(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(n)
	signal(s.room)
}

// lead says that this gateway holds the bridge now, and mark what was written last: what is known to be written goes. When it is not
// among what was heard, another gateway has written it, and what this one heard before its last outage too; unless isAgain: nobody
// else has held the bridge since this one did.
func (s *stream) lead(mark []byte, isAgain bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isLeader = true
	written := 0
	if !isAgain {
		written = s.before
	}
	for i, h := range s.waiting {
		if m := h.mark(); string(m[:]) == string(mark) {
			written = i + 1
			break
		}
	}
	s.drop(written)
	signal(s.more)
}

// follow says that it does not any more.
func (s *stream) follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isLeader = false
	signal(s.room)
}

// broken says that something may be missing behind what was put.
func (s *stream) broken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = len(s.waiting)
}
