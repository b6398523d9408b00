package migrations_test

import (
	"strings"
	"testing"

	"terasocket/db/opentera"
)

// Users of the demo installation by what they see.
const (
	superadmin  = opentera.DemoSuperadminID
	siteAdmin1  = opentera.DemoSiteAdminID         // site 1: projects 1, 2, 3
	siteUser1   = opentera.DemoSiteUserID          // site 1, no project
	project1    = opentera.DemoProjectUserID       // project 1
	siteAdmin2  = opentera.DemoOtherSiteAdminID    // site 2: projects 4, 5, 6
	project4    = opentera.DemoOtherProjectAdminID // project 4
	project5    = opentera.DemoOtherProjectUserID  // project 5
	nobody      = opentera.DemoNoRoleID
	newSession  = `INSERT INTO t_sessions (id_session, session_uuid, id_session_type, id_creator_user, session_name, session_start_datetime, session_duration, session_status, version_id) VALUES (9000, 'u-9000', 1, NULL, 'New', now(), 0, 1, 1); `
	moveTo4     = "UPDATE t_participants SET id_project = 4 WHERE id_participant = 1; "
	moveBack    = "UPDATE t_participants SET id_project = 1 WHERE id_participant = 1; "
	rename1     = "UPDATE t_participants SET participant_name = 'renamed' WHERE id_participant = 1; "
	deleteSoft1 = "UPDATE t_participants SET deleted_at = now() WHERE id_participant = 1; "
)

// transaction runs statements in one transaction, statement by statement as OpenTera does, and returns what is announced.
func (f *fixture) transaction(sql string, want ...string) []recorded {
	f.Helper()
	return f.expect("BEGIN; "+sql+"COMMIT", want...)
}

// A session is created before its members: those who see it with them receive its creation.
func TestSessionCreatedWithItsMembers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.transaction(newSession+"INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1); INSERT INTO t_sessions_users VALUES (9000, 9000, 13, 1); ", "C session 9000")[0]
	mustNotSee(t, "session", e.sees, project4, project5, siteUser1)
	mustSee(t, "session", e.sees, superadmin, siteAdmin1, project1, nobody) // nobody is a member
	mustEqual(t, "former", e.Former, "")

	e = f.transaction(strings.ReplaceAll(newSession, "9000", "9001"), "C session 9001")[0]
	mustEqual(t, "a session of nobody", len(e.sees), 0)

	// the members are added in a second transaction, which makes the session visible
	e = f.transaction("INSERT INTO t_sessions_participants VALUES (9001, 9001, 1, 1); ", "U session 9001")[0]
	mustSee(t, "session", e.sees, superadmin, project1)
	mustEqual(t, "former viewers", len(e.saw), 0)
}

// The assets of a new session are announced to those who see the session in the end.
func TestAssetBeforeTheMembers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	events := f.transaction(newSession+`INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id)
		VALUES (9000, 9000, 'a', 'a', '`+opentera.DemoVideoRehabServiceUUID+`', 't', 1); INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1); `,
		"C session 9000", "C asset 9000")
	for _, e := range events {
		mustNotSee(t, e.String(), e.sees, project4, siteUser1, nobody)
		mustSee(t, e.String(), e.sees, superadmin, project1)
	}
}

// A participant moves: one row, which is a deletion for those who lose it, whatever else the transaction does.
func TestMove(t *testing.T) {
	t.Parallel()
	f := setup(t)
	saw := f.seers("participant", 1)
	for _, sql := range []string{moveTo4, moveTo4 + rename1, rename1 + moveTo4, moveTo4 + moveBack + moveTo4, rename1 + moveTo4 + rename1,
		"SAVEPOINT a; " + moveTo4 + "RELEASE a; " + rename1, "SAVEPOINT a; " + deleteSoft1 + "ROLLBACK TO a; " + moveTo4,
		"UPDATE t_participants SET id_project = 5 WHERE id_participant = 1; " + moveTo4} {
		e := f.transaction(sql, "U participant 1")[0]
		mustEqual(t, sql, e.saw, saw)
		body, gone := e.hears()
		mustNotSee(t, sql, body, project1, siteAdmin1, project5, nobody, siteUser1)
		mustSee(t, sql, body, superadmin, siteAdmin2, project4)
		mustNotSee(t, "gone by "+sql, gone, superadmin, project4, siteAdmin2, project5, nobody, siteUser1)
		mustSee(t, "gone by "+sql, gone, project1, siteAdmin1)
		mustEqual(t, "gone", toJSON(e.Gone), `{"id_participant":1,"participant_uuid":"`+opentera.DemoParticipantUUID+`"}`)
		f.exec(moveBack + "UPDATE t_participants SET participant_name = 'before' WHERE id_participant = 1")
	}
}

// Nobody receives the state in between.
func TestMoveThereAndBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, sql := range []string{moveTo4 + moveBack, moveTo4 + rename1 + moveBack, rename1 + moveTo4 + moveBack + rename1} {
		e := f.transaction(sql, "U participant 1")[0]
		mustEqual(t, sql, e.Present, e.Former)
		mustNotSee(t, sql, e.sees, project4, siteAdmin2, project5)
		mustSee(t, sql, e.sees, project1)
	}
}

// Moved and deleted in one transaction: those who saw it are told that it is gone, the new place nothing.
func TestMoveAndDelete(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{moveTo4 + deleteSoft1, "UPDATE t_participants SET id_project = 4, deleted_at = now() WHERE id_participant = 1; ", rename1 + moveTo4 + deleteSoft1} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			e := f.transaction(sql, "D participant 1")[0]
			mustEqual(t, "present", e.Present+e.Record.Body, "")
			mustSee(t, "told", e.saw, project1, siteAdmin1, superadmin)
			mustNotSee(t, "told", e.saw, project4, siteAdmin2)
		})
	}
}

func TestSavepoints(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.transaction("SAVEPOINT a; "+moveTo4+"ROLLBACK TO a; "+rename1, "U participant 1")[0]
	mustNotSee(t, "after a rollback", e.sees, project4)
	mustSee(t, "after a rollback", e.sees, project1)

	e = f.transaction("SAVEPOINT a; UPDATE t_sites SET site_name = 'x'; ROLLBACK TO a; "+newSession+"SAVEPOINT b; INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1); RELEASE b; ", "C session 9000")[0]
	mustSee(t, "session", e.sees, project1)
	f.transaction("SAVEPOINT d; DELETE FROM t_users_groups; ROLLBACK TO d; ")
	mustEqual(t, "captured", len(f.changes()), 0)
}

// A site is soft-deleted with all its dependents, in either order: those who saw the objects are told that they are gone, though the
// roles by which they saw them are deleted in the same transaction; nobody else is.
func TestSiteCascade(t *testing.T) {
	t.Parallel()
	const projects = "(SELECT id_project FROM t_projects WHERE id_site = 1)"
	roles := "(SELECT id_service_role FROM t_services_roles WHERE id_site = 1 OR id_project IN " + projects + ")"
	statements := []string{
		"t_sites SET deleted_at = clock_timestamp() WHERE id_site = 1",
		"t_projects SET deleted_at = clock_timestamp() WHERE id_site = 1",
		"t_participants_groups SET deleted_at = clock_timestamp() WHERE id_project IN " + projects,
		"t_participants SET deleted_at = clock_timestamp() WHERE id_project IN " + projects,
		"t_services_roles SET deleted_at = clock_timestamp() WHERE id_service_role IN " + roles,
		"t_services_access SET deleted_at = clock_timestamp() WHERE id_service_role IN " + roles,
		"t_devices_sites SET deleted_at = clock_timestamp() WHERE id_site = 1",
		"t_services_sites SET deleted_at = clock_timestamp() WHERE id_site = 1",
		"t_services_projects SET deleted_at = clock_timestamp() WHERE id_project IN " + projects,
		"t_sessions_types_sites SET deleted_at = clock_timestamp() WHERE id_site = 1",
		"t_tests_types_sites SET deleted_at = clock_timestamp() WHERE id_site = 1",
		"t_sessions_types_projects SET deleted_at = clock_timestamp() WHERE id_project IN " + projects,
	}
	for name, order := range map[string][]string{"parents first": statements, "children first": reversed(statements)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			saw := map[string][]int32{}
			for _, what := range []string{"site 1", "project 1", "project 2", "participant 1", "participant_group 1", "session_type_site 1", "session_type_project 1"} {
				objectType, _, _ := strings.Cut(what, " ")
				saw[what] = f.seers(objectType, int(what[len(what)-1]-'0'))
			}
			device := f.seers("device", 1)
			f.exec("BEGIN; UPDATE " + strings.Join(order, " AND deleted_at IS NULL; UPDATE ") + " AND deleted_at IS NULL; COMMIT")
			for _, e := range f.log() {
				what := strings.TrimPrefix(e.String(), "G ")
				if want, ok := saw[what]; ok {
					mustEqual(t, e.String(), e.saw, want)
					delete(saw, what)
				}
				if e.String() == "U device 1" {
					mustEqual(t, "device 1", e.saw, device)
				}
			}
			if len(saw) > 0 {
				t.Errorf("nobody is told of %v", saw)
			}
		})
	}
}

func reversed(list []string) (back []string) {
	for i := range list {
		back = append(back, list[len(list)-1-i])
	}
	return back
}

// A physical DELETE of a site: PostgreSQL's own cascade deletes projects, participants and roles; all who saw them are told.
func TestDeleteCascade(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("DELETE FROM t_sessions; DELETE FROM t_devices_participants")
	f.log()
	want := map[string]int{}
	for what, sql := range map[string]string{
		"site": "t_sites WHERE id_site = 1", "project": "t_projects WHERE id_site = 1 AND deleted_at IS NULL",
		"participant":       "t_participants JOIN t_projects USING (id_project) WHERE id_site = 1 AND t_participants.deleted_at IS NULL",
		"participant_group": "t_participants_groups JOIN t_projects USING (id_project) WHERE id_site = 1 AND t_participants_groups.deleted_at IS NULL",
		"session_type_site": "t_sessions_types_sites WHERE id_site = 1 AND deleted_at IS NULL",
	} {
		want[what] = one[int](f, "SELECT count(*) FROM "+sql)
	}
	saw := map[string][]int32{"D site 1": f.seers("site", 1), "D project 1": f.seers("project", 1), "D participant 1": f.seers("participant", 1)}
	f.exec("DELETE FROM t_sites WHERE id_site = 1")
	got := map[string]int{}
	for _, e := range f.log() {
		if _, ok := want[e.ObjectType]; ok && e.Op == "D" {
			got[e.ObjectType]++
		}
		if seers, ok := saw[e.String()]; ok {
			mustEqual(t, e.String(), e.saw, seers)
		}
	}
	mustEqual(t, "deleted", got, want)
}

// A deleted session takes its assets and members along; those who saw them through it are told.
func TestDeleteSession(t *testing.T) {
	t.Parallel()
	const at = " SET deleted_at = now() WHERE id_session = 1; "
	for _, sql := range []string{
		"DELETE FROM t_sessions WHERE id_session = 1; ",
		"UPDATE t_sessions" + at + "UPDATE t_assets" + at + "UPDATE t_sessions_participants" + at + "UPDATE t_sessions_users" + at,
		"UPDATE t_sessions_users" + at + "UPDATE t_sessions_participants" + at + "UPDATE t_assets" + at + "UPDATE t_sessions" + at,
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			saw := map[string][]int32{"session 1": f.seers("session", 1), "asset 1": f.seers("asset", 1)}
			f.exec("BEGIN; " + sql + "COMMIT")
			for _, e := range f.log() {
				what := e.String()[2:]
				if seers, ok := saw[what]; ok {
					if e.Op != "G" && e.Op != "D" {
						t.Errorf("%s", e)
					}
					mustEqual(t, e.String(), e.saw, seers)
					delete(saw, what)
				}
			}
			if len(saw) > 0 {
				t.Errorf("nobody is told of %v", saw)
			}
		})
	}
}
