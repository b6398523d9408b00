package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Limits for repeated warnings and errors.
const (
	repeatEvery = time.Minute
	repeatMost  = 1000 // texts that are remembered; then all are forgotten
)

// repeats is a slog.Handler that passes on a warning or an error once a minute: repetitions with the same message, op and err
// within that time are counted, and reported with the next. A fault hits all clients, and a line for each would hide everything
// else.
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
	key, isGone := repeatKey{message: record.Message}, false
	record.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "op":
			key.op = a.Value.String()
		case "err":
			key.err = a.Value.String()
			err, _ := a.Value.Any().(error)
			isGone = schemaIsGone(err)
		}
		return true
	})
	if isGone {
		record = slog.NewRecord(record.Time, slog.LevelError, schemaGone, 0)
		key = repeatKey{message: schemaGone}
	}
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

// schemaGone replaces all errors that follow from a missing schema.
const schemaGone = "terasocket was taken out of this database: stop this gateway, or run `terasocket migrate up`"

// schemaIsGone reports whether PostgreSQL lacks the schema terasocket, or a table of it.
func schemaIsGone(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "3F000" && refused.Message == `schema "terasocket" does not exist` || // invalid_schema_name
		refused.Code == "42P01" && strings.HasPrefix(refused.Message, `relation "terasocket.`)) // undefined_table
}

// again reports whether this was logged within the last minute; if not, hushed is how many repetitions were suppressed.
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
