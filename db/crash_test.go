//go:build unix

package db_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
	"terasocket/migrations"
)

// A server that commits asynchronously crashes, and has forgotten rows that were handed out. It gives their transaction ids
// out again: the new rows must not be taken for those.
func TestCrashThatForgetsWhatWasHandedOut(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Config{Settings: map[string]string{"synchronous_commit": "off", "wal_writer_delay": "10s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	url := server.URL("postgres")
	if err := dbtest.OpenTera("crash", migrations.Up).Fill(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	b := follow(t, url, dbtest.Pool(t, url), retryOften)
	b.record(b.pool, "kept")
	b.mustHear("kept")
	if _, err := b.pool.Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		b.record(b.pool, fmt.Sprint("forgotten ", i))
	}
	b.mustHear("forgotten 0", "forgotten 1", "forgotten 2")

	pid, err := dbtest.Crash(server)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	eventually(t, "the server is back", func() bool {
		return b.pool.QueryRow(t.Context(), "SELECT count(*) FROM terasocket.events").Scan(&n) == nil
	})
	if n != 1 {
		t.Skipf("%d rows are left: it forgot nothing", n)
	}
	b.record(b.pool, "new")
	limit, cancelLimit := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancelLimit()
	for {
		rows, err := b.feed.Next(limit)
		if errors.Is(err, db.ErrBroken) {
			break
		}
		if limit.Err() != nil || len(rows) > 0 {
			t.Fatalf("%d rows came, and nobody said that some are missing", len(rows))
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.record(b.pool, "live again")
	b.mustHear("live again")
}
