package eventlog

import (
	"context"
	_ "embed"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Triggers watches the triggers on OpenTera's tables: it re-creates a trigger function when its table has other columns, and reports
// triggers that are missing or disabled. Several gateways may each run one.
type Triggers struct {
	Pool  *pgxpool.Pool
	Every time.Duration // interval
	Log   *slog.Logger

	missing atomic.Int64
	told    string // what was last logged
}

//go:embed sql/triggers.sql
var triggersSQL string

// Register registers terasocket_triggers_missing.
func (t *Triggers) Register(r prometheus.Registerer) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "terasocket_triggers_missing",
		Help: "Triggers of terasocket that are gone from OpenTera's tables, or disabled: changes there are not captured.",
	}, func() float64 { return float64(t.missing.Load()) }))
}

// Run checks at once and then periodically until ctx ends, and returns nil. Errors are logged and retried in the next round.
func (t *Triggers) Run(ctx context.Context) error {
	every(ctx, t.Every, func() {
		if err := t.Look(ctx); err != nil && ctx.Err() == nil {
			t.Log.Warn("triggers not checked", "op", "triggers", "err", err)
		}
	})
	return nil
}

// Look checks once.
func (t *Triggers) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	var renewed, missing int
	var tables string
	if err := t.Pool.QueryRow(ctx, triggersSQL).Scan(&renewed, &missing, &tables); err != nil {
		return described("look at the triggers", err)
	}
	t.missing.Store(int64(missing))
	if renewed > 0 {
		t.Log.Info("OpenTera's tables have other columns: trigger functions were re-created", "op", "triggers", "tables", renewed)
	}
	if tables != t.told {
		t.told = tables
		if missing > 0 {
			t.Log.Error("triggers are missing or disabled, changes there are not captured: run `terasocket migrate up`", "op", "triggers", "tables", tables)
		} else {
			t.Log.Info("all triggers are in place again", "op", "triggers")
		}
	}
	return nil
}
