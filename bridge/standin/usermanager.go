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

// Topics of OpenTera's user manager.
const (
	messagesTopic = "module.TeraServer.UserManagerModule.messages"
	eventsTopic   = "module.TeraServer.UserManagerModule.events"
	rpcTopic      = "module.TeraServer.UserManagerModule.rpc"
)

// Timing is how long OpenTera takes for what. The zero value is what was measured.
type Timing struct {
	Deaf    []time.Duration // how long its user manager hears nothing after the first fault, the second, ...; the last for all others: 6 s, 13 s, ... 120 s
	Keys    time.Duration   // from a start to its keys: 1.9 s
	Listens time.Duration   // from a start to its user manager: 2.2 s
	Between time.Duration   // between its subscription to .messages and that to .rpc: nothing
}

// Fast is a Timing for tests that do not want to wait.
var Fast = Timing{Deaf: []time.Duration{100 * time.Millisecond}, Keys: 20 * time.Millisecond, Listens: 40 * time.Millisecond}

// UserManager is OpenTera's user manager, with the keys that OpenTera has in Redis while it runs. It speaks through a real
// redis-server, with the faults of the real one:
//
//   - whatever makes it raise (bytes that are no protobuf, a user that is unknown or deleted) drops its connection to Redis:
//     it is deaf for a while, longer each time, and what comes meanwhile is lost. The real one takes a CONNECTED or
//     DISCONNECTED of somebody unknown; this one raises there as well, so that a test sees it (Raised);
//   - it listens to .messages before it listens to .rpc;
//   - it says each CONNECTED again, also of somebody who is online already;
//   - Stop is FLUSHDB; Start makes new keys, later listens, and nobody is online.
//
// Its methods may be called by several goroutines.
type UserManager struct {
	timing Timing
	people People
	log    *slog.Logger
	client *redis.Client

	life sync.Mutex // Start, Stop and Crash, one at a time
	end  func()     // nil: it does not run
	done chan struct{}

	mu     sync.Mutex
	state  map[string]*registry // by kind
	raised int
	lost   int // times that its connection was
	hears  bool
	drop   func() // drops the connection; nil: there is none
}

// NewUserManager makes the user manager of the OpenTera whose Redis is at url (redis://...) and whose people are these.
// It does not run before Start. The caller closes it.
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

// Start starts OpenTera, and returns at once: keys and user manager come later (Timing). ctx bounds nothing else.
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

// Stop ends OpenTera as systemd does: its user manager hears nothing more, and its database in Redis is emptied.
func (m *UserManager) Stop(ctx context.Context) error {
	m.Crash()
	if err := m.client.FlushDB(ctx).Err(); err != nil {
		return fmt.Errorf("stop OpenTera: %w", err)
	}
	return nil
}

// Crash ends it without a word: its keys stay.
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

// Close ends it and its connections.
func (m *UserManager) Close() {
	m.Crash()
	_ = m.client.Close()
}

// Deafen makes it raise: deaf for as long as Timing says.
func (m *UserManager) Deafen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drop != nil {
		m.drop()
	}
}

// Hears says whether it is subscribed to all that it listens to.
func (m *UserManager) Hears() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hears
}

// Raised is how often what it was sent made it raise.
func (m *UserManager) Raised() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.raised
}

// run is one life, from a start to ctx's end.
func (m *UserManager) run(ctx context.Context) {
	if !sleep(ctx, m.timing.Keys) {
		return
	}
	for m.makeKeys(ctx) != nil { // Redis is away
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

// listen hears until its connection is lost, it raises, or ctx ends.
func (m *UserManager) listen(ctx context.Context) error {
	heard, drop := context.WithCancel(ctx)
	defer drop()
	sub := m.client.Subscribe(heard)
	defer sub.Close()
	stop := context.AfterFunc(heard, func() { _ = sub.Close() })
	defer stop()
	// patterns without a wildcard, as it does; each is there when Redis has said so
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

// fault is what makes the real one raise: what it was sent.
type fault struct{ error }

func (f *fault) Unwrap() error { return f.error }

// say publishes on UM.events, one event a message.
func (m *UserManager) say(ctx context.Context, event proto.Message) error {
	return publish(ctx, m.client, eventsTopic, TeraEvent(eventsTopic, event))
}

// TeraEvent is what services and modules publish on topics of events: the events in their envelope.
func TeraEvent(topic string, events ...proto.Message) *opentera.TeraEvent {
	return &opentera.TeraEvent{Header: &opentera.TeraEvent_Header{Version: 1, Time: now(), Topic: topic}, Events: anys(events)}
}

// ModuleMessage is what services and modules publish on topics of messages.
func ModuleMessage(source, dest string, data ...proto.Message) *opentera.TeraModuleMessage {
	return &opentera.TeraModuleMessage{Head: &opentera.TeraModuleMessage_Header{Version: 1, Time: now(), Source: source, Dest: dest}, Data: anys(data)}
}

func anys(messages []proto.Message) (list []*anypb.Any) {
	for _, message := range messages {
		a, err := anypb.New(message)
		if err != nil {
			panic(err) // a string that is not UTF-8 in what a test or the demo made
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

// sleep reports whether ctx lasts longer.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
