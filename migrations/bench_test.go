package migrations_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// BenchmarkCapture compares OpenTera's writes with and without the triggers.
//
//	go test ./migrations -run '^$' -bench Capture -benchtime 20x
//
// ns/row is the cost of capture alone, with/without how much longer the statement takes.
func BenchmarkCapture(b *testing.B) {
	const n = 20_000
	for _, bm := range []struct {
		name, sql string
		rows      int
	}{
		{"UPDATE of one site", "UPDATE t_sites SET site_name = 'name %d' WHERE id_site = 1", 1},
		{"UPDATE of one participant", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant = 1", 1},
		{"UPDATE of one session", "UPDATE t_sessions SET session_name = 'name %d' WHERE id_session = 1", 1},
		{"UPDATE of 20,000 participants", "UPDATE t_participants SET participant_name = 'name %d' WHERE id_participant >= 100000", n},
		{"UPDATE of 20,000 that nobody sees", "UPDATE t_participants SET participant_token = 'x', version_id = %d WHERE false OR id_participant >= 100000", n},
		{"last online of one user", "UPDATE t_users SET user_lastonline = now(), version_id = %d WHERE id_user = 1", 1},
	} {
		b.Run(bm.name, func(b *testing.B) {
			f := setup(b)
			manyParticipants(f, n)
			f.exec("ALTER TABLE t_participants DROP CONSTRAINT t_participants_participant_token_key")
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
			var with, without time.Duration
			for b.Loop() {
				without += run(plain)
				with += run(f.conn)
			}
			b.ReportMetric(float64(with-without)/float64(b.N)/float64(bm.rows), "ns/row")
			b.ReportMetric(float64(with)/float64(without), "with/without")
			b.ReportMetric(0, "ns/op")
		})
	}
}
