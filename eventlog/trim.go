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

// Trimmer keeps the log within its bounds. Several gateways may each run one; only one works at a time.
type Trimmer struct {
	Pool      *pgxpool.Pool
	Retention time.Duration // older rows are deleted
	MaxRows   int64         // and the oldest beyond this number
	Every     time.Duration // interval
	Log       *slog.Logger
}

// trimBatch is how many rows one statement deletes: few enough to block nobody.
const trimBatch = 5000

//go:embed sql/trim.sql
var trimSQL string

// Run trims until ctx ends, then returns nil. Errors are logged and retried in the next round.
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

// Trim deletes rows beyond the bounds, in batches, and returns how many it deleted.
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

// every calls do now and then every d, until ctx ends.
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
