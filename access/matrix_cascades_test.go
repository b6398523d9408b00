package access_test

import (
	"strings"
	"testing"
)

// Cascades: everybody who saw an object that is deleted with its parent is told, even if the roles by which they saw it are deleted in
// the same transaction; nobody else is. If a body contains data of other objects, those who lost their
// rights get the ids only.
func TestMatrixOfCascades(t *testing.T) {
	t.Parallel()
	var (
		either    = join(ofProject11, ofProject12)
		session81 = join(ofProject11, users{nobody, neighbour})
		asset86   = session81.but(nobody)
		only11    = ofProject11.but(ofProject12...)
	)
	invite := func(columns ...string) string {
		return row("t_tests_invitations", 900, append([]string{"id_test_type=71"}, columns...)...)
	}
	const stamp = " SET deleted_at = clock_timestamp() WHERE deleted_at IS NULL AND "
	softProject11 := sql( // in OpenTera's order: parents before children, links last
		bury("t_projects", 11), "UPDATE t_participants_groups"+stamp+"id_project = 11", "UPDATE t_participants"+stamp+"id_project = 11",
		"UPDATE t_services_roles"+stamp+"id_project = 11", "UPDATE t_services_projects"+stamp+"id_project = 11",
		"UPDATE t_sessions_types_projects"+stamp+"id_project = 11", "UPDATE t_tests_types_projects"+stamp+"id_project = 11",
		"UPDATE t_services_access"+stamp+"id_service_role IN (SELECT id_service_role FROM t_services_roles WHERE id_project = 11)")
	softSite1 := append(sql(
		bury("t_sites", 1), "UPDATE t_projects"+stamp+"id_site = 1",
		"UPDATE t_participants_groups"+stamp+"id_project IN (11, 12)", "UPDATE t_participants"+stamp+"id_project IN (11, 12)",
		"UPDATE t_services_roles"+stamp+"(id_site = 1 OR id_project IN (11, 12))",
		"UPDATE t_devices_sites"+stamp+"id_site = 1", "UPDATE t_services_projects"+stamp+"id_project IN (11, 12)",
		"UPDATE t_services_sites"+stamp+"id_site = 1", "UPDATE t_sessions_types_sites"+stamp+"id_site = 1",
		"UPDATE t_sessions_types_projects"+stamp+"id_project IN (11, 12)", "UPDATE t_tests_types_sites"+stamp+"id_site = 1"),
		"UPDATE t_services_access"+stamp+"id_service_role IN (SELECT id_service_role FROM t_services_roles WHERE id_site = 1 OR id_project IN (11, 12))")

	run(t, []step{
		{"project, softly", everybodyBut(either),
			said{
				"gone project 11": ofProject11, "gone participant 31": ofProject11, "gone participant 32": ofProject11,
				"gone participant_group 35": ofProject11, "delete session_type_project 6111": ofProject11,
				"delete service 5": only11, "update service 5": ofProject12,
			}, softProject11},
		{"site, softly", everybodyBut(ofSite1),
			said{
				"gone site 1": ofSite1, "delete session_type_site 611": ofSite1,
				"delete device 41": ofSite1.but(supers...), "update device 41": supers,
				"delete session_type 61": ofSite1.but(supers...), "update session_type 61": supers,
				"gone project 11": ofProject11, "gone participant 31": ofProject11, "gone participant 32": ofProject11,
				"gone participant_group 35": ofProject11, "delete session_type_project 6111": ofProject11,
				"gone project 12": ofProject12, "gone participant 34": ofProject12,
				"delete service 5": either.but(supers...), "update service 5": supers,
				"delete test_type 71": either.but(supers...), "update test_type 71": supers,
			}, softSite1},
		{"project, physically", everybodyBut(either),
			said{
				"delete project 12": ofProject12, "delete participant 34": ofProject12, "delete test_invitation 900": ofProject12,
				"delete service 5": {neighbour}, "update service 5": ofProject11,
			}, sql(invite("id_project=12", "id_user=19"), "COMMIT; BEGIN", remove("t_projects", 12))},
		{"site, physically", everybodyBut(ofSite2),
			said{
				"delete site 2": ofSite2, "delete session_type_site 622": ofSite2,
				"delete device 42": ofSite2.but(supers...), "update device 42": supers,
				"delete session_type 62": ofSite2.but(supers...), "update session_type 62": supers,
				"delete test_type 72": ofSite2.but(supers...), "update test_type 72": supers,
				"delete service 6": ofSite2.but(supers...), "update service 6": supers,
				"delete project 21": ofProject21, "delete participant 33": ofProject21,
			}, sql(remove("t_sessions", 83), "COMMIT; BEGIN", remove("t_sites", 2))},
		{"session, softly", everybodyBut(session81),
			said{"gone session 81": session81, "gone asset 86": asset86, "gone test 91": asset86},
			sql(bury("t_sessions", 81), bury("t_assets", 86), bury("t_tests", 91), bury("t_sessions_participants", 811), bury("t_sessions_users", 811))},
		{"session, softly, links first", everybodyBut(session81),
			said{"gone session 81": session81, "gone asset 86": asset86, "gone test 91": asset86},
			sql(bury("t_sessions_participants", 811), bury("t_sessions_users", 811), bury("t_assets", 86), bury("t_tests", 91), bury("t_sessions", 81))},
		{"session, physically", everybodyBut(session81),
			said{"delete session 81": session81, "delete asset 86": asset86, "delete test 91": asset86, "delete test_invitation 900": ofProject11},
			sql(invite("id_project=11", "id_session=81"), "COMMIT; BEGIN", remove("t_sessions", 81))},
		{"participant, softly: its session goes out of its project's sight", everybodyBut(session81),
			said{"gone participant 31": ofProject11, "delete session 81": ofProject11, "update session 81": {nobody, neighbour}},
			sql(bury("t_participants", 31), bury("t_sessions_participants", 811))},
		{"participant, physically, with its invitation", everybodyBut(ofProject12),
			said{"delete participant 34": ofProject12, "delete test_invitation 900": ofProject12},
			sql(invite("id_project=12", "id_participant=34"), "COMMIT; BEGIN", remove("t_participants", 34))},
		{"participant group, softly", everybodyBut(ofProject11),
			said{"gone participant_group 35": ofProject11, "gone participant 31": ofProject11},
			sql(bury("t_participants_groups", 35), bury("t_participants", 31))},
		{"device, softly", everybodyBut(ofSite1),
			said{"gone device 41": ofSite1}, sql(bury("t_devices", 41), bury("t_devices_sites", 411))},
		{"device, physically, with its invitation", everybodyBut(ofSite1),
			said{"delete device 41": ofSite1, "delete test_invitation 900": ofProject12},
			sql(invite("id_project=12", "id_device=41"), "COMMIT; BEGIN", remove("t_devices", 41))},
		{"user, softly", everybodyBut(ofProject21.but(otherProjectUser)), // not the user itself: it is gone
			said{"gone user 21": ofProject21.but(otherProjectUser)},
			sql(bury("t_users", 21), bury("t_users_users_groups", 21))},
		{"user, physically, with its invitation", everybodyBut(ofProject12.but(neighbour)),
			said{"delete user 19": ofProject12.but(neighbour), "delete test_invitation 900": ofProject12.but(neighbour)},
			sql(invite("id_project=12", "id_user=19"), remove("t_sessions_users", 811), "COMMIT; BEGIN", remove("t_users", 19))},
		{"user group, softly: its own member loses the right by it", everybodyBut(ofProject11),
			said{"gone user_group 5": ofProject11},
			sql(bury("t_users_groups", 5), bury("t_users_users_groups", 5), bury("t_services_access", 5))},
		{"user group, physically", everybodyBut(ofProject11),
			said{"delete user_group 5": ofProject11}, sql(remove("t_users_groups", 5))},
		{"service, softly: its own roles go with it", everybodyBut(either),
			said{"gone service 5": either.but(serviceSiteAdmin, serviceManager), "delete service 5": {serviceSiteAdmin, serviceManager}, "gone asset 86": asset86},
			sql(bury("t_services", 5), "UPDATE t_services_roles"+stamp+"id_service = 5", "UPDATE t_services_projects"+stamp+"id_service = 5",
				"UPDATE t_services_sites"+stamp+"id_service = 5", bury("t_assets", 86),
				"UPDATE t_services_access"+stamp+"id_service_role BETWEEN 151 AND 154")},
		{"service, physically", everybodyBut(either),
			said{
				"delete service 5": either, "delete asset 86": asset86, "delete test_type 71": either, "delete test_invitation 95": ofProject11,
				"delete session_type_service 615": either,
			}, sql(remove("t_tests", 91), "COMMIT; BEGIN", remove("t_services", 5))},
		{"session type, softly", everybodyBut(ofSite2),
			said{"gone session_type 62": ofSite2, "gone session_type_site 622": ofSite2},
			sql(bury("t_sessions_types", 62), bury("t_sessions_types_sites", 622))},
		{"session type, physically", everybodyBut(ofSite2),
			said{"delete session_type 62": ofSite2, "delete session_type_site 622": ofSite2}, sql(remove("t_sessions_types", 62))},
		{"test type, softly", everybodyBut(ofSite2),
			said{"gone test_type 72": ofSite2, "gone test 92": ofSite2},
			sql(bury("t_tests_types", 72), bury("t_tests", 92), bury("t_tests_types_sites", 722))},
		{"test type, physically, with an invitation", everybodyBut(either),
			said{"delete test_type 71": either, "delete test_invitation 95": ofProject11},
			sql(remove("t_tests", 91), "COMMIT; BEGIN", remove("t_tests_types", 71))},
	})
}

// A transaction is reported by its outcome: several changes of one object are one event, and whoever loses the right to see the object in
// the same transaction is told that it is gone.
func TestMatrixOfTransactions(t *testing.T) {
	t.Parallel()
	var (
		either = join(ofProject11, ofProject12)
		only11 = ofProject11.but(ofProject12...)
	)
	rename := func(table string, id int) string {
		return update(table, id, visibleColumn[strings.TrimPrefix(tables[table].id, "id_")])
	}
	run(t, []step{
		{"links after the object", everybodyBut(join(ofProject12, users{nobody})),
			said{"create session 900": join(ofProject12, users{nobody})},
			sql(row("t_sessions", 900, "id_creator_user=9"), row("t_sessions_participants", 900, "id_session=900", "id_participant=34"), rename("t_sessions", 900))},
		{"a right given after the object", everybodyBut(join(ofProject11, users{nobody})),
			said{"create participant 900": join(ofProject11, users{nobody})},
			sql(row("t_participants", 900, "id_project=11"), row("t_services_access", 900, "id_user_group=9", "id_service_role=112"))},
		{"a project with its roles", everybodyBut(join(adminsOfSite2, users{nobody})),
			said{"create project 900": join(adminsOfSite2, users{nobody})},
			sql(row("t_projects", 900, "id_site=2"), row("t_services_roles", 900, "id_project=900", "service_role_name='user'"),
				row("t_services_access", 900, "id_user_group=9", "id_service_role=900"))},
		{"a membership taken, then the object", everybodyBut(ofProject11),
			said{"delete participant 31": {projectUser}, "update participant 31": ofProject11.but(projectUser)},
			sql(bury("t_users_users_groups", 5), rename("t_participants", 31))},
		{"the object, then a membership taken", everybodyBut(ofProject11),
			said{"delete participant 31": {projectUser}, "update participant 31": ofProject11.but(projectUser)},
			sql(rename("t_participants", 31), remove("t_users_users_groups", 5))},
		{"the object, then a role taken", everybodyBut(ofProject11),
			said{"delete participant 31": {projectAdmin}, "update participant 31": ofProject11.but(projectAdmin)},
			sql(rename("t_participants", 31), bury("t_services_roles", 111))},
		{"the object, then a role's holder taken", everybodyBut(ofProject11),
			said{"delete participant 31": {serviceManager}, "update participant 31": ofProject11.but(serviceManager)},
			sql(rename("t_participants", 31), bury("t_services_access", 6))},
		{"one of two memberships taken", everybodyBut(ofProject11),
			said{"delete participant 31": {twoProjects}, "update participant 31": ofProject11.but(twoProjects)},
			sql(bury("t_users_users_groups", 22), rename("t_participants", 31))},
		{"created and gone", everybodyBut(nil), said{},
			sql(row("t_participants", 900, "id_project=11"), rename("t_participants", 900), bury("t_participants", 900))},
		{"created and deleted", everybodyBut(nil), said{},
			sql(row("t_participants", 900, "id_project=11"), remove("t_participants", 900))},
		{"moved on: nobody hears of the place between", everybodyBut(either),
			said{"delete participant 32": only11, "create participant 32": {neighbour}, "update participant 32": ofProject12.but(neighbour)},
			sql(update("t_participants", 32, "id_project=21"), update("t_participants", 32, "id_project=12"))},
		{"moved and deleted: the new place hears nothing", everybodyBut(ofProject12),
			said{"delete participant 34": ofProject12},
			sql(update("t_participants", 34, "id_project=21"), remove("t_participants", 34))},
		{"moved and gone", everybodyBut(ofProject11),
			said{"delete participant 32": ofProject11},
			sql(update("t_participants", 32, "id_project=12"), bury("t_participants", 32))},
		{"moved and gone at once", everybodyBut(ofProject11),
			said{"delete participant 32": ofProject11},
			sql(update("t_participants", 32, "id_project=12", "deleted_at=now()"))},
		{"linked and unlinked: the site between hears nothing", everybodyBut(ofSite1),
			said{"update device 41": ofSite1},
			sql(row("t_devices_sites", 900, "id_device=41", "id_site=2"), remove("t_devices_sites", 900))},
		{"unlinked and linked again", everybodyBut(ofSite1),
			said{"update device 41": ofSite1},
			sql(bury("t_devices_sites", 411), raise("t_devices_sites", 411))},
		{"undeleted with its links", everybodyBut(ofSite1),
			said{"create device 41": ofSite1},
			sql(bury("t_devices", 41), bury("t_devices_sites", 411), "COMMIT; BEGIN", raise("t_devices", 41), raise("t_devices_sites", 411))},
		{"disabled in the same transaction", everybodyBut(ofProject11.but(projectUser)), // it no longer receives its own change
			said{"update user 5": ofProject11.but(projectUser), "update participant 31": ofProject11.but(projectUser)},
			sql(update("t_users", 5, "user_enabled=false"), rename("t_participants", 31))},
		{"a role's holder taken, the name of a session's creator, and the session", everybodyBut(join(ofProject11, users{neighbour})),
			said{
				"delete session 81": {serviceManager}, "gone session 81": join(ofProject11.but(serviceManager), users{neighbour}),
				"delete participant 31": {serviceManager}, "update participant 31": ofProject11.but(serviceManager),
			},
			sql(update("t_sessions", 81, "id_creator_participant=31", "id_creator_user=NULL"), "COMMIT; BEGIN",
				bury("t_services_access", 6), rename("t_participants", 31), bury("t_sessions", 81))},
		{"no superadmin any more", everybodyBut(ofProject11),
			said{"update user 1": {superadmin, superadminInAProject}, "delete participant 31": {superadmin}, "update participant 31": ofProject11.but(superadmin)},
			sql(update("t_users", 1, "user_superadmin=false"), rename("t_participants", 31))},
	})
}
