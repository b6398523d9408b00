package ws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

// Source gives the events of the log.
type Source interface {
	// Next waits for events and returns some in the order of their commits, each once. After an error it can be called
	// again and goes on where it was; after ErrBroken behind a gap.
	Next(ctx context.Context) ([]event.Event, error)
}

// ErrBroken says that events are missing, and that the Source cannot say which.
var ErrBroken = errors.New("events are missing")

// Audience answers who holds routing keys.
type Audience interface {
	// Audiences gives for each key the principals that hold it now. It is all or an error.
	Audiences(ctx context.Context, keys []string) ([][]access.Principal, error)
}

// Waits of the dispatcher.
const (
	audienceWait = 30 * time.Second // for one answer
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// Dispatcher takes events from the log to the hub. All fields are needed. There is one per hub.
//
// It asks for the audience of a whole batch at once, and delivers the batch in order. While the question fails, nobody
// gets anything: the batch is kept and asked for again until there is an answer.
type Dispatcher struct {
	Source   Source
	Audience Audience
	Hub      *Hub
	Log      *slog.Logger
	Metrics  *Metrics
}

// Run dispatches until ctx ends, and then returns nil.
func (d *Dispatcher) Run(ctx context.Context) error {
	var last uint64
	var pause backoff
	for ctx.Err() == nil {
		batch, err := d.Source.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrBroken) {
			d.Log.Error("events are missing, all sockets are closed to resume", "op", "next", "sockets", d.Hub.closeAll(CloseInternal), "err", err)
			continue
		}
		if err != nil {
			d.Metrics.sourceErrors.Inc()
			d.Log.Error("next events not read, trying again", "op", "next", "err", err)
			pause.wait(ctx)
			continue
		}
		pause.reset()
		audiences, err := d.audiences(ctx, batch)
		if err != nil {
			break // ctx ended
		}
		for i := range batch {
			d.dispatch(&batch[i], audiences)
			// The second event of a row tells a part of the audience that the object is gone for them. It is not.
			if batch[i].Seq != last {
				d.cutOff(&batch[i])
			}
			last = batch[i].Seq
		}
	}
	return nil
}

// audiences asks until it is answered; the error is that of ctx.
func (d *Dispatcher) audiences(ctx context.Context, batch []event.Event) (map[string][]access.Principal, error) {
	keys := routingKeys(batch)
	if len(keys) == 0 {
		return nil, nil
	}
	var pause backoff
	for {
		if d.Hub.Len() == 0 {
			return nil, nil
		}
		answer, err := d.ask(ctx, keys)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d.Metrics.audienceErrors.Inc()
		d.Log.Error("audience not known, nothing delivered, asking again", "op", "audience", "event", batch[0].Seq, "err", err)
		if !pause.wait(ctx) {
			return nil, ctx.Err()
		}
	}
}

func (d *Dispatcher) ask(ctx context.Context, keys []string) (map[string][]access.Principal, error) {
	ctx, cancel := context.WithTimeout(ctx, audienceWait)
	defer cancel()
	began := time.Now()
	defer func() { d.Metrics.audienceTime.Observe(time.Since(began).Seconds()) }()
	return askFor(ctx, d.Audience, keys)
}

// askFor gives the audience of each key.
func askFor(ctx context.Context, audience Audience, keys []string) (map[string][]access.Principal, error) {
	answer, err := audience.Audiences(ctx, keys)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(keys) {
		return nil, fmt.Errorf("%d answers to %d routing keys", len(answer), len(keys))
	}
	audiences := make(map[string][]access.Principal, len(keys))
	for i, key := range keys {
		audiences[key] = answer[i]
	}
	return audiences, nil
}

// routingKeys are the distinct keys of a batch. "" is nobody and never asked for.
func routingKeys(batch []event.Event) []string {
	var keys []string
	seen := map[string]bool{"": true}
	for i := range batch {
		for _, key := range [...]string{batch[i].To, batch[i].NotTo} {
			if batch[i].To != "" && !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func (d *Dispatcher) dispatch(e *event.Event, audiences map[string][]access.Principal) {
	d.Metrics.dispatched.WithLabelValues(sourceOf(e.Topic), typeName(e)).Inc()
	if e.To == "" {
		return
	}
	if d.Hub.Deliver(NewFrames(e), audiences[e.To], audiences[e.NotTo]) > 0 {
		d.Metrics.commitToWrite.Observe(max(0, time.Since(e.At).Seconds()))
	}
}

func typeName(e *event.Event) string {
	if e.Message == nil {
		return "none"
	}
	return string(e.Message.ProtoReflect().Descriptor().Name())
}

// backoff doubles from firstPause to longestPause, each time half of it at random.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(firstPause, 2*b.next), longestPause)
	return sleep(ctx, b.next/2+rand.N(b.next/2+1))
}
