package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// Rule "bounds": a change of all objects of a type, and changes that a trigger could not record, are announced in parts. Otherwise one
// could exceed any time limit, be set aside and never be announced.
func TestWholeTypeIsAnnouncedInParts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true // there are capture errors
	manyParticipants(f, 2500)
	f.log()
	f.exec(`INSERT INTO terasocket.capture_errors (table_name, op, sqlstate, message, what) VALUES ('t_participants', 'UPDATE', '55P03', 'x', 'participant')`)
	for i, most := range []int{0, 1000} { // the first one only divides it
		s, err := f.call("1000")
		if err != nil || !s.more || s.rows > most || i > 0 && s.rows == 0 {
			t.Fatalf("announcement %d: %+v, %v; want at most %d rows, and more", i, s, err, most)
		}
	}
	want := one[int](f, "SELECT count(*)::int FROM t_participants WHERE deleted_at IS NULL")
	if n := len(f.log()); n != want {
		t.Errorf("%d participants announced, want %d", n, want)
	}
	mustEqual(t, "capture errors that wait", one[int](f, "SELECT count(*)::int FROM terasocket.capture_errors WHERE announced_at IS NULL"), 0)
	mustEqual(t, "changes left", len(f.changes()), 0)
	f.remembers()
}

// The same for rights: those that followed from deleted rows are found by the users, not by the rows.
func TestRightsOfAWholeTypeAreAnnouncedInParts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("TRUNCATE t_users_users_groups, t_services_access; TRUNCATE t_tests_invitations")
	for more := true; more; {
		s, err := f.call("1")
		if err != nil {
			t.Fatal(err)
		}
		more = s.more
	}
	f.remembers()
	mustEqual(t, "roles that are still held", one[int](f, `SELECT count(*)::int FROM terasocket.holdings h JOIN t_users u ON u.id_user = h.id
		WHERE h.kind = 'user' AND NOT u.user_superadmin AND h.tag <> 'u:' || h.id`), 0)
}

// Nor is a backlog of sessions touched to announce a part of it: nobody's tags follow from them.
func TestSessionsThatWaitAreNotTouched(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.log()
	f.exec("UPDATE t_sessions SET id_creator_user = 9 WHERE id_session = 1; UPDATE t_sessions SET id_creator_user = 9 WHERE id_session = 2; UPDATE t_users SET user_superadmin = true WHERE id_user = 9")
	const waiting = "SELECT string_agg(concat_ws(' ', c.what, c.rights), ', ' ORDER BY c.id) FROM terasocket.changes c"
	mustEqual(t, "waiting", one[string](f, waiting), "session t, session t, user t")
	if s, err := f.call("1"); err != nil || !s.more {
		t.Fatalf("%+v, %v; want more", s, err)
	}
	mustEqual(t, "waiting", one[string](f, waiting), "session t, user")
	f.remembers()
}

// Rule "no gateway runs": everything is filled again at once, whatever waits before that.
func TestEverythingIsFilledAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(rename1 + "; UPDATE t_sites SET site_name = 'x'; INSERT INTO terasocket.changes (what, op) VALUES ('everything', 'U')")
	execOn(t, f.teller, "SET terasocket.max_changes_bytes = 1")
	s, err := f.call("1")
	if err != nil || s.rows != 0 || s.more || f.isFilled() {
		t.Errorf("%+v, %v; filled %t", s, err, f.isFilled())
	}
	execOn(t, f.teller, "RESET terasocket.max_changes_bytes")
	f.fill("1000")
	f.remembers()
}

// A link of a test type to a site affects its alias. Its tests, possibly a million, are not read.
func TestLinkOfATestTypeReadsNoTests(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true
	f.exec(`UPDATE terasocket.told SET keys = '[["looked at"]]' WHERE object_type = 'test'`)
	f.log()
	f.exec("UPDATE t_tests_types_sites SET deleted_at = now() WHERE id_test_type = 1 AND id_site = 1")
	f.log()
	mustEqual(t, "tests read", one[int](f, `SELECT count(*)::int FROM terasocket.told WHERE object_type = 'test' AND keys <> '[["looked at"]]'`), 0)
	f.exec("UPDATE t_tests_types SET id_service = (SELECT min(s.id_service) FROM t_services s WHERE s.id_service <> t_tests_types.id_service) WHERE id_test_type = 1")
	f.log()
	mustEqual(t, "unread tests of the type", one[int](f, `SELECT count(*)::int FROM terasocket.told o JOIN t_tests e ON e.id_test = o.id
		WHERE o.object_type = 'test' AND e.id_test_type = 1 AND o.keys = '[["looked at"]]'`), 0)
}

// What a trigger could not record is not set aside together with a slow object.
func TestUnreadChangesAreNotSetAside(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.isBroken = true
	f.exec(rename1 + `; INSERT INTO terasocket.capture_errors (table_name, op, sqlstate, message, what, ids) VALUES ('t_sites', 'UPDATE', '55P03', 'x', 'site', '{1}')`)
	execOn(t, f.teller, lock+"SELECT terasocket.set_aside_next(); COMMIT")
	mustEqual(t, "set aside", one[[]string](f, "SELECT array_agg(concat_ws(' ', object_type, id)) FROM terasocket.set_aside"), []string{"participant 1"})
	f.expectLog("capture error", "U site 1")
}

// Rights that follow from an object set aside are announced all the same: a lost link must not keep granting access.
func TestRightsAreNotSetAsideWithAnObject(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, write, state, want string }{
		{"alias", "DELETE FROM t_tests_types_sites WHERE id_test_type = 1 AND id_site = 1",
			`SELECT (keys -> 0 ? 's:1')::text FROM terasocket.aliases WHERE tag = 'test_type:1'`, "false"},
		{"aliases behind it in its row", "UPDATE t_services_projects SET deleted_at = now()",
			`SELECT count(*)::text FROM terasocket.aliases WHERE tag ~ '^service:[0-9]' AND keys::text LIKE '%p:%'`, "0"},
		{"tags of all of a type", "UPDATE t_devices SET device_enabled = false; DELETE FROM terasocket.changes; INSERT INTO terasocket.changes (what, op, rights) VALUES ('device', 'U', true)",
			"SELECT count(*)::text FROM terasocket.holdings WHERE kind = 'device'", "0"},
		{"group", "UPDATE t_services_access SET deleted_at = now() WHERE id_user_group = 1",
			`SELECT count(*)::text FROM (SELECT h.id, h.tag FROM terasocket.holdings h WHERE h.kind = 'user'
				EXCEPT SELECT t.id, t.tag FROM terasocket.tags_of('user', ARRAY(SELECT id_user FROM t_users)) t) d`, "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.isBroken = true
			f.exec(tt.write)
			if before := one[string](f, tt.state); before == tt.want {
				t.Fatalf("the change changes no rights: %s", before)
			}
			execOn(t, f.teller, lock+"SELECT terasocket.set_aside_next(); COMMIT")
			f.log()
			mustEqual(t, "rights", one[string](f, tt.state), tt.want)
			mustEqual(t, "rows set aside", one[bool](f, "SELECT count(*) > 0 FROM terasocket.set_aside"), true)
		})
	}
}

// While the memory is being filled, the filling is what takes long: no change is lost for it.
func TestNothingIsSetAsideWhileTheMemoryIsFilled(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("UPDATE terasocket.filling SET fill_type = 'start'; " + rename1)
	execOn(t, f.teller, lock)
	if _, err := f.teller.Exec(t.Context(), "SELECT terasocket.set_aside_next()"); stateOf(err) != "55000" {
		t.Errorf("%v", err)
	}
	execOn(t, f.teller, "ROLLBACK")
	mustEqual(t, "waiting", f.isWaiting("participant"), true)
	f.fill("1000")
}

// Whoever loses sight of an object while a backlog is announced in parts counts among former viewers until all is settled. They are not
// shown what became of it meanwhile, even if it is soft-deleted in the end.
func TestASoftDeleteAmongUnsettledRightsShowsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("UPDATE t_users_users_groups SET deleted_at = now(); UPDATE t_sites SET site_name = 'x'; UPDATE t_projects SET project_name = 'y'")
	step := func(what string) {
		if s, err := f.call("1"); err != nil || !s.more {
			t.Fatalf("%s: %+v, %v; want more", what, s, err)
		}
	}
	step("rights")
	f.exec("UPDATE t_participants SET participant_name = 'secret' WHERE id_participant = 1; UPDATE t_sites SET site_name = 'z'")
	for f.isWaiting("participant") {
		step("the secret")
	}
	f.exec("UPDATE t_participants SET deleted_at = now() WHERE id_participant = 1; UPDATE t_sites SET site_name = 'x'")
	var said []string
	for _, e := range f.log() {
		if e.ObjectType == "participant" && e.ObjectID == 1 {
			body, gone := e.hears()
			said = append(said, fmt.Sprint(e.Op, " ", e.Body["participant_name"], " to ", body, ", gone for others ", len(gone) > 0))
		}
	}
	mustEqual(t, "the participant", said, []string{"U secret to [1 2], gone for others true", "G secret to [1 2], gone for others false"})
	f.remembers()
}

// The former viewers of an object that is announced twice while rights are not settled are those who held its keys the first time: they
// are told that it is deleted, and nobody else is.
func TestFormerViewersOfWhatIsAnnouncedTwice(t *testing.T) {
	t.Parallel()
	const more, member = "; UPDATE t_sites SET site_name = site_name || '.'", "UPDATE t_users_users_groups SET deleted_at = %s WHERE id_user = 9"
	for name, tc := range map[string]struct {
		before, rights, object, then string
		first, second                func(t testing.TB, what string, got []int32, who ...int32)
	}{
		"gained, and deleted": {fmt.Sprintf(member, "now()"), fmt.Sprintf(member, "NULL"), rename1, deleteSoft1, mustSee, mustSee},
		"gained, and moved":   {fmt.Sprintf(member, "now()"), fmt.Sprintf(member, "NULL"), rename1, moveTo4, mustSee, mustSee},
		"lost, and deleted": {"SELECT 1", fmt.Sprintf(member, "now()"), "INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_token_enabled, " +
			"participant_enabled, participant_login_enabled, id_project, version_id) VALUES (1000, 'new', 'new', false, true, false, 1, 1)",
			"DELETE FROM t_participants WHERE id_participant = 1000", mustNotSee, mustNotSee},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			part := func(sql string, until string) (events []recorded) {
				f.exec("BEGIN; " + strings.TrimSuffix(sql, "; ") + more + "; COMMIT")
				for f.isWaiting(until) {
					if s, err := f.call("1"); err != nil || !s.more {
						t.Fatalf("%+v, %v; want more", s, err)
					}
				}
				return f.judged(f.rows())
			}
			f.exec(tc.before)
			f.log()
			part(tc.rights, "user")
			events := part(tc.object, "participant")
			e := events[len(events)-1]
			mustEqual(t, "announced", e.ObjectType, "participant")
			tc.first(t, e.String(), e.sees, project1)
			f.exec(tc.then)
			for _, e := range f.log() {
				if e.ObjectType == "participant" {
					mustNotSee(t, e.String(), e.sees, project1)
					tc.second(t, e.String()+", before", e.saw, project1)
				}
			}
			f.remembers()
		})
	}
}

// A soft delete in a part of a backlog shows nothing: the object may have been renamed in the rest.
func TestSoftDeleteInAPartShowsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("BEGIN; " + deleteSoft1 + rename1 + "COMMIT")
	if s, err := f.call("1"); err != nil || !s.more {
		t.Fatalf("%+v, %v; want more", s, err)
	}
	f.announce()
	mustEqual(t, "announced", f.told(), []string{"Rights participant 1 -t:1", "U session 8", "U session 52", "U test_invitation 1", "D participant 1", "Settled"})
	f.remembers()
}

// isWaiting reports whether a change of a type is not announced yet.
func (f *fixture) isWaiting(what string) bool {
	f.Helper()
	return one[bool](f, "SELECT EXISTS (SELECT FROM terasocket.changes c WHERE c.what = $1)", what)
}

// Rule "first fill": a long reader of the memory, such as a dump, does not delay it.
func TestFillIsNotHeldUpByAReader(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("UPDATE terasocket.filling SET fill_type = 'start'")
	f.exec("BEGIN; SELECT count(*) FROM terasocket.told, terasocket.holdings, terasocket.aliases, terasocket.set_aside")
	execOn(t, f.teller, lock+"SET LOCAL lock_timeout = '50ms'; SELECT terasocket.fill(1000); COMMIT")
	mustEqual(t, "told", oneOn[int](t, f.teller, "SELECT count(*)::int FROM terasocket.told"), 0)
	f.exec("COMMIT")
	f.fill("1000")
	f.remembers()
}
