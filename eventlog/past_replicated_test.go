//go:build unix

package eventlog_test

import (
	"errors"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// Everything is replicated logically to another server, which later takes over.
func TestPastReplicated(t *testing.T) {
	t.Parallel()
	publisher, p := owned(t, map[string]string{"wal_level": "logical"}, false)
	source := publisher.URL("postgres")
	target := dbtest.Server(t, map[string]string{"wal_level": "logical"}).URL("postgres")
	schema := p.dump("-Fp", "--schema-only")
	runProgram(t, dbtest.Program(t, target, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", schema, "-d", target)
	p.g.exec("CREATE PUBLICATION everything FOR ALL TABLES")
	subscriber := dbtest.Conn(t, target)
	do := func(sql string) {
		t.Helper()
		if _, err := subscriber.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	do("CREATE SUBSCRIPTION mirror CONNECTION '" + source + "' PUBLICATION everything")
	dbtest.Eventually(t, "all tables are there", func() bool {
		return dbtest.One[bool](t, subscriber, "SELECT count(*) > 30 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel")
	})
	// without a replica identity their UPDATE and DELETE would fail from now on
	if without := scan[[]string](p.g, `SELECT coalesce(array_agg(oid::regclass::text), '{}') FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'terasocket'::regnamespace
		AND relpersistence = 'p' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)`); len(without) > 0 {
		t.Errorf("without a primary key: %q", without)
	}
	p.goOn()
	p.release = p.g.holdAnnouncements("announcements")
	p.g.publish(p.g.pool, "captured")
	for _, sql := range []string{
		"DELETE FROM t_tests_invitations", "SELECT terasocket.kick($$" + user.UUID + "$$)", "UPDATE terasocket.kicked SET at = at - interval '1 hour'",
		"DELETE FROM terasocket.kicked", "SELECT setval('terasocket.connect_tokens_counter', 1000)", "SELECT terasocket.kick($$" + user.UUID + "$$)",
		"INSERT INTO terasocket.bridge_moves (kind, principal) VALUES ('user', 1), ('user', 2)", "SELECT terasocket.sweep_door()", "DELETE FROM terasocket.events WHERE seq < (SELECT max(seq) FROM terasocket.events)",
		"UPDATE terasocket.trimmed SET seq = (SELECT max(seq) - 1 FROM terasocket.events)",
	} {
		p.g.exec(sql)
	}
	caughtUp := "SELECT confirmed_flush_lsn >= '" + scan[string](p.g, "SELECT pg_current_wal_insert_lsn()::text") + "' FROM pg_replication_slots"
	dbtest.Eventually(t, "it has received all", func() bool { return scan[bool](p.g, caughtUp) })

	if err := migrations.Check(t.Context(), subscriber); !errors.Is(err, migrations.ErrSubscriber) || !strings.Contains(err.Error(), "mirror") {
		t.Errorf("a gateway on a subscriber: %v", err)
	}
	_, err := subscriber.PgConn().Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE; SELECT * FROM terasocket.announce()").ReadAll()
	if err == nil || !strings.Contains(err.Error(), "subscriber of logical replication (subscription mirror)") {
		t.Errorf("announce() on a subscriber: %v", err)
	}
	do("ROLLBACK")
	before := dbtest.One[string](t, subscriber, "SELECT (array_agg(e ORDER BY begin))::text FROM terasocket.epochs e")
	if err := migrations.Up(t.Context(), target); err == nil || !strings.Contains(err.Error(), "subscriber of logical replication") {
		t.Errorf("migrate up on a subscriber: %v", err)
	}
	if after := dbtest.One[string](t, subscriber, "SELECT (array_agg(e ORDER BY begin))::text FROM terasocket.epochs e"); after != before {
		t.Errorf("migrate up on a subscriber has written: %s, before %s", after, before)
	}

	p.g.stop()
	p.release()
	do("ALTER SUBSCRIPTION mirror DISABLE")
	if err := migrations.Check(t.Context(), subscriber); err != nil {
		t.Errorf("after the switch: %v", err)
	}
	g := another(t, target)
	p.mustBeAnother(g, false)
	for sequence, highest := range map[string]string{ // sequences are not replicated
		"changes_id_seq": "max(id) FROM terasocket.changes", "capture_errors_id_seq": "max(id) FROM terasocket.capture_errors",
		"connections_id_seq": "max(id) FROM terasocket.connections", "bridge_moves_id_seq": "max(id) FROM terasocket.bridge_moves",
		"kicked_id_seq": "max(id) FROM terasocket.kicked", "connect_tokens_counter": "max(counter) FROM terasocket.kicked",
	} {
		if behind := scan[bool](g, "SELECT coalesce((SELECT "+highest+"), 0) >= nextval('terasocket."+sequence+"')"); behind {
			t.Errorf("%s stands behind its rows", sequence)
		}
	}
	do("ALTER SUBSCRIPTION mirror SET (slot_name = NONE)")
	do("DROP SUBSCRIPTION mirror")
}
