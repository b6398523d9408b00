package dbtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Writers are concurrent sessions, each writing a row of its own.
type Writers []*pgx.Conn

// NewWriters connects n writers, each with this setting (SQL).
func NewWriters(b testing.TB, url string, n int, setting string) (w Writers) {
	b.Helper()
	for range n {
		conn := Conn(b, url)
		Exec(b, conn, setting)
		w = append(w, conn)
	}
	return w
}

// Write renames participants, from 100,000 on, for duration d. It returns the number of transactions per second.
func (w Writers) Write(b testing.TB, d time.Duration) float64 {
	b.Helper()
	var all sync.WaitGroup
	counts := make([]int, len(w))
	began := time.Now()
	for i, conn := range w {
		all.Go(func() {
			for time.Since(began) < d {
				if _, err := conn.Exec(context.Background(), "UPDATE t_participants SET participant_name = clock_timestamp()::text WHERE id_participant = $1", 100_000+i); err != nil {
					b.Error(err)
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(began).Seconds()
}
