package standin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/proto/opentera"
)

const (
	messagesTopic = "module.TeraServer.UserManagerModule.messages"
	eventsTopic   = "module.TeraServer.UserManagerModule.events"
	rpcTopic      = "module.TeraServer.UserManagerModule.rpc"
)

// Timing holds the delays of OpenTera. The zero value is what was measured.
type Timing struct {
	Deaf    []time.Duration // how long the user manager is deaf after the first fault, the second, ...; the last for all others: 6 s, 13 s, ... 120 s
	Keys    time.Duration   // from start to its keys: 1.9 s
	Listens time.Duration   // from start to its user manager: 2.2 s
	Between time.Duration   // from the subscription to .messages to that to .rpc: nothing
}

// Fast is a Timing for tests.
var Fast = Timing{Deaf: []time.Duration{100 * time.Millisecond}, Keys: 20 * time.Millisecond, Listens: 40 * time.Millisecond}

// UserManager is OpenTera's user manager, with the keys that OpenTera keeps in Redis while it runs. It uses a real redis-server
// and has the faults of the real one:
//
//   - whatever makes it raise (invalid protobuf, an unknown or deleted user) drops its connection to Redis: it is deaf for a
//     while, longer each time, and messages are lost meanwhile. The real one accepts a CONNECTED or DISCONNECTED of an unknown
//     principal; this one raises there as well, so that a test sees it (Raised);
//   - it subscribes to .messages before .rpc;
//   - it repeats each CONNECTED, also for somebody who is already online;
//   - Stop is FLUSHDB; Start makes new keys, subscribes later, and begins with nobody online.
//
// Its methods are safe for concurrent use.
type UserManager struct {
	timing Timing
	people People
	log    *slog.Logger
	client *redis.Client

	life sync.Mutex // serializes Start, Stop and Crash
	end  func()     // nil: not running
	done chan struct{}

	mu     sync.Mutex
	state  map[string]*registry // by kind
	raised int
	lost   int // number of lost connections
	hears  bool
	drop   func() // drops the connection; nil: none
}

// NewUserManager returns the user manager of an OpenTera with the Redis at url (redis://...) and these people. It does not run
// before Start. The caller calls Close.
func NewUserManager(url string, people People, timing Timing, log *slog.Logger) (*UserManager, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("the user manager: %w", err)
	}
	options.DisableIdentity, options.Protocol = true, 2
	if timing.Deaf == nil {
		timing.Deaf = []time.Duration{6 * time.Second, 13 * time.Second, 27 * time.Second, 55 * time.Second, 111 * time.Second, 120 * time.Second}
	}
	if timing.Keys == 0 {
		timing.Keys = 1900 * time.Millisecond
	}
	if timing.Listens == 0 {
		timing.Listens = 2200 * time.Millisecond
	}
	return &UserManager{timing: timing, people: people, log: log, client: redis.NewClient(options), state: registries()}, nil
}

// Start starts OpenTera and returns at once: keys and user manager follow (Timing). ctx bounds nothing else.
func (m *UserManager) Start(ctx context.Context) {
	m.life.Lock()
	defer m.life.Unlock()
	if m.end != nil {
		return
	}
	m.mu.Lock()
	m.state, m.lost = registries(), 0
	m.mu.Unlock()
	ctx, m.end = context.WithCancel(context.WithoutCancel(ctx))
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
}

// Stop stops OpenTera as systemd does: the user manager unsubscribes, and its Redis database is emptied.
func (m *UserManager) Stop(ctx context.Context) error {
	m.Crash()
	if err := m.client.FlushDB(ctx).Err(); err != nil {
		return fmt.Errorf("stop OpenTera: %w", err)
	}
	return nil
}

// Crash stops it abruptly: its keys stay.
func (m *UserManager) Crash() {
	m.life.Lock()
	defer m.life.Unlock()
	if m.end == nil {
		return
	}
	m.end()
	<-m.done
	m.end = nil
}

// Close stops it and closes its connections.
func (m *UserManager) Close() {
	m.Crash()
	_ = m.client.Close()
}

// Deafen makes it raise, and so deaf for as long as Timing says.
func (m *UserManager) Deafen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drop != nil {
		m.drop()
	}
}

// Hears reports whether it is subscribed to all its topics.
func (m *UserManager) Hears() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hears
}

// Raised returns how often a message made it raise.
func (m *UserManager) Raised() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.raised
}

// run is one life, from Start until ctx ends.
func (m *UserManager) run(ctx context.Context) {
	if !sleep(ctx, m.timing.Keys) {
		return
	}
	for m.makeKeys(ctx) != nil { // Redis is down
		if !sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
	if !sleep(ctx, m.timing.Listens-m.timing.Keys) {
		return
	}
	for ctx.Err() == nil {
		err := m.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		deaf := m.timing.Deaf[min(m.lost, len(m.timing.Deaf)-1)]
		m.lost++
		m.mu.Unlock()
		m.log.Warn("the user manager is deaf", "for", deaf, "err", err)
		if !sleep(ctx, deaf) {
			return
		}
	}
}

// listen handles messages until its connection is lost, it raises, or ctx ends.
func (m *UserManager) listen(ctx context.Context) error {
	heard, drop := context.WithCancel(ctx)
	defer drop()
	sub := m.client.Subscribe(heard)
	defer sub.Close()
	stop := context.AfterFunc(heard, func() { _ = sub.Close() })
	defer stop()
	// patterns without a wildcard, as in the real one; each is active once Redis has confirmed it
	for _, topic := range []string{messagesTopic, rpcTopic} {
		if err := sub.PSubscribe(heard, topic); err != nil {
			return err
		}
		if _, err := sub.Receive(heard); err != nil {
			return err
		}
		if topic == messagesTopic && !sleep(heard, m.timing.Between) {
			return heard.Err()
		}
	}
	m.mu.Lock()
	m.hears, m.drop = true, drop
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.hears, m.drop = false, nil
		m.mu.Unlock()
	}()
	for {
		received, err := sub.Receive(heard)
		if err != nil {
			return err
		}
		message, ok := received.(*redis.Message)
		if !ok {
			continue
		}
		if message.Pattern == rpcTopic {
			err = m.answer(heard, []byte(message.Payload))
		} else {
			err = m.take(heard, []byte(message.Payload))
		}
		if err != nil {
			var raised *fault
			if errors.As(err, &raised) && heard.Err() == nil {
				m.mu.Lock()
				m.raised++
				m.mu.Unlock()
			}
			return err
		}
	}
}

// fault is an error that makes the real one raise.
type fault struct{ error }

func (f *fault) Unwrap() error { return f.error }

// say publishes an event on UM.events, one event a message.
func (m *UserManager) say(ctx context.Context, event proto.Message) error {
	return publish(ctx, m.client, eventsTopic, TeraEvent(eventsTopic, event))
}

// TeraEvent wraps events as services and modules publish them on event topics.
func TeraEvent(topic string, events ...proto.Message) *opentera.TeraEvent {
	return &opentera.TeraEvent{Header: &opentera.TeraEvent_Header{Version: 1, Time: now(), Topic: topic}, Events: anys(events)}
}

// ModuleMessage wraps messages as services and modules publish them on message topics.
func ModuleMessage(source, dest string, data ...proto.Message) *opentera.TeraModuleMessage {
	return &opentera.TeraModuleMessage{Head: &opentera.TeraModuleMessage_Header{Version: 1, Time: now(), Source: source, Dest: dest}, Data: anys(data)}
}

func anys(messages []proto.Message) (list []*anypb.Any) {
	for _, message := range messages {
		a, err := anypb.New(message)
		if err != nil {
			panic(err) // invalid UTF-8 from a test or the demo
		}
		list = append(list, a)
	}
	return list
}

func publish(ctx context.Context, client *redis.Client, topic string, message proto.Message) error {
	bytes, err := proto.Marshal(message)
	if err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	if err := client.Publish(ctx, topic, bytes).Err(); err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	return nil
}

func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
