package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// poison makes announcements of one participant fail or hang: what is the SQL of a trigger on terasocket.told.
func (f *fixture) poison(id int, what string) {
	f.Helper()
	f.isBroken = true
	f.exec(fmt.Sprintf(`CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.object_type = 'participant' AND NEW.id = %d THEN %s; END IF; RETURN NEW; END $$;
		CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON terasocket.told FOR EACH ROW EXECUTE FUNCTION poison()`, id, what))
}

// moved is a change of participants 1, 2 and 3 that updates the memory.
const moved = "UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant IN (1, 2, 3)"

// Rule "what cannot be announced": one failing object fails the announcement; with careful, it alone is set aside until its next change.
func TestWhatCannotBeAnnounced(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.poison(2, "RAISE EXCEPTION 'poisoned' USING ERRCODE = '22000'")
	f.exec(moved + "; UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	if _, err := f.call(""); stateOf(err) != "22000" {
		t.Fatalf("%v", err)
	}
	mustEqual(t, "rows of a failed announcement", f.told(), []string{})
	if _, err := f.call("2000, true"); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "told", f.told(), []string{"U participant 1", "U participant 3", "U site 1"})
	const aside = "SELECT coalesce(array_agg(concat_ws(' ', object_type, id, sqlstate, message)), '{}') FROM terasocket.set_aside"
	mustEqual(t, "set aside", one[[]string](f, aside), []string{"participant 2 22000 poisoned"})
	mustEqual(t, "changes left", len(f.changes()), 0)
	f.exec("DROP TRIGGER poison ON terasocket.told; " + rename1)
	f.expectLog("of another", "U participant 1")
	mustEqual(t, "set aside", one[[]string](f, aside), []string{"participant 2 22000 poisoned"})
	e := f.expectOne("UPDATE t_participants SET participant_name = 'x' WHERE id_participant = 2", "U participant 2")
	mustSee(t, "former viewers", e.saw, project1)
	mustEqual(t, "set aside", one[[]string](f, aside), []string{})
	f.remembers()
}

// An object set aside is announced together with an object that it depends on, since its own change was not.
func TestWhatWasSetAsideFollowsAnother(t *testing.T) {
	t.Parallel()
	f := setup(t)
	session := one[int](f, "SELECT min(p.id_session) FROM t_sessions_participants p JOIN t_sessions s USING (id_session) WHERE p.id_participant = 1 AND s.deleted_at IS NULL")
	f.exec(fmt.Sprintf("UPDATE t_sessions SET session_name = 'x' WHERE id_session = %d", session))
	execOn(t, f.teller, lock+"SELECT terasocket.set_aside_next(); COMMIT")
	f.log()
	f.exec("UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 1")
	f.expectLog("it follows", fmt.Sprint("U session ", session), "U participant 1")
	mustEqual(t, "set aside", one[int](f, "SELECT count(*) FROM terasocket.set_aside"), 0)
	f.remembers()
}

// Rule "what cannot be announced": a failing message does not affect others either.
func TestWhatCannotBeAnnouncedOfMessages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true
	f.exec(`INSERT INTO terasocket.changes (what, op, body) VALUES ('message', 'M', '{"topic": "t", "type": "opentera.protobuf.UserEvent", "message": {}, "members": ["u:9"]}'),
		('kick', 'M', '{"kind": "user", "id": "nine", "token": 0}'), ('message', 'M', '{"topic": "t", "type": "opentera.protobuf.UserEvent", "message": {}, "members": ["u:9"]}')`)
	if _, err := f.call(""); stateOf(err) != "22P02" {
		t.Fatalf("%v", err)
	}
	if _, err := f.call("2000, true"); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "told", f.told(), []string{"UserEvent", "UserEvent"})
	mustEqual(t, "set aside", one[string](f, "SELECT min(object_type) FROM terasocket.set_aside"), "kick")
}

// Rule "what cannot be announced": a failure of the server sets nothing aside, neither objects nor messages, which no later change would
// bring back.
func TestServerFailuresSetNothingAside(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"40001", "40P01", "55P03", "53100", "53200", "57P01", "58030"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			fails := fmt.Sprintf("RAISE EXCEPTION 'the server is in trouble' USING ERRCODE = '%s'", state)
			f.poison(2, fails)
			f.exec(moved)
			waiting := f.changes()
			if _, err := f.call("2000, true"); stateOf(err) != state {
				t.Errorf("an object: %v", err)
			}
			mustEqual(t, "changes left", f.changes(), waiting)
			f.exec("DROP TRIGGER poison ON terasocket.told")
			f.expectLog("after recovery", "U participant 1", "U participant 2", "U participant 3")

			f.exec(`INSERT INTO terasocket.changes (what, op, body) VALUES ('message', 'M', '{"topic": "t", "type": "opentera.protobuf.UserEvent", "message": {}, "members": ["u:9"]}');
				ALTER FUNCTION terasocket.announced_message RENAME TO well;
				CREATE FUNCTION terasocket.announced_message(c terasocket.changes) RETURNS terasocket.events[] LANGUAGE plpgsql AS $$ BEGIN ` + fails + `; END $$`)
			waiting = f.changes()
			if _, err := f.call("2000, true"); stateOf(err) != state {
				t.Errorf("a message: %v", err)
			}
			mustEqual(t, "changes left", f.changes(), waiting)
			f.exec("DROP FUNCTION terasocket.announced_message; ALTER FUNCTION terasocket.well RENAME TO announced_message")
			if _, err := f.call(""); err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "after recovery", f.told(), []string{"UserEvent"})
			mustEqual(t, "set aside", one[int](f, "SELECT count(*) FROM terasocket.set_aside"), 0)
		})
	}
}

// Rule "what cannot be announced": an object that exceeds the time limit is set aside by set_aside_next(), and the rest goes on.
func TestWhatCannotBeAnnouncedInTime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.poison(1, "PERFORM pg_sleep(60)")
	f.exec(strings.Replace(moved, "SET", "SET participant_enabled = false,", 1) +
		"; DELETE FROM terasocket.changes WHERE NOT rights; UPDATE terasocket.changes SET ids = '{1,2,3}'")
	execOn(t, f.teller, "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = '300ms'; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE")
	_, err := f.teller.Exec(t.Context(), "SELECT * FROM terasocket.announce(1, true)")
	if stateOf(err) != "57014" {
		t.Fatalf("%v", err)
	}
	execOn(t, f.teller, "ROLLBACK")
	execOn(t, f.teller, lock+"SELECT terasocket.set_aside_next(); COMMIT")
	mustEqual(t, "set aside", one[[]string](f, "SELECT array_agg(concat_ws(' ', object_type, id, sqlstate)) FROM terasocket.set_aside"), []string{"participant 1 57014"})
	for more := true; more; {
		s, err := f.call("1, true")
		if stateOf(err) == "57014" {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		more = s.more
		if left := f.changes(); len(left) > 0 && left[0].IDs[0] == 1 {
			execOn(t, f.teller, lock+"SELECT terasocket.set_aside_next(); COMMIT")
		}
	}
	told := f.told()
	mustEqual(t, "told", told[len(told)-1], "Settled")
	mustEqual(t, "tags of the user whose rights cannot be computed, and of later ones", one[int](f, "SELECT count(*) FROM terasocket.holdings WHERE kind = 'participant' AND id <= 3"), 0)
	f.exec("DROP TRIGGER poison ON terasocket.told; " + rename1)
	f.expectLog("its next change", "U participant 1")
	f.remembers()
}

// An announcer gives up a lock and retries: nothing is set aside because somebody held a table.
func TestAnnouncingBesideAlterTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := f.beside()
	f.exec("UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	other.exec("BEGIN; LOCK TABLE t_sites IN ACCESS EXCLUSIVE MODE")
	for _, args := range []string{"", "2000, true"} {
		if _, err := f.call(args); stateOf(err) != "55P03" {
			t.Errorf("announce(%s): %v", args, err)
		}
	}
	other.exec("COMMIT")
	f.expectLog("afterwards", "U site 1")
	mustEqual(t, "set aside", one[int](f, "SELECT count(*) FROM terasocket.set_aside"), 0)
}
