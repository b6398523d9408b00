package migrations_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// durations are compared by their median: a busy machine makes some much longer.
type durations []time.Duration

func (d durations) median() time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkCapture compares OpenTera's writes with and without the triggers, in turn.
//
//	go test ./migrations -run '^$' -bench Capture -benchtime 200x
//
// us/statement is the cost of capture alone, with/without how much longer the statement takes.
func BenchmarkCapture(b *testing.B) {
	const n = 20_000
	for _, bm := range []struct{ name, sql string }{
		{"UPDATE of one site", "UPDATE t_sites SET site_name = 'name %d' WHERE id_site = 1"},
		{"UPDATE of one participant", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant = 1"},
		{"UPDATE of one session", "UPDATE t_sessions SET session_name = 'name %d' WHERE id_session = 1"},
		{"UPDATE of 20,000 participants", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant >= 100000"},
		{"UPDATE of 20,000 that nobody sees", "UPDATE t_participants SET participant_token = 'x', version_id = %d WHERE id_participant >= 100000"},
		{"last online of one user", "UPDATE t_users SET user_lastonline = now(), version_id = %d WHERE id_user = 1"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			f := setup(b)
			manyParticipants(f, n)
			f.exec("ALTER TABLE t_participants DROP CONSTRAINT t_participants_participant_token_key")
			f.exec("TRUNCATE terasocket.changes")
			f.exec("VACUUM ANALYZE")
			plain := dbtest.Conn(b, f.url) // a connection of its own: the setting throws plans away
			execOn(b, plain, "SET session_replication_role = replica")
			step := 0
			run := func(conn *pgx.Conn) time.Duration {
				step++
				sql := fmt.Sprintf(bm.sql, step)
				start := time.Now()
				execOn(b, conn, sql)
				return time.Since(start)
			}
			for range 6 { // plans
				run(plain)
				run(f.conn)
			}
			var with, without durations
			for b.Loop() {
				without = append(without, run(plain))
				with = append(with, run(f.conn))
			}
			b.ReportMetric(float64((with.median() - without.median()).Microseconds()), "us/statement")
			b.ReportMetric(float64((slices.Min(with) - slices.Min(without)).Microseconds()), "least-us/statement")
			b.ReportMetric(float64(with.median())/float64(without.median()), "with/without")
			b.ReportMetric(0, "ns/op")
			f.exec("TRUNCATE terasocket.changes")
		})
	}
}

// BenchmarkAnnounce measures announcements, commit included.
//
//	go test ./migrations -run '^$' -bench Announce -benchtime 20x
//
// us/object is what one changed object costs.
func BenchmarkAnnounce(b *testing.B) {
	for _, bm := range []struct {
		name, sql string
		objects   int
	}{
		{"of nothing", "SELECT 1", 1},
		{"of one site", "UPDATE t_sites SET site_name = 'name %d' WHERE id_site = 1", 1},
		{"of one participant", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant = 1", 1},
		{"of one session", "UPDATE t_sessions SET session_name = 'name %d' WHERE id_session = 1", 1},
		{"of 5,000 participants", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant BETWEEN 100000 AND 104999", 5_000},
		{"of 20,000 participants", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant >= 100000", 20_000},
		{"of a role taken and given", "UPDATE t_users_users_groups SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END, version_id = %d WHERE id_user = 9", 1},
	} {
		b.Run(bm.name, func(b *testing.B) {
			f := setup(b)
			manyParticipants(f, 20_000)
			f.announce()
			f.exec("VACUUM ANALYZE")
			step := 0
			round := func() time.Duration {
				step++
				sql := bm.sql
				if sql != "SELECT 1" {
					sql = fmt.Sprintf(sql, step)
				}
				f.exec(sql)
				start := time.Now()
				f.announce()
				return time.Since(start)
			}
			for range 6 { // plans
				round()
			}
			var took durations
			for b.Loop() {
				took = append(took, round())
			}
			b.ReportMetric(float64(took.median().Microseconds())/float64(bm.objects), "us/object")
			b.ReportMetric(float64(slices.Min(took).Microseconds())/float64(bm.objects), "least-us/object")
			b.ReportMetric(0, "ns/op")
		})
	}
}
