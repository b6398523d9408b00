package db

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Trimmer keeps the event log to its bounds. Several gateways may run one each: one at a time works.
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
	tick := time.NewTicker(t.Every)
	defer tick.Stop()
	for {
		if n, err := t.Trim(ctx); err != nil && ctx.Err() == nil {
			t.Log.Warn("event log not trimmed", "err", err)
		} else if n > 0 {
			t.Log.Debug("event log trimmed", "rows", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Trim deletes what is beyond the bounds, in batches, and returns how many rows that were.
func (t *Trimmer) Trim(ctx context.Context) (int64, error) {
	var total int64
	for {
		limited, cancel := context.WithTimeout(ctx, statementLimit)
		tag, err := t.Pool.Exec(limited, trimSQL, t.Retention, t.MaxRows, trimBatch)
		cancel()
		if err != nil {
			return total, fmt.Errorf("trim the event log: %w", err)
		}
		total += tag.RowsAffected()
		if tag.RowsAffected() < trimBatch {
			return total, nil
		}
	}
}
