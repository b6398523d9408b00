package migrations_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// On a hospital's database, writers beside `migrate up` never wait a second for a lock, and none fails.
func TestWritersBesideUp(t *testing.T) {
	t.Parallel()
	besideUp(t, dbtest.Many(20_000, 2000))
}

// BenchmarkWritersBesideUp is TestWritersBesideUp with a million sessions.
func BenchmarkWritersBesideUp(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		besideUp(b, 1_000_000)
		b.StartTimer()
	}
}

// besideUp migrates a database with so many sessions up and down while four OpenTera clients read and write.
func besideUp(t testing.TB, sessions int) {
	t.Helper()
	url := dbtest.New(t, unmigrated())
	conn := dbtest.Conn(t, url)
	execOn(t, conn, fmt.Sprintf(`INSERT INTO t_sessions (id_session, session_uuid, session_name, session_start_datetime, session_status, id_session_type, id_creator_user, session_duration, version_id)
		SELECT n, 'session-' || n, 'Session ' || n, now(), 0, 1, 1, 0, 1 FROM generate_series(100001, 100000 + %d) n;
		INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id) SELECT n, n, 1 + n %% 3, 1 FROM generate_series(100001, 100000 + %d) n`, sessions, sessions))
	execOn(t, conn, "VACUUM ANALYZE")
	beside := []string{
		"UPDATE t_sessions SET session_name = 'x' || clock_timestamp() WHERE id_session = 100001",
		"BEGIN; UPDATE t_sessions SET session_status = 1 WHERE id_session = 100002; UPDATE t_participants SET participant_name = 'x' || clock_timestamp() WHERE id_participant = 1; COMMIT",
		"BEGIN; UPDATE t_participants SET participant_name = 'y' || clock_timestamp() WHERE id_participant = 2; UPDATE t_sessions SET session_status = 2 WHERE id_session = 100003; COMMIT",
		"SELECT count(*) FROM t_users; SELECT session_name FROM t_sessions WHERE id_session = 100004",
	}
	stop := make(chan struct{})
	longest := make([]time.Duration, len(beside))
	failures := make([]error, len(beside))
	var wg sync.WaitGroup
	for i, statement := range beside {
		client := dbtest.Conn(t, url)
		execOn(t, client, "SET lock_timeout = '1s'") // tells waiting for a lock from a busy machine
		wg.Go(func() { longest[i], failures[i] = again(t.Context(), client, statement, stop) })
	}
	m, err := migrations.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m.Progress = func(line string) { t.Logf("%.1f s: %s", time.Since(start).Seconds(), line) }
	_, upErr := m.Up(t.Context())
	up := time.Since(start)
	_, againErr := m.Up(t.Context())
	n, downErr := 0, error(nil)
	if upErr == nil {
		n, downErr = m.Down(t.Context(), 99)
	}
	close(stop)
	wg.Wait()
	t.Logf("up %s, all %s; slowest %s; down %d, %v", up, time.Since(start), longest, n, downErr)
	if upErr != nil || againErr != nil {
		t.Errorf("up: %v; %v", upErr, againErr)
	}
	for i, err := range failures {
		if err != nil {
			t.Errorf("%s: %v", beside[i], err)
		}
	}
}

// again repeats statements until stopped, at most a hundred times a second, and returns the longest duration.
func again(ctx context.Context, conn *pgx.Conn, statements string, stop <-chan struct{}) (longest time.Duration, err error) {
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case <-stop:
			return longest, nil
		case <-pause.C:
		}
		start := time.Now()
		if _, err := conn.Exec(ctx, statements); err != nil {
			return longest, err
		}
		longest = max(longest, time.Since(start))
	}
}
