package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// subscription receives what OpenTera publishes and puts it into the stream. One goroutine receives, and waits while the stream
// is full; Redis then closes the connection of such a slow subscriber, which is an outage like any other.
type subscription struct {
	Config
	stream  *stream
	replies string // topic of answers to this process

	broken chan struct{} // capacity 1: subscribed again after an outage

	mu     sync.Mutex
	sub    *redis.PubSub            // nil: not subscribed
	gone   chan struct{}            // closed when sub ends
	down   time.Time                // since when it is not subscribed
	why    error                    // why not
	heard  time.Time                // last message from Redis
	passed map[string]chan struct{} // by nonce: closed when Redis has echoed it
}

func newSubscription(c Config, s *stream) *subscription {
	return &subscription{Config: c, stream: s, replies: repliesTopic + rand.Text(), broken: make(chan struct{}, 1),
		down: time.Now(), why: errors.New("not subscribed to Redis yet"), passed: make(map[string]chan struct{})}
}

// run subscribes again and again until ctx ends.
func (s *subscription) run(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		began := time.Now()
		err := s.listen(ctx)
		if s.ended(err) && ctx.Err() == nil {
			s.Metrics.outages.Inc()
			s.Log.Warn("the subscription to Redis is lost, subscribing again; what is published meanwhile is lost", "op", "redis", "err", err)
			pause = firstPause
		} else if ctx.Err() == nil && time.Since(began) < longestPause {
			s.Log.Debug("cannot subscribe to Redis, trying again", "op", "redis", "err", err)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// listen receives until the connection is lost or ctx ends.
func (s *subscription) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub := s.Redis.Subscribe(ctx)
	defer sub.Close()
	unblock := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer unblock()
	if err := sub.PSubscribe(ctx, patterns...); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := sub.Subscribe(ctx, append([]string{s.replies}, subscribed...)...); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	watch := make(chan struct{})
	s.said()
	go func() { defer close(watch); s.watch(ctx, sub, cancel) }()
	defer func() { cancel(); <-watch }()
	topics := len(patterns) + len(subscribed) + 1
	for confirmed := 0; ; {
		received, err := sub.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		s.said()
		switch r := received.(type) {
		case *redis.Subscription:
			switch confirmed++; {
			case confirmed == topics:
				s.began(sub)
			case confirmed > topics:
				return errors.New("receive: the connection is another, which was subscribed anew")
			}
		case *redis.Pong:
			s.pass(r.Payload)
		case *redis.Message:
			if err := s.stream.put(ctx, heard{topic: r.Channel, payload: r.Payload, at: time.Now()}); err != nil {
				return err
			}
			s.said() // time spent waiting for room is not Redis' fault
		}
	}
}

// watch pings Redis and ends the subscription if it does not answer.
func (s *subscription) watch(ctx context.Context, sub *redis.PubSub, end func()) {
	for sleep(ctx, s.Silence/5) {
		s.mu.Lock()
		silent := time.Since(s.heard)
		s.mu.Unlock()
		if silent > s.Silence && !s.stream.isFull() || sub.Ping(ctx) != nil { // after an error go-redis resubscribes without telling the receiver
			end()
			return
		}
	}
}

func (s *subscription) said() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

func (s *subscription) began(sub *redis.PubSub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sub, s.gone = sub, make(chan struct{})
	s.Metrics.outageSeconds.Add(time.Since(s.down).Seconds())
	s.Metrics.up.Set(1)
	s.why = nil
	signal(s.broken)
	s.Log.Info("subscribed to OpenTera's Redis", "op", "redis")
}

// ended records that it is not subscribed and returns whether it was.
func (s *subscription) ended(err error) (wasUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wasUp = s.sub != nil
	if wasUp {
		s.down = time.Now()
		close(s.gone)
	}
	s.sub, s.why = nil, err
	s.Metrics.up.Set(0)
	s.stream.broken()
	return wasUp
}

func (s *subscription) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// ends returns a channel that is closed when the current subscription ends.
func (s *subscription) ends() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// catchUp returns once everything published before the call is in the stream.
func (s *subscription) catchUp(ctx context.Context) error {
	nonce, passed := rand.Text(), make(chan struct{})
	s.mu.Lock()
	sub := s.sub
	s.passed[nonce] = passed
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.passed, nonce)
	}()
	if sub == nil {
		return errors.New("not subscribed to Redis")
	}
	if err := sub.Ping(ctx, nonce); err != nil {
		_ = sub.Close() // as in watch
		return fmt.Errorf("ask Redis: %w", err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-passed:
		return nil
	}
}

func (s *subscription) pass(nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if passed := s.passed[nonce]; passed != nil {
		close(passed)
		delete(s.passed, nonce)
	}
}
