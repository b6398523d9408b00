package db_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestTrim(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up))
	b := &bundle{t: t, pool: dbtest.Pool(t, url)}
	bodies := make([]string, 12_000)
	for i := range bodies {
		bodies[i] = "x"
	}
	b.record(b.pool, bodies...)
	trim := &db.Trimmer{Pool: b.pool, Retention: time.Hour, MaxRows: 11_000, Log: slog.New(slog.DiscardHandler)}
	if n, err := trim.Trim(t.Context()); err != nil || n != 1000 {
		t.Errorf("trimmed %d, %v; want 1000 by number", n, err)
	}
	if _, err := b.pool.Exec(t.Context(), "UPDATE terasocket.events SET at = now() - interval '2 hours' WHERE seq <= 11900"); err != nil {
		t.Fatal(err)
	}
	if n, err := trim.Trim(t.Context()); err != nil || n != 10_900 {
		t.Errorf("trimmed %d, %v; want 10900 by age", n, err)
	}
	locked := b.begin()
	if _, err := locked.Exec(t.Context(), "SELECT pg_advisory_xact_lock(hashtextextended('terasocket trim', 0))"); err != nil {
		t.Fatal(err)
	}
	trim.Retention = 0
	if n, err := trim.Trim(t.Context()); err != nil || n != 0 {
		t.Errorf("trimmed %d, %v while another gateway does; want 0", n, err)
	}
}

// Two gateways trim while others write, a snapshot from before is open, and rows of the old end are being read. Nobody
// waits for anybody: whoever would have to ends with an error after its lock_timeout.
func TestTrimmingBlocksNobody(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up))
	b := &bundle{t: t, url: url, pool: dbtest.Pool(t, url+"&options=-c%20lock_timeout%3D2s")}
	b.record(b.pool, slices.Repeat([]string{"old"}, 30_000)...)
	if _, err := b.pool.Exec(t.Context(), "UPDATE terasocket.events SET at = now() - interval '2 hours'"); err != nil {
		t.Fatal(err)
	}
	reader := b.begin()
	var n int64
	count := func() int64 {
		t.Helper()
		if err := reader.QueryRow(t.Context(), "SELECT count(*) FROM terasocket.events").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := reader.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
		t.Fatal(err)
	}
	if count() != 30_000 {
		t.Fatalf("%d rows", n)
	}
	open := b.begin() // has written, and does not commit
	b.record(open, "open")

	var trimmers, writers errgroup.Group
	var trimmed [2]int64
	for i := range trimmed {
		trimmers.Go(func() (err error) {
			trim := &db.Trimmer{Pool: b.pool, Retention: time.Hour, MaxRows: 1 << 40, Log: slog.New(slog.DiscardHandler)}
			for range 3 { // a round that finds another at it does nothing
				n, err := trim.Trim(t.Context())
				if trimmed[i] += n; err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 3 {
		writers.Go(func() error {
			for range 50 {
				if _, err := b.pool.Exec(t.Context(), record, []string{"new"}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Errorf("a writer: %v", err)
	}
	if err := trimmers.Wait(); err != nil {
		t.Errorf("a trimmer: %v", err)
	}
	if sum := trimmed[0] + trimmed[1]; sum != 30_000 {
		t.Errorf("trimmed %d and %d rows, want 30000 together", trimmed[0], trimmed[1])
	}
	if count() != 30_000 {
		t.Errorf("the old snapshot sees %d rows", n)
	}
	b.commit(reader)
	b.commit(open)
	if err := b.pool.QueryRow(t.Context(), "SELECT count(*) FROM terasocket.events").Scan(&n); err != nil || n != 151 {
		t.Errorf("%d rows are left, %v; want 151", n, err)
	}
}
