package migrations_test

import (
	"fmt"
	"strings"
	"testing"

	"terasocket/db/dbtest"
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

// transaction runs statements as one transaction, statement by statement as OpenTera does, and returns what it records.
func (f *fixture) transaction(sql string, want ...string) []recorded {
	f.Helper()
	return f.expect("BEGIN; "+sql+"COMMIT", want...)
}

// A session is created before its members are: its creation is heard by those who see it with them.
func TestSessionCreatedWithItsMembers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e := f.transaction(newSession+"INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1); INSERT INTO t_sessions_users VALUES (9000, 9000, 13, 1); ", "C session 9000")[0]
	body, gone := f.hears(e)
	mustNotSee(t, "session", body, project4, project5, siteUser1)
	mustSee(t, "session", body, superadmin, siteAdmin1, project1, nobody) // nobody is a member
	if len(gone) > 0 {
		t.Errorf("told that it is gone: %v", gone)
	}

	e = f.transaction(strings.ReplaceAll(newSession, "9000", "9001"), "C session 9001")[0]
	mustEqual(t, "a session of nobody", f.seenBy(e.Audience), []int32{})
}

// The assets of a new session are heard by those who see the session in the end.
func TestAssetBeforeTheMembers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	events := f.transaction(newSession+`INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id)
		VALUES (9000, 9000, 'a', 'a', '`+opentera.DemoVideoRehabServiceUUID+`', 't', 1); INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1); `,
		"C session 9000", "C asset 9000")
	for _, e := range events {
		body, _ := f.hears(e)
		mustNotSee(t, e.String(), body, project4, siteUser1, nobody)
		mustSee(t, e.String(), body, superadmin, project1)
	}
}

// A participant who moves: those who lose sight hear of a deletion, whatever else the transaction does.
func TestMove(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{moveTo4, moveTo4 + rename1, rename1 + moveTo4, moveTo4 + moveBack + moveTo4, rename1 + moveTo4 + rename1,
		"SAVEPOINT a; " + moveTo4 + "RELEASE a; " + rename1, "SAVEPOINT a; " + deleteSoft1 + "ROLLBACK TO a; " + moveTo4,
		"UPDATE t_participants SET id_project = 5 WHERE id_participant = 1; " + moveTo4} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.exec("BEGIN; " + sql + "COMMIT")
			events := f.log()
			told := 0
			for _, e := range events {
				body, gone := f.hears(e)
				mustNotSee(t, e.String(), body, project1, siteAdmin1, project5, nobody, siteUser1)
				mustSee(t, e.String(), body, superadmin, siteAdmin2, project4)
				if e.Former != "" {
					told++
					mustNotSee(t, "gone", gone, superadmin, project4, siteAdmin2, project5, nobody, siteUser1)
					mustSee(t, "gone", gone, project1, siteAdmin1)
					mustEqual(t, "gone", toJSON(e.FormerBody), `{"id_participant":1,"participant_uuid":"`+opentera.DemoParticipantUUID+`"}`)
				}
			}
			if told != 1 || events[len(events)-1].Former == "" {
				t.Errorf("%d of the events tell of the loss, or not the last: %+v", told, events)
			}
		})
	}
}

// The state in between leaks to nobody.
func TestMoveThereAndBack(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{moveTo4 + moveBack, moveTo4 + rename1 + moveBack, rename1 + moveTo4 + moveBack + rename1} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.exec("BEGIN; " + sql + "COMMIT")
			for _, e := range f.log() {
				body, gone := f.hears(e)
				mustNotSee(t, e.String(), append(body, gone...), project4, siteAdmin2, project5)
				mustNotSee(t, "gone", gone, project1)
				mustSee(t, e.String(), body, project1)
			}
		})
	}
}

// Moved and deleted in one transaction: who saw it before hears that it is gone, the new place nothing.
func TestMoveAndDelete(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{moveTo4 + deleteSoft1, "UPDATE t_participants SET id_project = 4, deleted_at = now() WHERE id_participant = 1; ", rename1 + moveTo4 + deleteSoft1} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.exec("BEGIN; " + sql + "COMMIT")
			var heard []int32
			for _, e := range f.log() {
				body, gone := f.hears(e)
				mustNotSee(t, e.String(), append(body, gone...), project4, siteAdmin2)
				heard = append(append(heard, body...), gone...)
			}
			mustSee(t, "told", heard, project1, siteAdmin1, superadmin)
		})
	}
}

func TestCreateAndDelete(t *testing.T) {
	t.Parallel()
	f := setup(t)
	k := kinds()[3]
	for _, sql := range []string{k.insert() + "; " + k.delete(), k.insert() + "; " + k.set("deleted_at = now()"), k.insert() + "; " + k.set(k.update) + "; " + k.delete()} {
		f.exec("DELETE FROM t_participants WHERE id_participant = 9000")
		f.log()
		f.exec("BEGIN; " + sql + "; COMMIT")
		for _, e := range f.log() {
			body, gone := f.hears(e)
			if len(body)+len(gone) > 0 {
				t.Errorf("%s\n%s is heard by %v, %v", sql, e, body, gone)
			}
		}
	}
}

func TestSavepoints(t *testing.T) {
	t.Parallel()
	f := setup(t)
	events := f.transaction("SAVEPOINT a; "+moveTo4+"ROLLBACK TO a; "+rename1, "U participant 1")
	body, gone := f.hears(events[0])
	mustNotSee(t, "after a rollback", append(body, gone...), project4)
	mustSee(t, "after a rollback", body, project1)

	// the first statement is rolled back, the second must still ask for a settlement together with the third
	events = f.transaction("SAVEPOINT a; UPDATE t_sites SET site_name = 'x'; ROLLBACK TO a; "+newSession+"SAVEPOINT b; INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1); RELEASE b; ", "C session 9000")
	mustSee(t, "session", f.seenBy(events[0].Audience), project1)

	// the settlement itself is rolled back with the savepoint that asked for it, and asked for again
	events = f.transaction(strings.ReplaceAll(newSession, "9000", "9001")+"SAVEPOINT c; INSERT INTO t_sessions_participants VALUES (9001, 9001, 61, 1); ROLLBACK TO c; "+
		"INSERT INTO t_sessions_participants VALUES (9001, 9001, 1, 1); ", "C session 9001")
	mustSee(t, "session", f.seenBy(events[0].Audience), project1)
	mustNotSee(t, "session", f.seenBy(events[0].Audience), project4)
	f.transaction("SAVEPOINT d; DELETE FROM t_users_groups; ROLLBACK TO d; ")
}

// A writer that wants its constraints checked at once.
func TestSetConstraintsImmediate(t *testing.T) {
	t.Parallel()
	f := setup(t)
	events := f.transaction("SET CONSTRAINTS ALL IMMEDIATE; "+newSession+"INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1); SET CONSTRAINTS ALL DEFERRED; ", "C session 9000")
	mustSee(t, "session", f.seenBy(events[0].Audience), project1)
}

// The transactions of others do not meddle.
func TestConcurrentTransactions(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := &fixture{TB: t, url: f.url}
	other.conn = dbtest.Conn(t, f.url)
	f.exec("BEGIN; " + newSession)
	other.exec("BEGIN; " + strings.ReplaceAll(newSession, "9000", "9001"))
	f.exec("INSERT INTO t_sessions_participants VALUES (9000, 9000, 1, 1)")
	other.exec("INSERT INTO t_sessions_participants VALUES (9001, 9001, 61, 1); COMMIT")
	f.exec("COMMIT")
	for _, e := range f.log() {
		body, _ := f.hears(e)
		if *e.ID == 9000 {
			mustSee(t, e.String(), body, project1)
			mustNotSee(t, e.String(), body, project4)
		} else {
			mustSee(t, e.String(), body, project4)
			mustNotSee(t, e.String(), body, project1)
		}
	}
}

// Soft deletion of a site with all that hangs on it. OpenTera's cascade writes parents first: who saw the objects hears that
// they are gone, though the roles by which they saw them die in the same transaction. The other way round the roles are
// gone when the site dies: only those hear of it who do not owe their sight to a role. Nobody hears too much either way.
func TestSiteCascade(t *testing.T) {
	t.Parallel()
	statements := []string{
		"UPDATE t_sites SET deleted_at = clock_timestamp() WHERE id_site = 1",
		"UPDATE t_projects SET deleted_at = clock_timestamp() WHERE id_site = 1 AND deleted_at IS NULL",
		"UPDATE t_participants_groups SET deleted_at = clock_timestamp() WHERE id_project IN (SELECT id_project FROM t_projects WHERE id_site = 1) AND deleted_at IS NULL",
		"UPDATE t_participants SET deleted_at = clock_timestamp() WHERE id_project IN (SELECT id_project FROM t_projects WHERE id_site = 1) AND deleted_at IS NULL",
		"UPDATE t_services_roles SET deleted_at = clock_timestamp() WHERE (id_site = 1 OR id_project IN (SELECT id_project FROM t_projects WHERE id_site = 1)) AND deleted_at IS NULL",
		"UPDATE t_services_access SET deleted_at = clock_timestamp() WHERE id_service_role IN (SELECT id_service_role FROM t_services_roles WHERE id_site = 1 OR id_project IN (SELECT id_project FROM t_projects WHERE id_site = 1)) AND deleted_at IS NULL",
		"UPDATE t_devices_sites SET deleted_at = clock_timestamp() WHERE id_site = 1 AND deleted_at IS NULL",
		"UPDATE t_services_sites SET deleted_at = clock_timestamp() WHERE id_site = 1 AND deleted_at IS NULL",
		"UPDATE t_services_projects SET deleted_at = clock_timestamp() WHERE id_project IN (SELECT id_project FROM t_projects WHERE id_site = 1) AND deleted_at IS NULL",
		"UPDATE t_sessions_types_sites SET deleted_at = clock_timestamp() WHERE id_site = 1 AND deleted_at IS NULL",
		"UPDATE t_tests_types_sites SET deleted_at = clock_timestamp() WHERE id_site = 1 AND deleted_at IS NULL",
		"UPDATE t_sessions_types_projects SET deleted_at = clock_timestamp() WHERE id_project IN (SELECT id_project FROM t_projects WHERE id_site = 1) AND deleted_at IS NULL",
	}
	backwards := make([]string, len(statements))
	for i, s := range statements {
		backwards[len(statements)-1-i] = s
	}
	for name, order := range map[string][]string{"parents first": statements, "children first": backwards} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			before := holders(f, "s:1", "p:1", "p:2", "p:3")
			device := f.seenBy(one[string](f, "SELECT terasocket.visible('device', 1)::text"))
			f.exec("BEGIN; " + strings.Join(order, "; ") + "; COMMIT")
			heard := map[string][]int32{}
			for _, e := range f.log() {
				body, gone := f.hears(e)
				heard[e.String()] = append(append(heard[e.String()], body...), gone...)
			}
			for what, tag := range map[string]string{"U site 1": "s:1", "U project 1": "p:1", "U project 2": "p:2", "U participant 1": "p:1", "U participant_group 1": "p:1", "U session_type_site 1": "s:1", "U session_type_project 1": "p:1"} {
				if name == "parents first" {
					mustSee(t, what, heard[what], before[tag]...)
				}
				mustSee(t, what, heard[what], superadmin)
				mustNotSee(t, what, heard[what], nobody, project4, siteAdmin2)
			}
			if name == "parents first" {
				mustSee(t, "device 1", heard["U device 1"], device...)
			}
			mustSee(t, "device 1", heard["U device 1"], superadmin)
		})
	}
}

func holders(f *fixture, tags ...string) map[string][]int32 {
	f.Helper()
	held := map[string][]int32{}
	for _, tag := range tags {
		held[tag] = f.seenBy(fmt.Sprintf(`[[%q]]`, tag))
		if len(held[tag]) < 3 {
			f.Fatalf("%s is held by %v only: the test would show little", tag, held[tag])
		}
	}
	return held
}

// A physical DELETE of a site: PostgreSQL's own cascade takes projects, participants and roles; all who saw them hear of it.
func TestDeleteCascade(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("DELETE FROM t_sessions; DELETE FROM t_devices_participants")
	before := holders(f, "s:1", "p:1", "p:2")
	counts := map[string]int{}
	for what, sql := range map[string]string{
		"site": "t_sites WHERE id_site = 1", "project": "t_projects WHERE id_site = 1 AND deleted_at IS NULL",
		"participant":       "t_participants JOIN t_projects USING (id_project) WHERE id_site = 1 AND t_participants.deleted_at IS NULL",
		"participant_group": "t_participants_groups JOIN t_projects USING (id_project) WHERE id_site = 1 AND t_participants_groups.deleted_at IS NULL",
		"session_type_site": "t_sessions_types_sites WHERE id_site = 1 AND deleted_at IS NULL",
	} {
		counts[what] = one[int](f, "SELECT count(*) FROM "+sql)
	}
	f.log()
	f.exec("DELETE FROM t_sites WHERE id_site = 1")
	got := map[string]int{}
	for _, e := range f.log() {
		if e.Op == "D" {
			got[e.ObjectType]++
		}
		body, gone := f.hears(e)
		heard := append(body, gone...)
		for what, tag := range map[string]string{"D site 1": "s:1", "D project 1": "p:1", "D participant 1": "p:1", "D participant_group 1": "p:1", "D project 2": "p:2"} {
			if e.String() == what {
				mustSee(t, what, heard, before[tag]...)
				mustNotSee(t, what, heard, nobody, project4, siteAdmin2)
			}
		}
	}
	for what, n := range counts {
		if got[what] != n || n == 0 {
			t.Errorf("%d of %d %ss are recorded as deleted", got[what], n, what)
		}
	}
}

// A session that is deleted takes its assets and members along; who saw them through it hears of it.
func TestDeleteSession(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"DELETE FROM t_sessions WHERE id_session = 1",
		"UPDATE t_sessions SET deleted_at = now() WHERE id_session = 1; UPDATE t_assets SET deleted_at = now() WHERE id_session = 1; UPDATE t_sessions_participants SET deleted_at = now() WHERE id_session = 1; UPDATE t_sessions_users SET deleted_at = now() WHERE id_session = 1",
		"UPDATE t_sessions_users SET deleted_at = now() WHERE id_session = 1; UPDATE t_sessions_participants SET deleted_at = now() WHERE id_session = 1; UPDATE t_assets SET deleted_at = now() WHERE id_session = 1; UPDATE t_sessions SET deleted_at = now() WHERE id_session = 1",
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			session := f.seenBy(one[string](f, "SELECT terasocket.visible('session', 1)::text"))
			asset := f.seenBy(one[string](f, "SELECT terasocket.keys('asset', to_jsonb(a))::text FROM t_assets a WHERE id_asset = 1"))
			if len(session) < 3 || len(asset) < 3 {
				t.Fatalf("session 1 is seen by %v, its asset by %v", session, asset)
			}
			f.exec("BEGIN; " + sql + "; COMMIT")
			heard := map[string][]int32{}
			for _, e := range f.log() {
				body, gone := f.hears(e)
				key := fmt.Sprintf("%s %d", e.ObjectType, *e.ID)
				heard[key] = append(append(heard[key], body...), gone...)
			}
			mustSee(t, "session", heard["session 1"], session...)
			mustSee(t, "asset", heard["asset 1"], asset...)
			mustNotSee(t, "session", heard["session 1"], nobody)
			mustNotSee(t, "asset", heard["asset 1"], nobody)
		})
	}
}

// A transaction that notifies cannot be prepared for two-phase commit: PostgreSQL says so. OpenTera uses none.
func TestPrepareTransaction(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("BEGIN; UPDATE t_sites SET site_name = 'x' WHERE id_site = 1")
	_, err := f.conn.Exec(t.Context(), "PREPARE TRANSACTION 'terasocket'")
	if err == nil || !strings.Contains(err.Error(), "cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY") {
		t.Errorf("%v", err)
	}
	f.exec("ROLLBACK")
	// one that changes nothing visible can
	name := "terasocket_" + f.conn.Config().Database
	f.exec("BEGIN; UPDATE t_users SET user_lastonline = now() WHERE id_user = 1; PREPARE TRANSACTION '" + name + "'")
	f.exec("COMMIT PREPARED '" + name + "'")
}
