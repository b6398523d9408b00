package access_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
)

// The installation of the role matrices: two sites, four projects, and a viewer of every role.
//
//	site 1: projects 11, 12, and 19 (dead)     service 5: projects 11, 12; site 1
//	site 2: project 21                         service 6: project 21; site 2
const (
	superadmin           int32 = 1  // sees everything except sessions that do not involve it
	siteAdmin            int32 = 2  // OpenTera "admin" of site 1, so of projects 11 and 12
	siteUser             int32 = 3  // OpenTera "user" of site 1: the site, no project
	projectAdmin         int32 = 4  // OpenTera "admin" of project 11
	projectUser          int32 = 5  // OpenTera "user" of project 11
	serviceManager       int32 = 6  // "manager" of service 5 on project 11, no OpenTera role
	serviceSiteAdmin     int32 = 7  // "admin" of service 5 on site 1, no OpenTera role
	serviceSiteHelper    int32 = 8  // "helper" of service 5 on site 1, no OpenTera role
	nobody               int32 = 9  // no role at all
	deadGroup            int32 = 10 // its group is soft-deleted ...
	deadMembership       int32 = 11 // ... its membership of the group ...
	deadRole             int32 = 12 // ... the role ...
	deadAccess           int32 = 13 // ... the group's link to the role; all would be project users of 11
	deadProject          int32 = 14 // role on project 19, which is soft-deleted
	disabled             int32 = 15 // disabled, otherwise as projectUser
	deleted              int32 = 16 // soft-deleted, otherwise as projectUser
	disabledSuperadmin   int32 = 17
	globalRole           int32 = 18 // "admin" of service 5, on no site and no project
	neighbour            int32 = 19 // OpenTera "user" of project 12
	otherSiteAdmin       int32 = 20 // OpenTera "admin" of site 2
	otherProjectUser     int32 = 21 // OpenTera "user" of project 21
	twoProjects          int32 = 22 // OpenTera "user" of projects 11 and 21, through two groups
	deletedSuperadmin    int32 = 23
	superadminInAProject int32 = 24 // superadmin and OpenTera "user" of project 11
)

// viewers maps them to their names.
var viewers = map[int32]string{
	superadmin: "superadmin", siteAdmin: "siteAdmin", siteUser: "siteUser", projectAdmin: "projectAdmin", projectUser: "projectUser",
	serviceManager: "serviceManager", serviceSiteAdmin: "serviceSiteAdmin", serviceSiteHelper: "serviceSiteHelper", nobody: "nobody",
	deadGroup: "deadGroup", deadMembership: "deadMembership", deadRole: "deadRole", deadAccess: "deadAccess", deadProject: "deadProject",
	disabled: "disabled", deleted: "deleted", disabledSuperadmin: "disabledSuperadmin", globalRole: "globalRole", neighbour: "neighbour",
	otherSiteAdmin: "otherSiteAdmin", otherProjectUser: "otherProjectUser", twoProjects: "twoProjects", deletedSuperadmin: "deletedSuperadmin",
	superadminInAProject: "superadminInAProject",
}

type users []int32

// The groups of viewers that most rules use.
var (
	// never are those whose role is deleted, or who cannot be connected.
	never  = users{nobody, deadGroup, deadMembership, deadRole, deadAccess, deadProject, disabled, deleted, disabledSuperadmin, globalRole, deletedSuperadmin}
	supers = users{superadmin, superadminInAProject}

	ofProject11 = join(users{superadmin, superadminInAProject, siteAdmin, serviceSiteAdmin, projectAdmin, projectUser, serviceManager, twoProjects})
	ofProject12 = join(users{superadmin, superadminInAProject, siteAdmin, serviceSiteAdmin, neighbour})
	ofProject21 = join(users{superadmin, superadminInAProject, otherSiteAdmin, otherProjectUser, twoProjects})
	ofSite1     = join(ofProject11, ofProject12, users{siteUser, serviceSiteHelper})
	ofSite2     = ofProject21
	// admins of a site
	adminsOfSite1 = join(users{superadmin, superadminInAProject, siteAdmin, serviceSiteAdmin})
	adminsOfSite2 = join(users{superadmin, superadminInAProject, otherSiteAdmin})
)

func join(groups ...users) users {
	all := slices.Concat(groups...)
	slices.Sort(all)
	return slices.Compact(all)
}

// but returns the group without some users.
func (us users) but(out ...int32) users {
	return slices.DeleteFunc(slices.Clone(us), func(u int32) bool { return slices.Contains(out, u) })
}

// everybodyBut returns the viewers outside a group.
func everybodyBut(us users) users {
	return users(slices.Sorted(maps.Keys(viewers))).but(us...)
}

// uuid5 and uuid6 are the service_uuid of the services.
const uuid5, uuid6 = "5e000000-5", "5e000000-6"

func world(ctx context.Context, conn *pgx.Conn) error {
	const dead = "deleted_at=now()"
	statements := []string{
		row("t_server_settings", 99), row("t_devices_types", 1),
		row("t_sites", 1), row("t_sites", 2),
		row("t_projects", 11, "id_site=1"), row("t_projects", 12, "id_site=1"), row("t_projects", 19, "id_site=1", dead), row("t_projects", 21, "id_site=2"),
		row("t_services", 1, "service_key='OpenTeraServer'"), row("t_services", 5), row("t_services", 6),
		row("t_services_projects", 511, "id_service=5", "id_project=11"), row("t_services_projects", 512, "id_service=5", "id_project=12"),
		row("t_services_projects", 621, "id_service=6", "id_project=21"),
		row("t_services_sites", 51, "id_service=5", "id_site=1"), row("t_services_sites", 62, "id_service=6", "id_site=2"),

		row("t_services_roles", 101, "id_site=1", "service_role_name='admin'"), row("t_services_roles", 102, "id_site=1", "service_role_name='user'"),
		row("t_services_roles", 103, "id_site=2", "service_role_name='admin'"),
		row("t_services_roles", 111, "id_project=11", "service_role_name='admin'"), row("t_services_roles", 112, "id_project=11", "service_role_name='user'"),
		row("t_services_roles", 113, "id_project=11", "service_role_name='user'", dead),
		row("t_services_roles", 122, "id_project=12", "service_role_name='user'"), row("t_services_roles", 192, "id_project=19", "service_role_name='user'"),
		row("t_services_roles", 212, "id_project=21", "service_role_name='user'"),
		row("t_services_roles", 151, "id_service=5", "id_project=11", "service_role_name='manager'"),
		row("t_services_roles", 152, "id_service=5", "id_site=1", "service_role_name='admin'"),
		row("t_services_roles", 153, "id_service=5", "id_site=1", "service_role_name='helper'"),
		row("t_services_roles", 154, "id_service=5", "service_role_name='admin'"),
	}
	isDead := map[int32]string{deadGroup: "t_users_groups", deadMembership: "t_users_users_groups", deadAccess: "t_services_access", deleted: "t_users", deletedSuperadmin: "t_users"}
	roles := map[int32]int{
		siteAdmin: 101, siteUser: 102, projectAdmin: 111, projectUser: 112, serviceManager: 151, serviceSiteAdmin: 152, serviceSiteHelper: 153,
		deadGroup: 112, deadMembership: 112, deadRole: 113, deadAccess: 112, deadProject: 192, disabled: 112, deleted: 112, globalRole: 154,
		neighbour: 122, otherSiteAdmin: 103, otherProjectUser: 212, twoProjects: 112, superadminInAProject: 112,
	}
	add := func(id int32, table string, rowID int, columns ...string) {
		if isDead[id] == table {
			columns = append(columns, dead)
		}
		statements = append(statements, row(table, rowID, columns...))
	}
	for _, id := range slices.Sorted(maps.Keys(viewers)) {
		isSuper := slices.Contains(users{superadmin, disabledSuperadmin, deletedSuperadmin, superadminInAProject}, id)
		add(id, "t_users", int(id), fmt.Sprintf("user_superadmin=%t", isSuper), fmt.Sprintf("user_enabled=%t", id != disabled && id != disabledSuperadmin))
		// each has a group with its own id
		add(id, "t_users_groups", int(id))
		add(id, "t_users_users_groups", int(id), fmt.Sprintf("id_user=%d", id), fmt.Sprintf("id_user_group=%d", id))
		if roles[id] != 0 {
			add(id, "t_services_access", int(id), fmt.Sprintf("id_user_group=%d", id), fmt.Sprintf("id_service_role=%d", roles[id]))
		}
	}
	statements = append(statements,
		row("t_users_users_groups", 2221, "id_user=22", "id_user_group=21"),

		row("t_participants_groups", 35, "id_project=11"),
		row("t_participants", 31, "id_project=11", "id_participant_group=35"), row("t_participants", 32, "id_project=11"),
		row("t_participants", 33, "id_project=21"), row("t_participants", 34, "id_project=12"),
		row("t_devices", 41), row("t_devices", 42),
		row("t_devices_sites", 411, "id_device=41", "id_site=1"), row("t_devices_sites", 422, "id_device=42", "id_site=2"),
		row("t_sessions_types", 61), row("t_sessions_types", 62),
		row("t_sessions_types_sites", 611, "id_session_type=61", "id_site=1"), row("t_sessions_types_sites", 622, "id_session_type=62", "id_site=2"),
		row("t_sessions_types_projects", 6111, "id_session_type=61", "id_project=11"),
		row("t_sessions_types_services", 615, "id_session_type=61", "id_service=5"),
		row("t_tests_types", 71, "id_service=5"), row("t_tests_types", 72, "id_service=6"),
		row("t_tests_types_sites", 711, "id_test_type=71", "id_site=1"), row("t_tests_types_sites", 722, "id_test_type=72", "id_site=2"),
		// 81: of project 11, created by nobody, with the neighbour. 82: without participants. 83: of two projects.
		row("t_sessions", 81, "id_creator_user=9"), row("t_sessions_participants", 811, "id_session=81", "id_participant=31"),
		row("t_sessions_users", 811, "id_session=81", "id_user=19"),
		row("t_sessions", 82, "id_creator_user=9"), row("t_sessions_users", 821, "id_session=82", "id_user=5"),
		row("t_sessions", 83), row("t_sessions_participants", 831, "id_session=83", "id_participant=32"),
		row("t_sessions_participants", 832, "id_session=83", "id_participant=33"),
		row("t_assets", 86, "id_session=81", "asset_service_uuid='"+uuid5+"'"), row("t_assets", 87, "id_session=83", "asset_service_uuid='"+uuid6+"'"),
		row("t_tests", 91, "id_session=81", "id_test_type=71"), row("t_tests", 92, "id_session=83", "id_test_type=72"),
		row("t_tests_invitations", 95, "id_test_type=71", "id_project=11", "id_participant=31"),
	)
	_, err := conn.PgConn().Exec(ctx, "BEGIN;"+strings.Join(statements, ";")+";COMMIT; ANALYZE").ReadAll()
	return err
}

// inWorld makes a fixture of that installation.
func inWorld(t testing.TB) *fixture {
	t.Helper()
	return setup(t, worldTemplate())
}

func worldTemplate() dbtest.Template { return with("world", bare(), world) }

// said maps each message to exactly those who must receive it.
type said map[string]users

// expect runs statements in one transaction. silent are those who must receive nothing; everybody else must receive exactly their
// messages, each once. Every viewer has to be named.
func (f *fixture) expect(silent users, wants said, sql ...string) {
	f.Helper()
	f.do(sql...)
	got := map[int32][]string{}
	for user, messages := range f.heard() {
		for _, m := range messages {
			got[user] = append(got[user], m.String())
		}
	}
	want := map[int32][]string{}
	for _, user := range silent {
		want[user] = nil
		if len(got[user]) > 0 {
			f.Errorf("%s must receive nothing, got %q", name(user), got[user])
		}
		delete(got, user)
	}
	for message, us := range wants {
		for _, user := range us {
			if slices.Contains(silent, user) {
				f.Errorf("the test wants %s to receive nothing, and %s", name(user), message)
			}
			want[user] = append(want[user], message)
		}
	}
	for user := range viewers {
		if _, isNamed := want[user]; !isNamed {
			f.Errorf("the test does not mention %s", name(user))
		}
		got[user] = append(got[user], []string{}...)
	}
	for user, messages := range got {
		slices.Sort(messages)
		slices.Sort(want[user])
		if !slices.Equal(messages, want[user]) {
			f.Errorf("%s receives %q, want %q", name(user), messages, want[user])
		}
	}
}

func name(user int32) string {
	if n := viewers[user]; n != "" {
		return n
	}
	return fmt.Sprint("user ", user)
}
