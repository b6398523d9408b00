package migrations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"terasocket/db/opentera"
)

const kick9 = "SELECT terasocket.publish('" + kickTopic + opentera.DemoProjectUserUUID + `', '{"@type": "type.googleapis.com/opentera.protobuf.ServerCommand", "type": 2}'); `

// do runs statements in one transaction, announces, and returns a summary of the events.
func (f *fixture) do(sql string) []string {
	f.Helper()
	f.skip()
	f.exec("BEGIN; " + sql + "; COMMIT")
	f.announce()
	return f.told()
}

// Rule "bounds": at most so many objects, and nothing is lost or repeated; what is committed between two announcements follows.
func TestBoundsOfObjects(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manyParticipants(f, 35)
	s, err := f.call("10")
	if err != nil || s.rows != 10+35+1-1 || !s.more { // including what 35 participants hold
		t.Fatalf("%+v, %v", s, err)
	}
	f.exec("UPDATE t_sites SET site_name = 'between' WHERE id_site = 1; UPDATE t_participants SET participant_name = 'between' WHERE id_participant IN (100003, 100030)")
	var all []string
	for more := true; more; more = s.more {
		if s, err = f.call("10"); err != nil || s.rows > 11 { // including Settled
			t.Fatalf("%+v, %v", s, err)
		}
	}
	rows := f.rows()
	seen, announcements := map[string]int{}, map[int64]int{}
	for _, r := range rows {
		all = append(all, short(f, r))
		seen[all[len(all)-1]]++
		announcements[r.Announcement]++
	}
	for i := range 35 {
		if n := seen[fmt.Sprintf("C participant %d", 100000+i)]; n != 1 {
			t.Errorf("participant %d is created %d times", 100000+i, n)
		}
	}
	if seen["U site 1"] != 1 || seen["U participant 100003"] != 1 || seen["Settled"] != 1 || len(announcements) != 4 {
		t.Errorf("%d announcements: %q", len(announcements), all)
	}
	for i := 1; i < len(rows); i++ {
		if rows[i].Seq != rows[i-1].Seq+1 {
			t.Errorf("seq %d follows %d", rows[i].Seq, rows[i-1].Seq)
		}
	}
	mustEqual(t, "left", len(f.changes()), 0)
	f.remembers()
}

// Rule "bounds": the first announcement has all rights of its snapshot; a lost tag counts for former viewers, never for present ones,
// until Settled, which comes last.
func TestBoundsOfRights(t *testing.T) {
	t.Parallel()
	f := setup(t)
	mustSee(t, "participant 1", f.seers("participant", 1), project1)
	f.exec("BEGIN; UPDATE t_participants SET participant_name = participant_name || '.' WHERE id_project = 1; " + deleteSoft1 + "UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9; COMMIT")
	var s said
	var err error
	calls := 0
	for more := true; more; more = s.more {
		if s, err = f.call("5"); err != nil {
			t.Fatal(err)
		}
		calls++
		if settled := oneOn[bool](t, f.teller, "SELECT is_settled FROM terasocket.announcer"); settled == s.more {
			t.Errorf("is_settled is %t, more %t", settled, s.more)
		}
	}
	rows := f.rows()
	var all []string
	for _, r := range rows {
		all = append(all, short(f, r))
	}
	if calls < 3 || !strings.HasPrefix(all[1], "Rights user 9 -") || all[len(all)-1] != "Settled" || slices.Index(all, "Settled") != len(all)-1 {
		t.Errorf("%d announcements: %q", calls, all)
	}
	rights := slices.IndexFunc(all[2:], func(s string) bool { return strings.HasPrefix(s, "Rights") })
	if rights >= 0 {
		t.Errorf("rights once more: %s", all[2+rights])
	}
	for _, e := range f.judged(rows) {
		mustNotSee(t, e.String(), e.sees, project1)
		if e.ObjectType == "participant" {
			mustSee(t, e.String()+", before", e.saw, project1)
		}
	}
	f.remembers()
}

// Rule "bounds": the rights that follow from a row with many ids are announced once, in the first announcement, though its objects are
// announced in parts.
func TestBoundsWithinARow(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("UPDATE t_participants SET participant_enabled = false, participant_name = 'x' WHERE id_participant <= 30")
	for more := true; more; {
		s, err := f.call("7")
		if err != nil {
			t.Fatal(err)
		}
		more = s.more
	}
	count := map[string]int{}
	for i, line := range f.told() {
		kind := strings.Fields(line)[0]
		if count[kind]++; kind == "Rights" && i > 30 {
			t.Errorf("%s is row %d", line, i)
		}
	}
	mustEqual(t, "rows", count["U"], 30)
	mustEqual(t, "Settled", count["Settled"], 1)
	if count["Rights"] == 0 || count["Rights"] > 30 {
		t.Errorf("%v", count)
	}
	f.remembers()
}

// Rule "order inside": rights; then messages at their change, creates and updates at the object's first, deletes at its last.
func TestOrderInside(t *testing.T) {
	t.Parallel()
	f := setup(t)
	mustEqual(t, "told", f.do("UPDATE t_sites SET site_name = 'a' WHERE id_site = 1; "+kick9+"UPDATE t_devices SET device_name = 'b' WHERE id_device = 1; "+
		"DELETE FROM t_tests_invitations WHERE id_test_invitation = 1; UPDATE t_sites SET site_name = 'c' WHERE id_site = 1; "+kick9+
		"UPDATE t_participants SET participant_enabled = false WHERE id_participant = 2"),
		[]string{"Rights participant 2 -t:2", "U site 1", "Kick user 9", "U device 1", "D test_invitation 1", "Kick user 9", "U participant 2", "Settled"})
	told := f.do("UPDATE t_participants SET participant_name = 'x' WHERE id_participant = 3; UPDATE t_sites SET site_name = 'd' WHERE id_site = 1; DELETE FROM t_sessions; DELETE FROM t_devices_participants; DELETE FROM t_participants WHERE id_participant = 3")
	if site, gone := slices.Index(told, "U site 1"), slices.Index(told, "D participant 3"); site < 0 || gone < site {
		t.Errorf("a delete is at its last change: %q", told)
	}
	f.remembers()
}

// Rule "order inside": several changes of one object are one row with its final state.
func TestOrderInsideOneRowAnObject(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.transaction("INSERT INTO t_sites VALUES (9000, 'a', false, 1); UPDATE t_sites SET site_name = 'b' WHERE id_site = 9000; ", "C site 9000")[0]
	mustEqual(t, "name", e.Body["site_name"], any("b"))
	f.exec("UPDATE t_sites SET site_name = 'c' WHERE id_site = 9000")
	f.exec("UPDATE t_sites SET site_name = 'd' WHERE id_site = 9000") // another transaction
	mustEqual(t, "name", f.expectLog("two updates", "U site 9000")[0].Body["site_name"], any("d"))
	f.transaction("UPDATE t_sites SET site_name = 'e' WHERE id_site = 9000; DELETE FROM t_sites WHERE id_site = 9000; ", "D site 9000")
}

// Rule "order inside": an object created and deleted in between is not announced, however it was deleted.
func TestOrderInsideCreatedAndDeleted(t *testing.T) {
	t.Parallel()
	f := setup(t)
	k := kinds()[3]
	for _, sql := range []string{k.insert() + "; " + k.delete(), k.insert() + "; " + k.set("deleted_at = now()"), k.insert() + "; " + k.set(k.update) + "; " + k.delete()} {
		f.exec("DELETE FROM t_participants WHERE id_participant = 9000")
		f.transaction(sql + "; ")
	}
	f.exec(k.insert()[:0] + "DELETE FROM t_participants WHERE id_participant = 9000; " + k.insert()) // two transactions
	f.exec(k.delete())
	f.expectLog("created and deleted")
	f.remembers()
}

// Rule "order inside": the same id with other minimal keys is another object: the old one is deleted first, for those who saw it.
func TestOrderInsideTheSameIDAgain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	k := kinds()[3]
	f.exec(k.insert())
	f.log()
	again := strings.ReplaceAll(strings.Replace(k.insert(), newUUID, "00000000-0000-4000-8000-00000000beef", 1), "true, true, 1", "true, true, 4")
	events := f.transaction(k.delete()+"; "+again+"; ", "D participant 9000", "C participant 9000")
	mustEqual(t, "the old one", events[0].Gone["participant_uuid"], any(newUUID))
	mustEqual(t, "the new one", events[1].Body["participant_uuid"], any("00000000-0000-4000-8000-00000000beef"))
	mustSee(t, "the old one", events[0].saw, superadmin, project1)
	mustNotSee(t, "the old one", events[0].saw, project4)
	mustSee(t, "the new one", events[1].sees, superadmin, project4)
	mustEqual(t, "the new one, before", events[1].Former, "")
	// with the same minimal keys it is the same object
	f.transaction("DELETE FROM t_sites WHERE id_site = 9000; INSERT INTO t_sites VALUES (9000, 'a', false, 1); ", "C site 9000")
	f.transaction("DELETE FROM t_sites WHERE id_site = 9000; INSERT INTO t_sites VALUES (9000, 'b', false, 1); ", "U site 9000")
	f.remembers()
}

// Rule "soft delete": those who saw it receive DB_UPDATE with deleted_at, or DB_DELETE if keys or body changed as well.
func TestSoftDelete(t *testing.T) {
	t.Parallel()
	f := setup(t)
	saw := f.seers("participant", 1)
	e := f.transaction(deleteSoft1, "G participant 1")[0]
	mustEqual(t, "recipients", e.saw, saw)
	if e.Body["deleted_at"] == nil || e.Present != "" {
		t.Errorf("%+v", e)
	}
	const undelete = "UPDATE t_participants SET deleted_at = NULL WHERE id_participant = 1; "
	e = f.transaction(undelete, "U participant 1")[0]
	if mustEqual(t, "viewers after the undelete", e.sees, saw); e.Former != "" || e.Body["deleted_at"] != nil {
		t.Errorf("%+v", e) // nobody saw it before: all receive DB_CREATE
	}
	f.transaction(rename1+deleteSoft1, "D participant 1")
	f.transaction(undelete, "U participant 1")
	f.transaction(moveTo4+deleteSoft1, "D participant 1")
	f.transaction(undelete, "U participant 1")
	f.transaction(deleteSoft1+undelete, "U participant 1")
	f.transaction(deleteSoft1+undelete+deleteSoft1, "G participant 1")
	f.transaction(undelete, "U participant 1")
	f.exec(deleteSoft1) // renamed after its deletion, by another transaction: nobody receives the new name
	f.exec(rename1 + "UPDATE t_participants SET participant_name = 'another' WHERE id_participant = 1")
	f.expectLog("deleted, then renamed", "D participant 1")
	f.remembers()
}

// Rule "told equals the keys of the announced state always": a change of what an object is seen through changes its keys silently; a
// change of the object's own link announces it.
func TestToldFollowsChanges(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, sql := range []string{
		moveTo4, moveBack, "UPDATE t_projects SET id_site = 2 WHERE id_project = 1", "UPDATE t_projects SET id_site = 1 WHERE id_project = 1",
		"UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9", "UPDATE t_users_users_groups SET deleted_at = NULL WHERE id_user = 9",
		"UPDATE t_services_access SET deleted_at = now() WHERE id_service_role IN (SELECT id_service_role FROM t_services_roles WHERE id_project = 1)",
		"UPDATE t_services_roles SET id_project = 2 WHERE id_project = 1", "UPDATE t_services_roles SET service_role_name = 'user' WHERE service_role_name = 'admin'",
		"UPDATE t_users_groups SET deleted_at = now() WHERE id_user_group < 5", "UPDATE t_users SET user_superadmin = NOT user_superadmin WHERE id_user IN (1, 9)",
		"UPDATE t_sessions_participants SET id_participant = 61 WHERE id_session < 5", "UPDATE t_sessions_devices SET deleted_at = now()", "UPDATE t_sessions SET id_creator_user = 9, id_creator_device = 2",
		"UPDATE t_services_projects SET deleted_at = now() WHERE id_service = 5", "UPDATE t_services SET service_uuid = 'other' WHERE id_service = (SELECT min(id_service) FROM t_services WHERE service_uuid NOT IN (SELECT asset_service_uuid FROM t_assets))", "UPDATE t_services SET deleted_at = now() WHERE id_service = 6",
		"UPDATE t_tests_types SET id_service = 3", "UPDATE t_tests_types_sites SET id_site = 2", "UPDATE t_tests_types SET deleted_at = now() WHERE id_test_type = 1",
		"UPDATE t_sites SET deleted_at = now() WHERE id_site = 1", "UPDATE t_users SET user_enabled = false WHERE id_user < 5", "DELETE FROM t_sessions WHERE id_session < 10",
		"UPDATE t_devices SET deleted_at = now() WHERE id_device = 1", "DELETE FROM t_services_roles WHERE id_project = 4",
	} {
		f.exec(sql)
		f.remembers()
		if f.Failed() {
			t.Fatalf("after %s", sql)
		}
	}
	mustEqual(t, "a link announces its object", f.do("UPDATE t_devices_sites SET id_site = 3 WHERE id_device = 2"), []string{"U device 2"})
}

// Rule "what is a role": changed rights produce rights rows, and no events of objects.
func TestRightsAlone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	got := f.do("UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9")
	if len(got) != 2 || !strings.HasPrefix(got[0], "Rights user 9 -p:1") || got[1] != "Settled" {
		t.Errorf("%q", got)
	}
	mustEqual(t, "given and taken at once", f.do("UPDATE t_users_users_groups SET deleted_at = NULL WHERE id_user = 9; UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9"), []string{})
	mustEqual(t, "disabled", f.do("UPDATE t_devices SET device_enabled = false WHERE id_device = 1"), []string{"Rights device 1 -d:1", "U device 1", "Settled"})
	mustEqual(t, "enabled", f.do("UPDATE t_devices SET device_enabled = true WHERE id_device = 1"), []string{"Rights device 1 +d:1", "U device 1", "Settled"})
	f.remembers()
}
