package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// anyStatementLimit bounds any statement of a pool whose caller sets no limit.
const anyStatementLimit = time.Minute

// resetEvery is the shortest time between two resets of a pool.
const resetEvery = time.Second

// watch is a pgx tracer of a pool: it bounds every statement, remembers whether the last new connection was refused, and empties the pool
// when a session turns out to be read-only: others may be too, and would remain so long after the database is writable again.
type watch struct {
	mu         sync.Mutex
	pool       *pgxpool.Pool // nil: not created yet
	refused    error         // of the last new connection
	isReadOnly bool          // some session was read-only, and none is known to be writable
	reset      time.Time     // of the last reset; in the future: a reset is scheduled
}

var _ interface {
	pgx.QueryTracer
	pgx.ConnectTracer
} = (*watch)(nil)

type cancelKey struct{}

// TraceQueryStart implements pgx.QueryTracer.
func (w *watch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	ctx, cancel := context.WithTimeout(ctx, anyStatementLimit)
	return context.WithValue(ctx, cancelKey{}, cancel)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (w *watch) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
	if isReadOnly(data.Err) {
		w.empty()
	}
}

// TraceConnectStart implements pgx.ConnectTracer.
func (w *watch) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd implements pgx.ConnectTracer.
func (w *watch) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	var refused *pgconn.PgError
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case data.Err == nil:
		w.refused = nil
	case errors.As(data.Err, &refused):
		w.refused = data.Err
	}
}

// empty closes idle connections, and busy ones on their return: now, or a second after the last time.
func (w *watch) empty() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isReadOnly = true
	wait := time.Until(w.reset.Add(resetEvery))
	switch {
	case w.pool == nil, wait > resetEvery: // a reset is scheduled
	case wait > 0:
		w.reset = time.Now().Add(wait)
		time.AfterFunc(wait, w.pool.Reset)
	default:
		w.reset = time.Now()
		w.pool.Reset()
	}
}

// writable records a writable session, and empties the pool of read-only ones.
func (w *watch) writable() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isReadOnly {
		w.isReadOnly = false
		w.pool.Reset()
	}
}

func isReadOnly(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "25006" // read_only_sql_transaction
}

// ErrReadOnly is returned when nothing can be written.
var ErrReadOnly = errors.New("the database is read-only: see default_transaction_read_only of this role and database, and whether it is the primary")

// Ready returns why a pool of Open cannot be used: new connections are refused, or nothing may be written. An error of the connection it
// checks with counts too.
func Ready(ctx context.Context, pool *pgxpool.Pool) error {
	w, _ := pool.Config().ConnConfig.Tracer.(*watch)
	if w == nil {
		return errors.New("not a pool of terasocket's")
	}
	w.mu.Lock()
	refused := w.refused
	w.mu.Unlock()
	if refused != nil {
		return fmt.Errorf("the database refuses new connections: %w", refused)
	}
	var readOnly bool
	if err := pool.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&readOnly); err != nil {
		return fmt.Errorf("look at the database: %w", err)
	}
	if readOnly {
		w.empty()
		return ErrReadOnly
	}
	w.writable()
	return nil
}
