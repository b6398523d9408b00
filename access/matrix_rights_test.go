package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"terasocket/proto/event"
)

// right is one transaction, and exactly who gains and loses which tags: "user 5 -p:11 -s:1".
type right struct {
	name  string
	wants []string
	sql   []string
}

// each assigns the same tags to several users.
func each(us users, tags string) []string {
	lines := make([]string, len(us))
	for i, u := range us {
		lines[i] = fmt.Sprintf("user %d %s", u, tags)
	}
	return lines
}

// Every operation on every table that rights are computed from: exactly who gains and loses what.
func TestMatrixOfRights(t *testing.T) {
	t.Parallel()
	both := func(all ...[]string) []string { return slices.Concat(all...) }
	const (
		of11       = "+p:11 +s:1"
		not11      = "-p:11 -s:1"
		everything = "+a:1 +a:2 +p:11 +p:12 +p:21 +s:1 +s:2"
		nothing    = "-a:1 -a:2 -p:11 -p:12 -p:21 -s:1 -s:2"
	)
	siteAdmins := users{siteAdmin, serviceSiteAdmin}
	overSite1 := join(supers, siteAdmins)
	ofSite1Only := users{siteUser, projectAdmin, projectUser, serviceManager, serviceSiteHelper, neighbour, twoProjects}
	withoutRoles := both(each(siteAdmins, "-a:1 -p:11 -p:12 -s:1"), each(users{siteUser, serviceSiteHelper}, "-s:1"),
		each(users{projectAdmin, projectUser, serviceManager}, not11), each(users{neighbour}, "-p:12 -s:1"),
		each(users{otherSiteAdmin}, "-a:2 -p:21 -s:2"), each(users{otherProjectUser}, "-p:21 -s:2"), each(users{twoProjects}, "-p:11 -p:21 -s:1 -s:2"))
	deadSite1 := both(each(supers, "-a:1 -s:1"), each(siteAdmins, "-a:1 -p:11 -p:12 -s:1"), each(ofSite1Only, "-s:1"))
	livingSite1 := both(each(supers, "+a:1 +s:1"), each(siteAdmins, "+a:1 +p:11 +p:12 +s:1"), each(ofSite1Only, "+s:1"))

	for _, c := range []right{
		// memberships
		{"membership added", each(users{nobody}, of11), sql(row("t_users_users_groups", 900, "id_user=9", "id_user_group=5"))},
		{"membership added, of what it has already", nil, sql(row("t_users_users_groups", 900, "id_user=5", "id_user_group=4"))},
		{"membership added, dead", nil, sql(row("t_users_users_groups", 900, "id_user=9", "id_user_group=5", "deleted_at=now()"))},
		{"membership added, of the disabled", nil, sql(row("t_users_users_groups", 900, "id_user=15", "id_user_group=21"))},
		{"membership added, of a superadmin", nil, sql(row("t_users_users_groups", 900, "id_user=1", "id_user_group=21"))},
		{"membership soft-deleted", each(users{projectUser}, not11), sql(bury("t_users_users_groups", 5))},
		{"membership undeleted", each(users{deadMembership}, of11), sql(raise("t_users_users_groups", 11))},
		{"membership deleted", each(users{projectUser}, not11), sql(remove("t_users_users_groups", 5))},
		{"membership of another group", each(users{projectUser}, "+p:21 +s:2 "+not11), sql(update("t_users_users_groups", 5, "id_user_group=21"))},
		{"membership of another user", both(each(users{projectUser}, not11), each(users{nobody}, of11)), sql(update("t_users_users_groups", 5, "id_user=9"))},
		{"one of two memberships", each(users{twoProjects}, "-p:21 -s:2"), sql(remove("t_users_users_groups", 2221))},
		{"all memberships", withoutRoles, sql("TRUNCATE t_users_users_groups")},
		{"all memberships, softly", withoutRoles, sql("UPDATE t_users_users_groups SET deleted_at = now()")},

		// groups
		{"group added", nil, sql(row("t_users_groups", 900))},
		{"group renamed", nil, sql(update("t_users_groups", 5, "user_group_name='other'"))},
		{"group soft-deleted", each(users{projectUser}, not11), sql(bury("t_users_groups", 5))},
		{"group undeleted", each(users{deadGroup}, of11), sql(raise("t_users_groups", 10))},
		{"group deleted", each(users{projectUser}, not11), sql(remove("t_users_groups", 5))},

		// groups that hold roles
		{"role given to a group", each(users{nobody}, of11), sql(row("t_services_access", 900, "id_user_group=9", "id_service_role=112"))},
		{"dead role given to a group", nil, sql(row("t_services_access", 900, "id_user_group=9", "id_service_role=113"))},
		{"role given to a device", nil, sql(row("t_services_access", 900, "id_device=41", "id_service_role=112"))},
		{"hold soft-deleted", each(users{projectUser}, not11), sql(bury("t_services_access", 5))},
		{"hold undeleted", each(users{deadAccess}, of11), sql(raise("t_services_access", 13))},
		{"hold deleted", each(users{projectUser}, not11), sql(remove("t_services_access", 5))},
		{"hold of another role", each(users{projectUser}, "+p:12 -p:11"), sql(update("t_services_access", 5, "id_service_role=122"))},
		{"hold of another group", both(each(users{projectUser}, not11), each(users{nobody}, of11)), sql(update("t_services_access", 5, "id_user_group=9"))},
		{"hold passes to a device", each(users{projectUser}, not11), sql(update("t_services_access", 5, "id_user_group=NULL", "id_device=41"))},
		{"all holds", withoutRoles, sql("TRUNCATE t_services_access")},

		// roles
		{"role added", nil, sql(row("t_services_roles", 900, "id_project=11", "service_role_name='user'"))},
		{"role soft-deleted", each(users{projectUser, twoProjects}, not11), sql(bury("t_services_roles", 112))},
		{"role undeleted", each(users{deadRole}, of11), sql(raise("t_services_roles", 113))},
		{"role deleted", each(users{serviceSiteHelper}, "-s:1"), sql(remove("t_services_roles", 153))},
		{"role on nothing soft-deleted", nil, sql(bury("t_services_roles", 154))},
		{"role is admin", each(users{siteUser}, "+a:1 +p:11 +p:12"), sql(update("t_services_roles", 102, "service_role_name='admin'"))},
		{"role is admin no more", each(users{siteAdmin}, "-a:1 -p:11 -p:12"), sql(update("t_services_roles", 101, "service_role_name='user'"))},
		{"project role is admin", nil, sql(update("t_services_roles", 112, "service_role_name='admin'"))},
		{"role of another service", nil, sql(update("t_services_roles", 112, "id_service=5"))},
		{"role on another project", each(users{serviceManager}, "+p:21 +s:2 "+not11), sql(update("t_services_roles", 151, "id_project=21"))},
		{"role on another site", each(users{siteAdmin}, "+a:2 +p:21 +s:2 -a:1 -p:11 -p:12 -s:1"), sql(update("t_services_roles", 101, "id_site=2"))},
		{"role from a site to a project", each(users{siteUser}, "+p:21 +s:2 -s:1"), sql(update("t_services_roles", 102, "id_site=NULL", "id_project=21"))},

		// projects
		{"project added", each(overSite1, "+p:900"), sql(row("t_projects", 900, "id_site=1"))},
		{"project added, dead", nil, sql(row("t_projects", 900, "id_site=1", "deleted_at=now()"))},
		{"project renamed", nil, sql(update("t_projects", 11, "project_name='other'"))},
		{"project soft-deleted", both(each(overSite1, "-p:11"), each(users{projectAdmin, projectUser, serviceManager, twoProjects}, not11)), sql(bury("t_projects", 11))},
		{"project undeleted", both(each(overSite1, "+p:19"), each(users{deadProject}, "+p:19 +s:1")), sql(raise("t_projects", 19))},
		{"project deleted", both(each(overSite1, "-p:12"), each(users{neighbour}, "-p:12 -s:1"), []string{"participant 34 -t:34"}), sql(remove("t_projects", 12))},
		{"project to another site", both(each(siteAdmins, "-p:11"), each(users{otherSiteAdmin}, "+p:11"),
			each(users{projectAdmin, projectUser, serviceManager}, "+s:2 -s:1"), each(users{twoProjects}, "-s:1")), sql(update("t_projects", 11, "id_site=2"))},

		// sites
		{"site added", each(supers, "+a:900 +s:900"), sql(row("t_sites", 900))},
		{"site renamed", nil, sql(update("t_sites", 1, "site_name='other'"))},
		{"site soft-deleted", deadSite1, sql(bury("t_sites", 1))},
		{"site undeleted", livingSite1, sql(bury("t_sites", 1), "COMMIT; BEGIN", raise("t_sites", 1))},
		{"site deleted", both(each(supers, "-a:2 -p:21 -s:2"), each(users{otherSiteAdmin}, "-a:2 -p:21 -s:2"), each(users{otherProjectUser, twoProjects}, "-p:21 -s:2"), []string{"participant 33 -t:33"}),
			sql(remove("t_sessions", 83), "COMMIT; BEGIN", remove("t_sites", 2))},

		// users
		{"user added", each(users{900}, "+u:900"), sql(row("t_users", 900))},
		{"user added, disabled", nil, sql(row("t_users", 900, "user_enabled=false"))},
		{"user added with its group", each(users{900}, of11+" +u:900"), sql(row("t_users", 900), row("t_users_users_groups", 900, "id_user=900", "id_user_group=5"))},
		{"superadmin added", each(users{900}, everything+" +u:900 +x"), sql(row("t_users", 900, "user_superadmin=true"))},
		{"user renamed", nil, sql(update("t_users", 5, "user_lastname='Other'"))},
		{"user soft-deleted", each(users{projectUser}, not11+" -u:5"), sql(bury("t_users", 5))},
		{"user undeleted", each(users{deleted}, of11+" +u:16"), sql(raise("t_users", 16))},
		{"user disabled", each(users{projectUser}, not11+" -u:5"), sql(update("t_users", 5, "user_enabled=false"))},
		{"user enabled", each(users{disabled}, of11+" +u:15"), sql(update("t_users", 15, "user_enabled=true"))},
		{"user deleted", each(users{serviceManager}, not11+" -u:6"), sql(remove("t_users", 6))},
		{"deleted superadmin undeleted", each(users{deletedSuperadmin}, everything+" +u:23 +x"), sql(raise("t_users", 23))},
		{"superadmin given", each(users{nobody}, everything+" +x"), sql(update("t_users", 9, "user_superadmin=true"))},
		{"superadmin given to one with a role", each(users{projectUser}, "+a:1 +a:2 +p:12 +p:21 +s:2 +x"), sql(update("t_users", 5, "user_superadmin=true"))},
		{"superadmin taken", each(users{superadmin}, nothing+" -x"), sql(update("t_users", 1, "user_superadmin=false"))},
		{"superadmin taken from one with a role", each(users{superadminInAProject}, "-a:1 -a:2 -p:12 -p:21 -s:2 -x"), sql(update("t_users", 24, "user_superadmin=false"))},

		// participants and devices
		{"participant added", []string{"participant 900 +t:900"}, sql(row("t_participants", 900, "id_project=11"))},
		{"participant disabled", []string{"participant 31 -t:31"}, sql(update("t_participants", 31, "participant_enabled=false"))},
		{"participant enabled", []string{"participant 31 +t:31"}, sql(update("t_participants", 31, "participant_enabled=false"), "COMMIT; BEGIN", update("t_participants", 31, "participant_enabled=true"))},
		{"participant soft-deleted", []string{"participant 31 -t:31"}, sql(bury("t_participants", 31))},
		{"participant undeleted", []string{"participant 31 +t:31"}, sql(bury("t_participants", 31), "COMMIT; BEGIN", raise("t_participants", 31))},
		{"participant deleted", []string{"participant 34 -t:34"}, sql(remove("t_participants", 34))},
		{"participant moved", nil, sql(update("t_participants", 32, "id_project=12"))},
		{"device added", []string{"device 900 +d:900"}, sql(row("t_devices", 900))},
		{"device disabled", []string{"device 41 -d:41"}, sql(update("t_devices", 41, "device_enabled=false"))},
		{"device enabled", []string{"device 41 +d:41"}, sql(update("t_devices", 41, "device_enabled=false"), "COMMIT; BEGIN", update("t_devices", 41, "device_enabled=true"))},
		{"device soft-deleted", []string{"device 41 -d:41"}, sql(bury("t_devices", 41))},
		{"device undeleted", []string{"device 41 +d:41"}, sql(bury("t_devices", 41), "COMMIT; BEGIN", raise("t_devices", 41))},
		{"device deleted", []string{"device 42 -d:42"}, sql(remove("t_devices", 42))},
		{"device of another site", nil, sql(update("t_devices_sites", 411, "id_site=2"))},

		// several in one transaction
		{"taken and given back", nil, sql(bury("t_users_users_groups", 5), raise("t_users_users_groups", 5))},
		{"disabled and enabled", nil, sql(update("t_users", 5, "user_enabled=false"), update("t_users", 5, "user_enabled=true"))},
		{"moved on", each(users{projectUser}, "+p:12 -p:11"), sql(update("t_users_users_groups", 5, "id_user_group=21"), update("t_users_users_groups", 5, "id_user_group=19"))},
		{"added and deleted", nil, sql(row("t_participants", 900, "id_project=11"), remove("t_participants", 900))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := inWorld(t)
			statements := c.sql
			if i := slices.Index(statements, "COMMIT; BEGIN"); i >= 0 {
				f.do(statements[:i]...)
				f.skip()
				statements = statements[i+1:]
			}
			f.do(statements...)
			f.mustGain(c.wants)
		})
	}
}

// mustGain compares the rights rows of the newest announcement, unexpected principals first. They precede everything else, and a Settled
// row ends the announcement.
func (f *fixture) mustGain(wants []string) {
	f.Helper()
	var got []string
	events := f.recorded()
	areRights := true
	for i := range events {
		switch e := &events[i]; e.Kind {
		case event.Rights:
			var tags []string
			for _, tag := range e.Gained {
				tags = append(tags, "+"+tag)
			}
			for _, tag := range e.Lost {
				tags = append(tags, "-"+tag)
			}
			slices.Sort(tags)
			got = append(got, fmt.Sprintf("%s %d %s", e.ObjectType, e.ObjectID, strings.Join(tags, " ")))
			fallthrough
		case event.Alias:
			if !areRights {
				f.Errorf("event %d: rights behind objects", e.Seq)
			}
		case event.Settled:
			if i != len(events)-1 {
				f.Error("settled, and then more")
			}
		default:
			areRights = false
		}
	}
	for _, line := range got {
		if !slices.Contains(wants, line) {
			f.Errorf("%s: unexpected", line)
		}
	}
	for _, line := range wants {
		if !slices.Contains(got, line) {
			f.Errorf("%s: missing in %q", line, got)
		}
	}
	if len(got) != len(wants) {
		f.Errorf("%d rights rows, want %d", len(got), len(wants))
	}
	if len(got) > 0 && events[len(events)-1].Kind != event.Settled {
		f.Error("not settled")
	}
}
