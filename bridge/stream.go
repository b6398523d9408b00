package bridge

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of the stream.
const (
	streamMessages = 1 << 14
	streamBytes    = 16 << 20
	streamKeeps    = time.Minute // on a gateway that does not hold the bridge
	payloadBytes   = 1 << 20     // of one message
	topicBytes     = 256
)

// heard is one message from Redis.
type heard struct {
	topic, payload string
	at             time.Time
	isTooBig       bool // its payload was dropped
}

func (h heard) size() int { return len(h.topic) + len(h.payload) }

// bounded drops the payload of a message that is too big, which is then only counted. Answers to us may be long.
func (h heard) bounded() heard {
	if strings.HasPrefix(h.topic, repliesTopic) || len(h.payload) <= payloadBytes && len(h.topic) <= topicBytes {
		return h
	}
	return heard{topic: strings.Clone(h.topic[:min(len(h.topic), topicBytes)]), at: h.at, isTooBig: true}
}

// mark identifies a message: SHA-256 of topic and payload.
func (h heard) mark() [sha256.Size]byte {
	return sha256.Sum256([]byte(h.topic + "\x00" + h.payload))
}

// stream holds the messages received and not yet written, in order. On the gateway that holds the bridge, put waits for room.
// The others keep the last minute, in case they take the bridge. All methods are safe for concurrent use.
type stream struct {
	more, room chan struct{} // capacity 1: there are messages, there is room

	mu       sync.Mutex
	waiting  []heard
	bytes    int
	before   int // number of messages received before the last outage
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

// put appends. If this gateway holds the bridge it waits while the stream is full. The error is ctx's.
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

// full reports whether a limit is reached. The caller holds s.mu.
func (s *stream) full() bool { return len(s.waiting) >= streamMessages || s.bytes >= streamBytes }

// isFull reports whether put waits for room.
func (s *stream) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isLeader && s.full()
}

// drop removes the first n. The caller holds s.mu.
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

// take waits for messages and returns the first, at most n; they stay until done. The error is ctx's.
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

// done removes the first n, which are written.
func (s *stream) done(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(n)
	signal(s.room)
}

// lead is called when this gateway has taken the bridge, and drops what is known to be written: messages up to the mark, but for one
// that is written in part, of which skip items are. If the mark is not among them, another gateway wrote that one, and those from before
// the last outage are passed over; unless nobody else has held the bridge in between.
func (s *stream) lead(from place) (skip, passed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isLeader = true
	defer signal(s.more)
	for i, h := range s.waiting {
		if m := h.mark(); string(m[:]) != string(from.mark) {
			continue
		}
		if from.part == 0 {
			i++
		}
		s.drop(i)
		return from.part, 0
	}
	if !from.isAgain {
		passed = s.before
		s.drop(passed)
	}
	return 0, passed
}

// holds reports whether a message of this topic waits, or is being written.
func (s *stream) holds(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.waiting, func(h heard) bool { return h.topic == topic })
}

// follow is called when this gateway no longer holds the bridge.
func (s *stream) follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isLeader = false
	signal(s.room)
}

// broken records that messages may be missing after the last one.
func (s *stream) broken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = len(s.waiting)
}
