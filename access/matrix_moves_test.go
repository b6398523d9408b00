package access_test

import "testing"

// step is one transaction: who must receive nothing, and who receives what.
type step struct {
	name   string
	silent users
	wants  said
	sql    []string
}

func sql(statements ...string) []string { return statements }

// An object moves by a change of its own row: a DB_DELETE with its keys to those who lost it and nobody else, a DB_CREATE to those who
// did not see it before, a DB_UPDATE to those who still see it.
func TestMatrixOfMoves(t *testing.T) {
	t.Parallel()
	var (
		both       = users{superadmin, superadminInAProject, twoProjects} // see projects 11 and 21
		only11     = ofProject11.but(ofProject12...)
		either     = join(ofProject11, ofProject12)
		not21      = ofProject11.but(both...) // of project 11, and not of 21
		only21     = ofProject21.but(both...)
		bothSites  = both
		onlySite1  = ofSite1.but(bothSites...)
		onlySite2  = ofSite2.but(bothSites...)
		session81  = join(ofProject11, users{nobody, neighbour})
		asset86    = session81.but(nobody) // who also sees service 5; likewise for test 91
		invitation = func(columns ...string) string { return update("t_tests_invitations", 95, columns...) }
	)
	steps := []step{
		{"participant to a project of the same site", everybodyBut(either),
			said{"delete participant 32": only11, "create participant 32": {neighbour}, "update participant 32": ofProject12.but(neighbour)},
			sql(update("t_participants", 32, "id_project=12"))},
		{"participant to a project of another site", everybodyBut(join(ofProject11, ofProject21)),
			said{"delete participant 33": only21, "create participant 33": not21, "update participant 33": both},
			sql(update("t_participants", 33, "id_project=11"))},
		{"participant into a project that is dead", everybodyBut(ofProject11),
			said{"delete participant 32": ofProject11},
			sql(update("t_participants", 32, "id_project=19"))},
		{"participant from a project that is dead", everybodyBut(ofProject11),
			said{"create participant 900": ofProject11},
			sql(row("t_participants", 900, "id_project=19"), "COMMIT; BEGIN", update("t_participants", 900, "id_project=11"))},
		{"participant group to another project", everybodyBut(either),
			said{"delete participant_group 35": only11, "create participant_group 35": {neighbour}, "update participant_group 35": ofProject12.but(neighbour)},
			sql(update("t_participants_groups", 35, "id_project=12"))},
		{"project to another site", everybodyBut(join(ofProject11, users{otherSiteAdmin})),
			said{"delete project 11": {siteAdmin, serviceSiteAdmin}, "create project 11": {otherSiteAdmin}, "update project 11": ofProject11.but(siteAdmin, serviceSiteAdmin)},
			sql(update("t_projects", 11, "id_site=2"))},
		{"session to another creator", everybodyBut(join(session81, users{otherProjectUser})),
			said{"delete session 81": {nobody}, "create session 81": {otherProjectUser}, "update session 81": session81.but(nobody)},
			sql(update("t_sessions", 81, "id_creator_user=21"))},
		{"session without participants gets a creating participant", everybodyBut(join(ofProject21, users{nobody, projectUser})),
			said{"create session 82": ofProject21, "update session 82": {nobody, projectUser}},
			sql(update("t_sessions", 82, "id_creator_participant=33"))},
		{"session loses its creating participant", everybodyBut(join(ofProject21, users{nobody, projectUser})),
			said{"delete session 82": ofProject21, "update session 82": {nobody, projectUser}},
			sql(update("t_sessions", 82, "id_creator_participant=33"), "COMMIT; BEGIN", update("t_sessions", 82, "id_creator_participant=NULL"))},
		{"asset to another session", everybodyBut(ofProject21),
			said{"delete asset 87": only21, "update asset 87": both},
			sql(update("t_assets", 87, "id_session=81"))},
		{"asset to another service", everybodyBut(asset86),
			said{"delete asset 86": asset86.but(both...), "update asset 86": both},
			sql(update("t_assets", 86, "asset_service_uuid='"+uuid6+"'"))},
		{"test to another session", everybodyBut(ofProject21),
			said{"delete test 92": only21, "update test 92": both},
			sql(update("t_tests", 92, "id_session=81"))},
		{"test to a type of another service", everybodyBut(asset86),
			said{"delete test 91": asset86.but(both...), "update test 91": both},
			sql(update("t_tests", 91, "id_test_type=72"))},
		{"test type to another service", everybodyBut(either),
			said{"delete test_type 71": either.but(both...), "update test_type 71": both},
			sql(update("t_tests_types", 71, "id_service=6"))},
		{"invitation to another project", everybodyBut(ofProject11), // its participant remains in 11
			said{"delete test_invitation 95": only11, "update test_invitation 95": adminsOfSite1},
			sql(invitation("id_project=12"))},
		{"invitation to a type of another site", everybodyBut(ofProject11),
			said{"delete test_invitation 95": not21, "update test_invitation 95": both},
			sql(invitation("id_test_type=72"))},
		{"invitation to a participant of another project", everybodyBut(ofProject11),
			said{"delete test_invitation 95": not21, "update test_invitation 95": both},
			sql(invitation("id_participant=33"))},
		{"invitation to a device of another site", everybodyBut(ofProject11),
			said{"delete test_invitation 95": not21, "update test_invitation 95": both},
			sql(invitation("id_participant=NULL", "id_device=42"))},
		{"invitation to a user that only superadmins see", everybodyBut(ofProject11),
			said{"delete test_invitation 95": ofProject11.but(superadmin, superadminInAProject, serviceManager), "update test_invitation 95": join(supers, users{serviceManager})},
			sql(invitation("id_participant=NULL", "id_user=6"))},
		{"invitation to a session of the project", everybodyBut(ofProject11),
			said{"update test_invitation 95": ofProject11},
			sql(invitation("id_participant=NULL", "id_session=81"))},
		{"invitation to a session that is listed to its members", everybodyBut(ofProject11), // and to those who see its creator: superadmins
			said{"delete test_invitation 95": ofProject11.but(superadmin, superadminInAProject, projectUser), "update test_invitation 95": join(supers, users{projectUser})},
			sql(invitation("id_participant=NULL", "id_session=82"))},
		{"invitation to nobody", everybodyBut(ofProject11),
			said{"delete test_invitation 95": ofProject11},
			sql(invitation("id_participant=NULL"))},
		{"session type's site", everybodyBut(join(ofSite1, ofSite2)),
			said{
				"delete session_type_site 611": onlySite1, "create session_type_site 611": onlySite2, "update session_type_site 611": bothSites,
				"delete session_type 61": onlySite1, "create session_type 61": onlySite2, "update session_type 61": bothSites,
			},
			sql(update("t_sessions_types_sites", 611, "id_site=2"))},
		{"session type's project", everybodyBut(either),
			said{"delete session_type_project 6111": only11, "create session_type_project 6111": {neighbour}, "update session_type_project 6111": ofProject12.but(neighbour)},
			sql(update("t_sessions_types_projects", 6111, "id_project=12"))},
		{"session type's service", everybodyBut(either),
			said{"delete session_type_service 615": either.but(both...), "update session_type_service 615": both},
			sql(update("t_sessions_types_services", 615, "id_service=6"))},
		{"session type's service, to another type", everybodyBut(either),
			said{"delete session_type_service 615": either.but(both...), "update session_type_service 615": both},
			sql(update("t_sessions_types_services", 615, "id_session_type=62"))},
		{"many at once", everybodyBut(either),
			said{
				"delete participant 31": only11, "create participant 31": {neighbour}, "update participant 31": ofProject12.but(neighbour),
				"delete participant 32": only11, "create participant 32": {neighbour}, "update participant 32": ofProject12.but(neighbour),
				"update participant 34": ofProject12,
			},
			sql("UPDATE t_participants SET id_project = 12, participant_name = 'moved' WHERE id_project IN (11, 12)")},
		{"project to another project's site and back in two transactions", everybodyBut(join(ofProject12, users{otherSiteAdmin})),
			said{"delete project 12": {otherSiteAdmin}, "create project 12": {siteAdmin, serviceSiteAdmin}, "update project 12": join(supers, users{neighbour})},
			sql(update("t_projects", 12, "id_site=2"), "COMMIT; BEGIN", update("t_projects", 12, "id_site=1"))},
	}
	run(t, steps)
}

// A link changes: the object at its other end becomes visible or invisible.
func TestMatrixOfLinks(t *testing.T) {
	t.Parallel()
	var (
		both      = users{superadmin, superadminInAProject, twoProjects}
		onlySite1 = ofSite1.but(both...)
		onlySite2 = ofSite2.but(both...)
		either    = join(ofProject11, ofProject12)
		service5  = either
		session81 = join(ofProject11, users{nobody, neighbour})
	)
	steps := []step{
		{"device-site moves", everybodyBut(join(ofSite1, ofSite2)),
			said{"delete device 41": onlySite1, "create device 41": onlySite2, "update device 41": both}, sql(update("t_devices_sites", 411, "id_site=2"))},
		{"device-site is soft-deleted", everybodyBut(ofSite1),
			said{"delete device 41": ofSite1.but(supers...), "update device 41": supers}, sql(bury("t_devices_sites", 411))},
		{"device-site is undeleted", everybodyBut(ofSite1),
			said{"create device 41": ofSite1.but(supers...), "update device 41": supers}, sql(bury("t_devices_sites", 411), "COMMIT; BEGIN", raise("t_devices_sites", 411))},
		{"device-site is deleted", everybodyBut(ofSite1),
			said{"delete device 41": ofSite1.but(supers...), "update device 41": supers}, sql(remove("t_devices_sites", 411))},
		{"device-site is added", everybodyBut(join(ofSite1, ofSite2)),
			said{"create device 41": onlySite2, "update device 41": ofSite1}, sql(row("t_devices_sites", 900, "id_device=41", "id_site=2"))},
		{"device-site passes to another device", everybodyBut(ofSite1),
			said{"delete device 41": ofSite1.but(supers...), "update device 41": supers, "create device 900": ofSite1.but(supers...), "update device 900": supers},
			sql(row("t_devices", 900), "COMMIT; BEGIN", update("t_devices_sites", 411, "id_device=900"))},
		{"one of two links to the same site", everybodyBut(ofSite1),
			said{"update device 41": ofSite1}, sql(row("t_devices_sites", 900, "id_device=41", "id_site=1"), "COMMIT; BEGIN", remove("t_devices_sites", 411))},
		{"device-site of a dead device", everybodyBut(nil),
			said{}, sql(bury("t_devices", 41), "COMMIT; BEGIN", remove("t_devices_sites", 411))},
		{"device-project: devices are seen by site", everybodyBut(nil),
			said{}, sql(row("t_devices_projects", 900, "id_device=41", "id_project=21"))},

		// not even superadmins see a session without participants unless they are involved
		{"the session's only participant leaves", everybodyBut(session81),
			said{"delete session 81": ofProject11, "update session 81": {nobody, neighbour}}, sql(remove("t_sessions_participants", 811))},
		{"the session's only participant leaves, softly", everybodyBut(session81),
			said{"delete session 81": ofProject11, "update session 81": {nobody, neighbour}}, sql(bury("t_sessions_participants", 811))},
		{"the session's member user leaves", everybodyBut(session81),
			said{"delete session 81": {neighbour}, "update session 81": session81.but(neighbour)}, sql(remove("t_sessions_users", 811))},
		{"a user joins a session", everybodyBut(users{nobody, projectUser, otherProjectUser}),
			said{"create session 82": {otherProjectUser}, "update session 82": {nobody, projectUser}}, sql(row("t_sessions_users", 900, "id_session=82", "id_user=21"))},
		{"a participant of another project joins", everybodyBut(join(session81, ofProject12)),
			said{"update session 81": join(session81, ofProject12)}, sql(row("t_sessions_participants", 900, "id_session=81", "id_participant=34"))},
		{"one of two projects leaves a session", everybodyBut(join(ofProject11, ofProject21)),
			said{"delete session 83": ofProject11.but(both...), "update session 83": ofProject21}, sql(bury("t_sessions_participants", 831))},
		{"one of two participants of a project leaves", everybodyBut(join(ofProject11, ofProject21)),
			said{"update session 83": join(ofProject11, ofProject21)},
			sql(row("t_sessions_participants", 900, "id_session=83", "id_participant=31"), "COMMIT; BEGIN", bury("t_sessions_participants", 831))},
		{"a device joins a session: no matter for the open rule", everybodyBut(nil),
			said{}, sql(row("t_sessions_devices", 900, "id_session=82", "id_device=42"))},

		{"service-project is soft-deleted", everybodyBut(service5),
			said{"delete service 5": service5.but(ofProject12...), "update service 5": ofProject12}, sql(bury("t_services_projects", 511))},
		{"service-project moves", everybodyBut(join(service5, ofProject21)),
			said{"delete service 5": {projectAdmin, projectUser, serviceManager}, "create service 5": {otherSiteAdmin, otherProjectUser}, "update service 5": join(ofProject12, users{twoProjects})},
			sql(update("t_services_projects", 511, "id_project=21"))},
		// OpenTera's outer join: if the service's only site link is deleted, it is hidden from projects too
		{"the only service-site is soft-deleted", everybodyBut(service5),
			said{"delete service 5": service5.but(supers...), "update service 5": supers}, sql(bury("t_services_sites", 51))},
		{"the only service-site is undeleted", everybodyBut(service5),
			said{"create service 5": service5.but(supers...), "update service 5": supers}, sql(bury("t_services_sites", 51), "COMMIT; BEGIN", raise("t_services_sites", 51))},
		{"the only service-site is deleted: the projects stay", everybodyBut(service5),
			said{"update service 5": service5}, sql(remove("t_services_sites", 51))},
		{"the only service-site, dead, is deleted: the projects come back", everybodyBut(service5),
			said{"create service 5": service5.but(supers...), "update service 5": supers}, sql(bury("t_services_sites", 51), "COMMIT; BEGIN", remove("t_services_sites", 51))},
		{"all service-projects are soft-deleted: the sites' admins lose it too", everybodyBut(service5),
			said{"delete service 5": service5.but(supers...), "update service 5": supers}, sql(bury("t_services_projects", 511) + ";" + bury("t_services_projects", 512))},
		{"all service-projects are soft-deleted by one statement", everybodyBut(service5),
			said{"delete service 5": service5.but(supers...), "update service 5": supers}, sql("UPDATE t_services_projects SET deleted_at = now() WHERE id_service = 5")},
		{"service-site is soft-deleted and then its projects, as OpenTera does", everybodyBut(service5),
			said{"delete service 5": service5.but(supers...), "update service 5": supers}, sql(bury("t_services_sites", 51), bury("t_services_projects", 511), bury("t_services_projects", 512))},
		{"service-site moves", everybodyBut(join(service5, users{otherSiteAdmin})), // the admins of site 1 see it by its projects
			said{"create service 5": {otherSiteAdmin}, "update service 5": service5}, sql(update("t_services_sites", 51, "id_site=2"))},
		{"service-site moves, and is the only link", everybodyBut(join(adminsOfSite1, adminsOfSite2)),
			said{"delete service 900": adminsOfSite1.but(supers...), "create service 900": {otherSiteAdmin}, "update service 900": supers},
			sql(row("t_services", 900), row("t_services_sites", 900, "id_service=900", "id_site=1"), "COMMIT; BEGIN", update("t_services_sites", 900, "id_site=2"))},

		{"session type-site is soft-deleted", everybodyBut(ofSite1),
			said{"gone session_type_site 611": ofSite1, "delete session_type 61": ofSite1.but(supers...), "update session_type 61": supers},
			sql(bury("t_sessions_types_sites", 611))},
		{"test type-site moves", everybodyBut(either),
			said{"delete test_type 71": either.but(both...), "update test_type 71": both}, sql(update("t_tests_types_sites", 711, "id_site=2"))},
		{"test type-site is deleted", everybodyBut(either),
			said{"delete test_type 71": either.but(supers...), "update test_type 71": supers}, sql(remove("t_tests_types_sites", 711))},
		{"test type-project: no matter", everybodyBut(nil),
			said{}, sql("INSERT INTO t_tests_types_projects VALUES (900, 71, 21, 1)")},
	}
	run(t, steps)
}

// Roles, groups and memberships raise no event themselves; the next event reflects them.
func TestRightsRaiseNoEvent(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	for _, statement := range []string{
		bury("t_users_users_groups", 5), raise("t_users_users_groups", 5), remove("t_users_users_groups", 4),
		row("t_users_users_groups", 900, "id_user=9", "id_user_group=5"), bury("t_services_access", 3), remove("t_services_access", 2), bury("t_services_roles", 111),
		row("t_services_roles", 900, "id_site=1", "service_role_name='admin'"), row("t_services_access", 900, "id_user_group=9", "id_service_role=900"),
	} {
		f.expect(everybodyBut(nil), said{}, statement)
	}
}

// run runs each step in an installation of its own. Statements before "COMMIT; BEGIN" prepare it.
func run(t *testing.T, steps []step) {
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := inWorld(t)
			statements := s.sql
			for i, statement := range statements {
				if statement == "COMMIT; BEGIN" {
					f.do(statements[:i]...)
					f.skip()
					statements = statements[i+1:]
					break
				}
			}
			f.expect(s.silent, s.wants, statements...)
		})
	}
}
