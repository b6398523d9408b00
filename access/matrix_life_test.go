package access_test

import (
	"fmt"
	"testing"
)

// life is the life of one new object, 900, of each type: who must not receive its events, and who must.
type life struct {
	objectType string
	not, to    users
	create     []string // its links after it, in the same transaction, as OpenTera writes them
	update     string   // of a visible column; visibleColumn unless given
}

// Each of the 18 types is created, updated, soft-deleted, undeleted and physically deleted. All five have the same recipients: those who
// see it, or for deletions saw it.
func TestMatrixOfLives(t *testing.T) {
	t.Parallel()
	lives := []life{
		{
			objectType: "site", not: everybodyBut(supers), to: supers,
			create: []string{row("t_sites", 900)},
		}, {
			objectType: "project", not: everybodyBut(adminsOfSite1), to: adminsOfSite1,
			create: []string{row("t_projects", 900, "id_site=1")},
		}, {
			// visible through its group's OpenTera role on project 11; superadmins and site admins have none
			objectType: "user", not: everybodyBut(ofProject11), to: join(ofProject11, users{900}),
			create: []string{row("t_users", 900), row("t_users_users_groups", 900, "id_user=900", "id_user_group=5")},
		}, {
			objectType: "user_group", not: everybodyBut(ofProject11), to: ofProject11,
			create: []string{row("t_users_groups", 900), row("t_services_access", 900, "id_user_group=900", "id_service_role=112")},
		}, {
			objectType: "participant_group", not: everybodyBut(ofProject11), to: ofProject11,
			create: []string{row("t_participants_groups", 900, "id_project=11")},
		}, {
			objectType: "participant", not: everybodyBut(ofProject11), to: ofProject11,
			create: []string{row("t_participants", 900, "id_project=11")},
		}, {
			// by site, not by project
			objectType: "device", not: everybodyBut(ofSite1), to: ofSite1,
			create: []string{row("t_devices", 900), row("t_devices_projects", 900, "id_device=900", "id_project=21"), row("t_devices_sites", 900, "id_device=900", "id_site=1")},
		}, {
			// by project, or by site to its admins only
			objectType: "service", not: everybodyBut(join(ofProject12, adminsOfSite2)), to: join(ofProject12, adminsOfSite2),
			create: []string{row("t_services", 900), row("t_services_projects", 900, "id_service=900", "id_project=12"), row("t_services_sites", 900, "id_service=900", "id_site=2")},
		}, {
			objectType: "session_type", not: everybodyBut(ofSite2), to: ofSite2,
			create: []string{row("t_sessions_types", 900, "id_service=5"), row("t_sessions_types_sites", 900, "id_session_type=900", "id_site=2")},
		}, {
			objectType: "session_type_site", not: everybodyBut(ofSite2), to: ofSite2,
			create: []string{row("t_sessions_types_sites", 900, "id_session_type=61", "id_site=2")},
		}, {
			objectType: "session_type_project", not: everybodyBut(ofProject21), to: ofProject21,
			create: []string{row("t_sessions_types_projects", 900, "id_session_type=61", "id_project=21")},
		}, {
			// type 61 is visible at site 1, service 6 through project 21 and to the admins of site 2
			objectType: "session_type_service", not: everybodyBut(users{superadmin, superadminInAProject, twoProjects}), to: users{superadmin, superadminInAProject, twoProjects},
			create: []string{
				row("t_sessions_types", 901), row("t_sessions_types_sites", 901, "id_session_type=901", "id_site=1"),
				row("t_sessions_types_services", 900, "id_session_type=61", "id_service=6"),
			},
			update: "id_session_type=901",
		}, {
			// open rule: creator, member users, and those who see the project of a member participant; not by the device's site
			objectType: "session", not: everybodyBut(join(ofProject11, users{nobody, otherProjectUser})), to: join(ofProject11, users{nobody, otherProjectUser}),
			create: []string{
				row("t_sessions", 900, "id_creator_user=9", "id_creator_device=42"), row("t_sessions_participants", 900, "id_session=900", "id_participant=32"),
				row("t_sessions_users", 900, "id_session=900", "id_user=21"), row("t_sessions_devices", 900, "id_session=900", "id_device=42"),
			},
		}, {
			// session 83 is of projects 11 and 21, service 5 of 11, 12 and the admins of site 1
			objectType: "asset", not: everybodyBut(ofProject11), to: ofProject11,
			create: []string{row("t_assets", 900, "id_session=83", "asset_service_uuid='"+uuid5+"'")},
		}, {
			// site 1, and service 5: not those without a project who do not administer the site
			objectType: "test_type", not: everybodyBut(join(ofProject11, ofProject12)), to: join(ofProject11, ofProject12),
			create: []string{row("t_tests_types", 900, "id_service=5"), row("t_tests_types_sites", 900, "id_test_type=900", "id_site=1")},
		}, {
			objectType: "test", not: everybodyBut(ofProject21), to: ofProject21,
			create: []string{row("t_tests", 900, "id_session=83", "id_test_type=72")},
		}, {
			// project 12, type 71 (site 1, service 5), and the device of site 1
			objectType: "test_invitation", not: everybodyBut(ofProject12), to: ofProject12,
			create: []string{row("t_tests_invitations", 900, "id_test_type=71", "id_project=12", "id_device=41")},
		}, {
			objectType: "server_settings", not: everybodyBut(supers), to: supers,
			create: []string{row("t_server_settings", 900)},
		},
	}
	if len(lives) != len(objectTables) {
		t.Errorf("%d types, want %d", len(lives), len(objectTables))
	}
	for _, l := range lives {
		t.Run(l.objectType, func(t *testing.T) {
			t.Parallel()
			f := inWorld(t)
			table := objectTables[l.objectType]
			column := l.update
			if column == "" {
				column = visibleColumn[l.objectType]
			}
			survivors := l
			survivors.to = l.to.but(900) // a deleted user is not connected either
			f.lives(l, "create", l.create...)
			f.lives(l, "update", update(table, 900, column))
			if l.objectType != "server_settings" {
				f.lives(survivors, "gone", bury(table, 900))
				f.lives(life{objectType: l.objectType, not: everybodyBut(nil)}, "dead", update(table, 900, column), bury(table, 900))
				f.lives(l, "create", raise(table, 900))
			}
			f.lives(survivors, "delete", remove(table, 900))
		})
	}
}

// lives runs statements and checks the received events about objects of the type. Others are ignored.
func (f *fixture) lives(l life, op string, sql ...string) {
	f.Helper()
	f.do(sql...)
	got := map[int32][]string{}
	for user, messages := range f.heard() {
		for _, m := range messages {
			if m.objectType == l.objectType {
				got[user] = append(got[user], m.String())
			}
		}
	}
	for _, user := range l.not {
		if len(got[user]) > 0 {
			f.Errorf("%s: %s must receive nothing, got %q", op, name(user), got[user])
		}
	}
	want := fmt.Sprintf("%s %s 900", op, l.objectType)
	for _, user := range l.to {
		if len(got[user]) != 1 || got[user][0] != want {
			f.Errorf("%s: %s receives %q, want %s", op, name(user), got[user], want)
		}
	}
	if missing := len(viewers) - len(l.not) - len(l.to.but(900)); missing != 0 {
		f.Errorf("%s: the test does not mention %d viewers", op, missing)
	}
}
