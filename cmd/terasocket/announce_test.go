package main

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const announceSQL = `BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE;
	SELECT more FROM terasocket.announce(); COMMIT`

// announce has everything announced that is committed: without a gateway, or before it does.
func announce(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	for more := true; more; {
		results, err := conn.PgConn().Exec(t.Context(), announceSQL).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		more = string(results[2].Rows[0][0]) == "t"
	}
}

// eventually asks until it is so. The limit is for what never comes, on a busy machine too.
func eventually(t testing.TB, what string, isSo func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !isSo(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// count is what a query answers.
func count(t testing.TB, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, sql string, args ...any) (n int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
