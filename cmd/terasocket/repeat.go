package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Of warnings and errors that say the same.
const (
	repeatEvery = time.Minute
	repeatMost  = 1000 // texts that are remembered; then all are forgotten
)

// repeats is a slog.Handler that passes on a warning or an error once a minute: those that repeat its message, op and err
// within that time are counted, and told of with the next. What goes wrong goes wrong for everybody, and a log that says it
// for each hides everything else.
type repeats struct {
	slog.Handler
	memory *repeatMemory
}

type repeatMemory struct {
	now  func() time.Time
	mu   sync.Mutex
	seen map[repeatKey]*repeated
}

type repeatKey struct{ message, op, err string }

type repeated struct {
	at     time.Time
	hushed int
}

func onceAMinute(h slog.Handler) slog.Handler {
	return repeats{h, &repeatMemory{now: time.Now, seen: map[repeatKey]*repeated{}}}
}

func (r repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	return repeats{r.Handler.WithAttrs(attrs), r.memory}
}

func (r repeats) WithGroup(name string) slog.Handler {
	return repeats{r.Handler.WithGroup(name), r.memory}
}

func (r repeats) Handle(ctx context.Context, record slog.Record) error {
	if record.Level < slog.LevelWarn {
		return r.Handler.Handle(ctx, record)
	}
	key := repeatKey{message: record.Message}
	record.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "op":
			key.op = a.Value.String()
		case "err":
			key.err = a.Value.String()
		}
		return true
	})
	hushed, again := r.memory.again(key)
	if again {
		return nil
	}
	if hushed > 0 {
		record = record.Clone()
		record.AddAttrs(slog.Int("repeated", hushed))
	}
	return r.Handler.Handle(ctx, record)
}

// again says whether this was told within the last minute, else how many were not since.
func (m *repeatMemory) again(key repeatKey) (hushed int, again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	last := m.seen[key]
	if last != nil && now.Sub(last.at) < repeatEvery {
		last.hushed++
		return 0, true
	}
	if last != nil {
		hushed = last.hushed
	} else if len(m.seen) >= repeatMost {
		clear(m.seen)
	}
	m.seen[key] = &repeated{at: now}
	return hushed, false
}
