package migrations_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// durations are compared by their median, since a busy machine makes some much longer.
type durations []time.Duration

func (d durations) median() time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

const many = 20_000

// rounds returns the number of measurements, independent of -benchtime, and of warm-up rounds for plans.
func rounds(rows int) (n, warm int) {
	if rows < 1000 {
		return 300, 6
	}
	return 3, 1
}

// BenchmarkCapture compares OpenTera's writes with and without the triggers, in turn.
//
//	go test ./migrations -run '^$' -bench Capture
//
// us/statement is the cost of capture alone, with/without the ratio of the durations.
func BenchmarkCapture(b *testing.B) {
	f := setup(b)
	manyParticipants(f, many)
	f.exec("ALTER TABLE t_participants DROP CONSTRAINT t_participants_participant_token_key")
	for _, bm := range []struct {
		name, sql string
		rows      int
	}{
		{"UPDATE of one site", "UPDATE t_sites SET site_name = 'name %d' WHERE id_site = 1", 1},
		{"UPDATE of one participant", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant = 1", 1},
		{"UPDATE of one session", "UPDATE t_sessions SET session_name = 'name %d' WHERE id_session = 1", 1},
		{"last online of one user", "UPDATE t_users SET user_lastonline = now(), version_id = %d WHERE id_user = 1", 1},
		{"UPDATE of 20,000 participants", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant >= 100000", many},
		{"UPDATE of 20,000 that nobody sees", "UPDATE t_participants SET participant_token = 'x', version_id = %d WHERE id_participant >= 100000", many},
	} {
		b.Run(bm.name, func(b *testing.B) {
			f.exec("TRUNCATE terasocket.changes")
			f.exec("VACUUM ANALYZE")
			plain, captured := dbtest.Conn(b, f.url), dbtest.Conn(b, f.url) // separate connections: the setting discards plans
			execOn(b, plain, "SET session_replication_role = replica")
			step := 0
			run := func(conn *pgx.Conn) time.Duration {
				step++
				sql := fmt.Sprintf(bm.sql, step)
				start := time.Now()
				execOn(b, conn, sql)
				return time.Since(start)
			}
			n, warm := rounds(bm.rows)
			for range warm {
				run(plain)
				run(captured)
			}
			var with, without durations
			for b.Loop() {
				for len(with) < n {
					without = append(without, run(plain))
					with = append(with, run(captured))
				}
			}
			b.ReportMetric(float64((with.median() - without.median()).Microseconds()), "us/statement")
			b.ReportMetric(float64((slices.Min(with) - slices.Min(without)).Microseconds()), "least-us/statement")
			b.ReportMetric(float64(with.median())/float64(without.median()), "with/without")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkSixteenWriters has 16 concurrent sessions each write a row of its own, with and without the triggers, in turn: with/without is
// the remaining fraction of the throughput. NOTIFY is off: notifying commits wait for each other, with or without listeners.
//
//	go test ./migrations -run '^$' -bench Sixteen
func BenchmarkSixteenWriters(b *testing.B) {
	const writers, turns, turn = 16, 4, 500 * time.Millisecond
	f := setup(b)
	f.isBroken = true // on a busy machine one of 16 may wait longer than capture's lock time-out: capture_errors
	manyParticipants(f, writers)
	f.exec("VACUUM ANALYZE")
	plain := dbtest.NewWriters(b, f.url, writers, "SET session_replication_role = replica")
	captured := dbtest.NewWriters(b, f.url, writers, "SET terasocket.notify = off")
	plain.Write(b, turn)
	captured.Write(b, turn)
	var with, without float64
	taken := 0
	for b.Loop() {
		for ; taken < turns; taken++ {
			without += plain.Write(b, turn)
			with += captured.Write(b, turn)
		}
	}
	b.ReportMetric(without/float64(taken), "plain/s")
	b.ReportMetric(with/float64(taken), "captured/s")
	b.ReportMetric(with/without, "with/without")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAnnounce measures announcements, including the commit.
//
//	go test ./migrations -run '^$' -bench Announce
//
// us/object is the cost of one changed object, cpu-us/object the server's CPU time for it.
func BenchmarkAnnounce(b *testing.B) {
	f := setup(b)
	manyParticipants(f, many)
	f.announce()
	for _, bm := range []struct {
		name, sql string
		objects   int
	}{
		{"of nothing", "SELECT %d", 1},
		{"of one site", "UPDATE t_sites SET site_name = 'name %d' WHERE id_site = 1", 1},
		{"of one participant", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant = 1", 1},
		{"of one session", "UPDATE t_sessions SET session_name = 'name %d' WHERE id_session = 1", 1},
		{"of a role taken and given", "UPDATE t_users_users_groups SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END, version_id = %d WHERE id_user = 9", 1},
		{"of 5,000 participants", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant BETWEEN 100000 AND 104999", 5_000},
		{"of 20,000 participants", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant >= 100000", many},
	} {
		b.Run(bm.name, func(b *testing.B) {
			f.exec("VACUUM ANALYZE")
			step := 0
			round := func() time.Duration {
				step++
				f.exec(fmt.Sprintf(bm.sql, step))
				start := time.Now()
				f.announce()
				return time.Since(start)
			}
			n, warm := rounds(bm.objects)
			for range warm {
				round()
			}
			var took durations
			began := dbtest.CPU(b, f.teller.PgConn().PID())
			for b.Loop() {
				for len(took) < n {
					took = append(took, round())
				}
			}
			used := dbtest.CPU(b, f.teller.PgConn().PID()) - began
			b.ReportMetric(float64(used.Microseconds())/float64(len(took)*bm.objects), "cpu-us/object")
			b.ReportMetric(float64(took.median().Microseconds())/float64(bm.objects), "us/object")
			b.ReportMetric(float64(slices.Min(took).Microseconds())/float64(bm.objects), "least-us/object")
			b.ReportMetric(0, "ns/op")
		})
	}
}
