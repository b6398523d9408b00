package migrations

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// blockers describes what a step may have to wait for.
type blockers struct {
	tables       []string // as regclass
	oldSnapshots bool     // CREATE and DROP INDEX CONCURRENTLY wait for every older transaction
}

// errBusy is the error of a step that gave up.
type errBusy struct {
	waited time.Duration
	others []string // sessions in the way, as far as this role may know
	err    error
}

func (e *errBusy) Error() string {
	who := "whoever is in the way has ended by now"
	if len(e.others) > 0 {
		who = "in the way: " + strings.Join(e.others, ", ")
	}
	return fmt.Sprintf("no lock within %s: %s", e.waited, who)
}

func (e *errBusy) Unwrap() error { return e.err }

// patiently retries do, after pauses, while it fails for a lock: do must wait for locks only briefly, since everybody who comes later
// queues behind it, and leave nothing behind on failure. After LockTimeout the error says who is in the way.
func (m *Migrator) patiently(ctx context.Context, conn *pgx.Conn, where blockers, do func() error) error {
	begin := time.Now()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := do()
		if err == nil || ctx.Err() != nil || !isBusy(err) {
			return m.explain(err)
		}
		if time.Since(begin) >= m.LockTimeout {
			others, _ := m.inTheWay(ctx, conn, where) // err is the one that counts
			return &errBusy{waited: m.LockTimeout, others: others, err: original(err)}
		}
		if err := sleep(ctx, pause/2+rand.N(pause)); err != nil {
			return err
		}
	}
}

// isBusy reports whether a retry may succeed.
func isBusy(err error) bool {
	err = original(err)
	var refused *pgconn.PgError
	switch sqlState(err) {
	case "55P03", // lock_not_available
		"57014", // query_canceled: by the statement_timeout
		"40P01", // deadlock_detected
		"40001": // serialization_failure
		return true
	case "XX000": // internal_error: "tuple concurrently updated", a gateway has just re-created a trigger function
		return errors.As(err, &refused) && refused.Routine == "simple_heap_update"
	}
	return false
}

// inTheWay names at most five sessions.
func (m *Migrator) inTheWay(ctx context.Context, conn *pgx.Conn, where blockers) ([]string, error) {
	rows, err := conn.Query(ctx, inTheWaySQL, where.tables, where.oldSnapshots)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// inTransaction runs one transaction that waits for a lock no longer than others may wait behind it.
func (m *Migrator) inTransaction(ctx context.Context, conn *pgx.Conn, level pgx.TxIsoLevel, do func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = "+milliseconds(m.brief)); err != nil {
			return err
		}
		return do(tx)
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err()
}
