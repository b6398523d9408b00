package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// begin is the row of the newest epoch.
func (f *fixture) reason() string {
	f.Helper()
	return oneOn[string](f, f.teller, "SELECT reason FROM terasocket.epochs ORDER BY begin DESC LIMIT 1")
}

// Rule "a past that comes back": another server, timeline, database or log, a restart, or a log with more rows than remembered: each
// begins an epoch above every seq given out before.
func TestEpochs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sql, reason string
		isPast            bool  // the past is forgotten: keys, tokens, kicks
		isFilled          bool  // the memory remains valid
		lastSeen          int64 // by how much the caller's last seq exceeds this database's
	}{
		{"another server", "UPDATE terasocket.epochs SET system_identifier = system_identifier + 1, started_at = started_at - interval '1 day'", "another server", true, false, 0},
		{"a promotion", "UPDATE terasocket.epochs SET timeline = timeline + 1, started_at = started_at - interval '1 day'", "another timeline", true, true, 0},
		{"a dump restored", "UPDATE terasocket.epochs SET log = 1", "another log", true, false, 0},
		{"a copy of the database", "UPDATE terasocket.epochs SET database = 1", "another database", true, true, 0},
		{"a restart", "UPDATE terasocket.epochs SET started_at = started_at - interval '1 day'", "the server was started again", false, true, 0},
		{"a disk put back", "UPDATE terasocket.epochs SET started_at = started_at - interval '1 day'", "an older state of this server was put back", true, true, 7},
		{"a machine put back with its memory", "", "an older state of this server was put back", true, true, 7},
		{"rows restored or replicated", "UPDATE terasocket.written_here SET xid = xid", "the log was restored into this database", true, false, 0},
		{"rows restored beside ours", "INSERT INTO terasocket.written_here VALUES ('1')", "the log was restored into this database", true, false, 0},
		{"rows restored into the log", "INSERT INTO terasocket.events (seq, announcement, at, topic, type, body) SELECT last_seq + 1000, 0, now(), '', 'terasocket.Settled', '{}' FROM terasocket.announcer",
			"the log was restored into this database", true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
			before := f.announce()
			token := mint(f, "user", f.uuid("user", 9))
			key := one[string](f, "SELECT terasocket.signing_key('user')")
			f.exec("SELECT terasocket.kick('" + f.uuid("user", 9) + "')")
			other := mint(f, "user", f.uuid("user", 10))
			f.exec("UPDATE t_sites SET site_name = 'captured before' WHERE id_site = 2")
			f.exec(tt.sql)
			highest := one[int64](f, "SELECT max(seq) FROM terasocket.events")
			s, err := f.call(fmt.Sprintf("100, false, %d", one[int64](f, "SELECT last_seq FROM terasocket.announcer")+tt.lastSeen))
			if err != nil {
				t.Fatal(err)
			}
			if s.epoch <= before.epoch || s.epoch <= before.lastSeq || s.epoch <= highest || s.lastSeq < s.epoch {
				t.Errorf("%+v after %+v", s, before)
			}
			mustEqual(t, "reason", f.reason(), tt.reason)
			mustEqual(t, "old end", one[int64](f, "SELECT old_end FROM terasocket.epochs ORDER BY begin DESC LIMIT 1"), highest)
			mustEqual(t, "filled", f.isFilled(), tt.isFilled)
			mustEqual(t, "tokens", redeem(f, "user", other) == "", tt.isPast)
			mustEqual(t, "token of the kicked user", redeem(f, "user", token), "")
			mustEqual(t, "keys", one[string](f, "SELECT terasocket.signing_key('user')") != key, tt.isPast)
			mustEqual(t, "kicks, which end tickets of OpenTera's login", one[int](f, "SELECT count(*) FROM terasocket.kicked"), 1)
			if !tt.isFilled {
				f.fill("5000")
			}
			again := f.announce()
			mustEqual(t, "a second epoch", again.epoch != s.epoch, !tt.isFilled)
			f.skip()
			f.expect(rename1, "U participant 1")
			f.remembers()
		})
	}
}

// After a restart that no caller has lived through, nobody can tell whether this is an older state: tokens are void.
func TestRestartUnseenByAnyGateway(t *testing.T) {
	t.Parallel()
	f := setup(t)
	key, token := one[string](f, "SELECT terasocket.signing_key('user')"), mint(f, "user", f.uuid("user", 9))
	f.publishOnly(managerTopic, typed("UserEvent", `, "userUuid": "`+anyUUID+`"`))
	f.exec("UPDATE terasocket.epochs SET started_at = started_at - interval '1 day'")
	f.announce()
	mustEqual(t, "reason", f.reason(), "the server was started again")
	mustEqual(t, "keys", one[string](f, "SELECT terasocket.signing_key('user')") != key, true)
	mustEqual(t, "token", redeem(f, "user", token), "")
	mustEqual(t, "messages are announced", len(f.told()), 1)
}

// A database was moved by a dump and migrated to newer functions before any gateway ran: fill() detects the move.
func TestFillForgetsThePast(t *testing.T) {
	t.Parallel()
	f := setup(t)
	key := one[string](f, "SELECT terasocket.signing_key('user')")
	f.exec("SELECT terasocket.kick('" + f.uuid("user", 9) + "')")
	f.exec("UPDATE terasocket.epochs SET system_identifier = 1, started_at = started_at - interval '1 day'; UPDATE terasocket.filling SET fill_type = 'start'")
	f.fill("5000")
	f.announce()
	mustEqual(t, "keys", one[string](f, "SELECT terasocket.signing_key('user')") != key, true)
	mustEqual(t, "kicks", one[int](f, "SELECT count(*) FROM terasocket.events WHERE type = 'terasocket.Kick'"), 0)
}

// During a restore nothing is written that would conflict with it: it creates primary keys last.
func TestNothingIsAnnouncedDuringARestore(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"terasocket.told", "public.t_tests_invitations"} {
		f := setup(t)
		f.exec("UPDATE terasocket.epochs SET log = 1; ALTER TABLE " + table + " DROP CONSTRAINT " + table[strings.IndexByte(table, '.')+1:] + "_pkey CASCADE")
		if _, err := f.call("100"); err == nil || !strings.Contains(err.Error(), "being restored") {
			t.Errorf("%s: %v", table, err)
		}
	}
}

// Rule "no seq is given out twice": not even if the caller's last seq is above those of this database.
func TestEpochBeginsAboveTheCallersLastSeq(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("UPDATE terasocket.epochs SET started_at = started_at - interval '1 day'")
	s, err := f.call("100, false, 9000000000000000000")
	if err != nil || s.epoch != 9000000000000000001 {
		t.Errorf("%+v, %v", s, err)
	}
	f.skip()
	e := f.expectOne(rename1, "U participant 1")
	mustEqual(t, "seq", e.Seq, s.epoch+1)
}

// Messages, presence and kicks captured and not announced in another past are not executed here; changes of objects are.
func TestForgetThePast(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.publishOnly(managerTopic, typed("UserEvent", `, "userUuid": "`+anyUUID+`"`))
	f.exec("SELECT terasocket.kick('" + f.uuid("user", 9) + "'); UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	f.exec("UPDATE terasocket.epochs SET database = 1")
	f.announce()
	mustEqual(t, "told", f.told(), []string{"U site 1"})
}

// publishOnly publishes without announcing.
func (f *fixture) publishOnly(topic, message string) {
	f.Helper()
	f.exec("SELECT terasocket.publish($1, $2::jsonb)", topic, message)
}

// Of consecutive epochs the last hundred are kept.
func TestEpochsAreBounded(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for range 110 {
		execOn(t, f.teller, lock+"SELECT terasocket.begin_epoch('test', 0); COMMIT")
	}
	n := one[int](f, "SELECT count(*) FROM terasocket.epochs")
	if n != 101 {
		t.Errorf("%d epochs", n)
	}
	f.skip()
	f.expect(rename1, "U participant 1")
}
