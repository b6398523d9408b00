package migrations_test

import (
	"fmt"
	"slices"
	"testing"
)

// Each test here is a schedule of two transactions whose statements and commits alternate. What is announced follows the committed
// states, whatever each transaction saw.

// hearing returns what one user receives about one object, in order.
func hearing(events []recorded, user int32, what string) (heard []string) {
	for _, e := range events {
		if e.String()[2:] != what {
			continue
		}
		body, gone := e.hears()
		switch saw := slices.Contains(e.saw, user); {
		case slices.Contains(gone, user):
			heard = append(heard, "delete")
		case !slices.Contains(body, user):
		case !saw:
			heard = append(heard, "create")
		default:
			heard = append(heard, "update")
		}
	}
	return heard
}

// pair returns two writers, and a session of participant 1.
func pair(t *testing.T) (f, t1, t2 *fixture) {
	f = setup(t)
	f.exec(newSession + "INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1)")
	f.log()
	return f, f.beside(), f.beside()
}

// One transaction renames a participant while it moves: those who lost it never receive the new name, those who gained it do.
func TestRenameBesideAMove(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		for name, announceBetween := range map[string]bool{"one announcement": false, "two announcements": true} {
			t.Run(level+" "+name, func(t *testing.T) {
				t.Parallel()
				f, t1, t2 := pair(t)
				t1.exec("BEGIN ISOLATION LEVEL " + level + "; UPDATE t_sessions SET session_name = 'renamed' WHERE id_session = 9000")
				t2.exec(moveTo4)
				var events []recorded
				if announceBetween {
					events = f.log()
				}
				t1.exec("COMMIT")
				events = append(events, f.log()...)
				for _, e := range events {
					if e.ObjectType == "session" && e.Body["session_name"] == "renamed" {
						mustNotSee(t, "the new name", e.sees, project1)
						mustSee(t, "the new name", e.sees, project4)
					}
				}
				// announced alone, the move updates the session's keys silently
				want := map[bool][]string{false: {"create"}, true: {"update"}}
				mustEqual(t, "received by project 4", hearing(events, project4, "session 9000"), want[announceBetween])
				if got := hearing(events, project1, "participant 1"); !slices.Equal(got, []string{"delete"}) {
					t.Errorf("project 1 receives %q of the participant", got)
				}
				f.remembers()
			})
		}
	}
}

// One transaction adds a link while another renames: the last announced state is the committed one.
func TestLinkBesideARename(t *testing.T) {
	t.Parallel()
	f, t1, t2 := pair(t)
	t1.exec("BEGIN; INSERT INTO t_sessions_users VALUES (9000, 9000, 13, 1)")
	t2.exec("UPDATE t_sessions SET session_name = 'new name' WHERE id_session = 9000")
	f.expectLog("the rename", "U session 9000")
	t1.exec("COMMIT")
	e := f.expectLog("the link", "U session 9000")[0]
	mustEqual(t, "name", e.Body["session_name"], any("new name"))
	mustEqual(t, "the new member", hearing([]recorded{e}, nobody, "session 9000"), []string{"create"})
}

// One transaction links a device, another soft-deletes it: it is not announced alive again.
func TestLinkBesideASoftDelete(t *testing.T) {
	t.Parallel()
	f, t1, t2 := pair(t)
	t1.exec("BEGIN; INSERT INTO t_devices_sites (id_device_site, id_device, id_site, version_id) VALUES (9000, 1, 3, 1)")
	t2.exec("UPDATE t_devices SET deleted_at = now() WHERE id_device = 1")
	f.expectLog("the soft delete", "G device 1")
	t1.exec("COMMIT")
	f.expectLog("the link of a dead device")
	f.remembers()
}

// One transaction removes a member, another makes the same user the creator: the creator's last event is not a deletion.
func TestMemberRemovedBesideANewCreator(t *testing.T) {
	t.Parallel()
	f, t1, t2 := pair(t)
	t1.exec("INSERT INTO t_sessions_users VALUES (9000, 9000, 13, 1)")
	f.log()
	t1.exec("BEGIN; UPDATE t_sessions_users SET deleted_at = now() WHERE id_session_user = 9000")
	t2.exec("UPDATE t_sessions SET id_creator_user = 13 WHERE id_session = 9000")
	mustEqual(t, "creator", hearing(f.log(), nobody, "session 9000"), []string{"update"})
	t1.exec("COMMIT")
	mustEqual(t, "creator", hearing(f.log(), nobody, "session 9000"), []string{"update"})
}

// A soft delete beside a new member: a user that was just told of the session is told that it is gone.
func TestSoftDeleteBesideANewMember(t *testing.T) {
	t.Parallel()
	f, t1, t2 := pair(t)
	t1.exec("BEGIN; UPDATE t_sessions SET deleted_at = now() WHERE id_session = 9000")
	t2.exec("INSERT INTO t_sessions_users VALUES (9000, 9000, 13, 1)")
	mustEqual(t, "the new member", hearing(f.log(), nobody, "session 9000"), []string{"create"})
	t1.exec("COMMIT")
	e := f.expectLog("the soft delete", "G session 9000")[0]
	mustSee(t, "told that it is gone", e.saw, nobody, project1)
}

// Both in one announcement: the new member was never told of it, and receives nothing.
func TestSoftDeleteBesideANewMemberAtOnce(t *testing.T) {
	t.Parallel()
	f, t1, t2 := pair(t)
	t1.exec("BEGIN; UPDATE t_sessions SET deleted_at = now() WHERE id_session = 9000")
	t2.exec("INSERT INTO t_sessions_users VALUES (9000, 9000, 13, 1)")
	t1.exec("COMMIT")
	events := f.log()
	mustEqual(t, "the new member", len(hearing(events, nobody, "session 9000")), 0)
	if len(events) != 1 || !slices.Contains(events[0].saw, project1) {
		t.Errorf("%v", events)
	}
}

// Former viewers follow from told, not from the transaction: in one transaction the participant moves, then his session is deleted; a
// role is granted in the deleting transaction; constraints are immediate.
func TestFormerViewers(t *testing.T) {
	t.Parallel()
	const gone = "UPDATE t_sessions SET deleted_at = now() WHERE id_session = 9000; "
	for _, sql := range []string{moveTo4 + gone, gone + moveTo4, "INSERT INTO t_sessions_participants VALUES (9001, 9000, 61, 1); " + gone,
		"SET CONSTRAINTS ALL IMMEDIATE; " + moveTo4 + gone,
		"INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id) SELECT 9000, 13, id_user_group, 1 FROM t_users_users_groups WHERE id_user = 9 AND deleted_at IS NULL LIMIT 1; " + gone} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f, _, _ := pair(t)
			f.exec("BEGIN; " + sql + "COMMIT")
			events := f.log()
			told := false
			for _, e := range events {
				if e.String()[2:] == "session 9000" {
					told = true
					mustSee(t, e.String(), e.saw, project1)
					mustNotSee(t, e.String(), append(e.sees, e.saw...), project4, nobody)
				}
			}
			if !told {
				t.Errorf("%v", events)
			}
			f.remembers()
		})
	}
}

// OpenTera commits a session first and its members in a second transaction, by which it becomes visible: DB_CREATE.
func TestObjectBecomesVisible(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec(newSession)
	mustEqual(t, "alone", len(hearing(f.log(), project1, "session 9000")), 0)
	f.exec("INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1)")
	mustEqual(t, "with its member", hearing(f.log(), project1, "session 9000"), []string{"create"})
	f.exec("UPDATE t_sessions SET session_name = 'x' WHERE id_session = 9000")
	mustEqual(t, "then", hearing(f.log(), project1, "session 9000"), []string{"update"})
}

// The same by rights: a role is revoked while another transaction renames what was seen by it.
func TestRightsBesideARename(t *testing.T) {
	t.Parallel()
	for i, commits := range [][]int{{0, 1}, {1, 0}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			f, t1, t2 := pair(t)
			writers := []*fixture{t1, t2}
			t1.exec("BEGIN; UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9")
			t2.exec("BEGIN; " + rename1)
			writers[commits[0]].exec("COMMIT")
			first := f.log()
			writers[commits[1]].exec("COMMIT")
			heard := hearing(append(first, f.log()...), project1, "participant 1")
			if want := []string{"update"}; i == 1 && !slices.Equal(heard, want) || i == 0 && len(heard) > 0 {
				t.Errorf("commits %v: receives %q", commits, heard)
			}
			f.remembers()
		})
	}
}
