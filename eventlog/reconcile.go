package eventlog

import (
	"context"
	_ "embed"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
)

// Reconciler looks for principals whose rights were changed without a trigger (session_replication_role = replica, triggers disabled), a
// slice at a time, and has the differences announced. Several gateways may each run one.
type Reconciler struct {
	Pool    *pgxpool.Pool
	Every   time.Duration // interval between slices
	Slice   int           // principals per slice
	Log     *slog.Logger
	Metrics *Metrics

	kind  int   // index into access.Kinds
	after int32 // the last id that was compared
}

//go:embed sql/reconcile.sql
var reconcileSQL string

// Run compares slices until ctx ends, then returns nil. Errors are logged and retried in the next round.
func (r *Reconciler) Run(ctx context.Context) error {
	every(ctx, r.Every, func() {
		if _, err := r.Next(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("rights not compared", "op", "reconcile", "err", err)
		}
	})
	return nil
}

// Next compares the next slice and returns how many principals' rights differ.
func (r *Reconciler) Next(ctx context.Context) (different int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	kind := access.Kinds[r.kind]
	var last *int32
	if err := r.Pool.QueryRow(ctx, reconcileSQL, kind.String(), r.after, r.Slice).Scan(&last, &different); err != nil {
		return 0, described("compare rights", err)
	}
	if last != nil {
		r.after = *last
	} else {
		r.kind, r.after = (r.kind+1)%len(access.Kinds), 0
	}
	if different > 0 {
		r.Metrics.different.Add(float64(different))
		r.Log.Warn("rights were changed without a trigger; they are announced now", "op", "reconcile", "kind", kind.String(), "principals", different)
	}
	return different, nil
}
