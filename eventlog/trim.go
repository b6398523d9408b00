package eventlog

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Trimmer keeps the log to its bounds. Several gateways may run one each: one at a time works.
type Trimmer struct {
	Pool      *pgxpool.Pool
	Retention time.Duration // rows older than this go
	MaxRows   int64         // and the oldest beyond this number
	Every     time.Duration // how often to look
	Log       *slog.Logger
}

// trimBatch is how many rows one statement deletes: short enough to block nobody.
const trimBatch = 5000

//go:embed sql/trim.sql
var trimSQL string

// Run trims until ctx ends. It returns nil: an error is logged, the next round tries again.
func (t *Trimmer) Run(ctx context.Context) error {
	every(ctx, t.Every, func() {
		if n, err := t.Trim(ctx); err != nil && ctx.Err() == nil {
			t.Log.Warn("event log not trimmed", "op", "trim", "err", err)
		} else if n > 0 {
			t.Log.Debug("event log trimmed", "op", "trim", "rows", n)
		}
	})
	return nil
}

// Trim deletes what is beyond the bounds, in batches, and returns how many rows that were.
func (t *Trimmer) Trim(ctx context.Context) (total int64, err error) {
	for {
		n, err := t.batch(ctx)
		total += n
		if err != nil || n < trimBatch {
			return total, err
		}
	}
}

func (t *Trimmer) batch(ctx context.Context) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	err = t.Pool.QueryRow(ctx, trimSQL, t.Retention, t.MaxRows, trimBatch).Scan(&n)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, described("trim the event log", err)
	}
	return n, nil
}

// every does something now and then again and again, until ctx ends.
func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
