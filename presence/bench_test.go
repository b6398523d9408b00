package presence

import (
	"fmt"
	"testing"

	"terasocket/access"
	"terasocket/db/dbtest"
)

// crowd creates n participants of project 5, which only a few users see.
func (c *cluster) crowd(n int) {
	c.exec(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, id_project, participant_enabled, version_id, participant_token_enabled, participant_login_enabled)
		SELECT 100000 + i, gen_random_uuid()::text, 'p' || i, 5, true, 1, false, false FROM generate_series(1, $1::int) i`, n)
	c.announce()
}

// BenchmarkConnected records sockets of participants, 200 per statement, and announces them: CPU time of PostgreSQL for a socket that
// takes its principal online, for a further one, and for the announcement.
func BenchmarkConnected(b *testing.B) {
	c := setup(b)
	c.crowd(maxBatch)
	r := c.gateway(nil)
	backend := uint32(dbtest.One[int](b, c.conn, "SELECT pg_backend_pid()"))
	number := int64(0)
	var first, further, announced float64
	for b.Loop() {
		for _, figure := range []*float64{&first, &further} {
			numbers, kinds, ids, texts := make([]int64, maxBatch), make([]string, maxBatch), make([]int32, maxBatch), make([]string, maxBatch)
			for i := range numbers {
				number++
				numbers[i], kinds[i], ids[i] = number, "participant", int32(100001+i)
			}
			used := dbtest.CPU(b, backend)
			c.exec(connectedSQL, r.gateway, numbers, kinds, ids, texts, texts)
			*figure += float64((dbtest.CPU(b, backend) - used).Microseconds())
		}
		used := dbtest.CPU(b, backend)
		c.announce()
		announced += float64((dbtest.CPU(b, backend) - used).Microseconds())
		c.exec("DELETE FROM terasocket.connections; DELETE FROM terasocket.online")
		c.exec("VACUUM ANALYZE terasocket.connections, terasocket.online")
	}
	b.ReportMetric(first/float64(b.N)/maxBatch, "us/first")
	b.ReportMetric(further/float64(b.N)/maxBatch, "us/further")
	b.ReportMetric(announced/float64(b.N)/maxBatch, "us/announced")
}

// BenchmarkSnapshot is the snapshot of a viewer who sees one principal, while many are online: CPU time of PostgreSQL.
func BenchmarkSnapshot(b *testing.B) {
	for _, online := range []int{200, 10_000} {
		b.Run(fmt.Sprint(online, " online"), func(b *testing.B) {
			c := setup(b)
			c.crowd(online)
			c.exec("INSERT INTO terasocket.online (kind, principal, online_since, connected_at) SELECT 'participant', id_participant, now(), now() FROM t_participants WHERE id_participant > 100000 OR id_participant = 1")
			c.exec("ANALYZE")
			r := c.gateway(nil)
			backend := uint32(dbtest.One[int](b, r.Pool, "SELECT pg_backend_pid()"))
			roster := Roster{Pool: r.Pool}
			for range 10 {
				if events, err := roster.Presence(b.Context(), access.Identity{Principal: participant(1)}); err != nil || len(events) != 1 {
					b.Fatal(len(events), err)
				}
			}
			used := dbtest.CPU(b, backend)
			for b.Loop() {
				if _, err := roster.Presence(b.Context(), access.Identity{Principal: participant(1)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((dbtest.CPU(b, backend)-used).Microseconds())/float64(b.N), "postgres-us/op")
		})
	}
}
