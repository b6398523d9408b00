package dbtest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Exec runs a statement, which must succeed, on a connection, pool or transaction.
func Exec(t testing.TB, db interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%.300s: %v", sql, err)
	}
}

// One returns the single value of a query.
func One[T any](t testing.TB, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, sql string, args ...any) (value T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%.300s: %v", sql, err)
	}
	return value
}

// Announce announces everything that is committed, without a gateway or before one does, atMost objects at a time, and returns the number
// of rows. It may be called when the test ends.
func Announce(t testing.TB, conn *pgx.Conn, atMost int) (announced int) {
	t.Helper()
	announced, err := AnnounceAll(context.WithoutCancel(t.Context()), conn, atMost)
	if err != nil {
		t.Fatal(err)
	}
	return announced
}

// AnnounceAll is Announce for a template, so that its contents are not announced again in every clone.
func AnnounceAll(ctx context.Context, conn *pgx.Conn, atMost int) (announced int, err error) {
	for more := true; more; {
		results, err := conn.PgConn().Exec(ctx, fmt.Sprintf(`BEGIN ISOLATION LEVEL REPEATABLE READ;
			LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE; SELECT announced, more FROM terasocket.announce(at_most => %d); COMMIT`, atMost)).ReadAll()
		if err != nil {
			return announced, fmt.Errorf("announce: %w", err)
		}
		row := results[2].Rows[0]
		n, err := strconv.Atoi(string(row[0]))
		if err != nil {
			return announced, fmt.Errorf("announce: %w", err)
		}
		announced += n
		more = string(row[1]) == "t"
	}
	return announced, nil
}

// Eventually polls, at growing intervals, for a condition that nothing signals. Its limit is long enough for a busy machine.
func Eventually(t testing.TB, what string, isSo func() bool) {
	t.Helper()
	for began := time.Now(); !isSo(); {
		waited := time.Since(began)
		if waited > time.Minute {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5*time.Millisecond + min(waited/10, 200*time.Millisecond))
	}
}
