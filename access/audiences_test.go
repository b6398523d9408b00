package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"terasocket/access"
)

// Who holds each tag, and combinations of tags.
func TestAudiencesOfKeys(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	session81 := join(ofProject11, users{nobody, neighbour})
	for _, c := range []struct {
		key  string
		want users
	}{
		{`[["x"]]`, supers},
		{`[["u:9"]]`, users{nobody}},
		{`[["p:11"]]`, ofProject11},
		{`[["s:1"]]`, ofSite1},
		{`[["a:1"]]`, adminsOfSite1},
		{`[["p:11","p:12"]]`, join(ofProject11, ofProject12)},
		{`[["p:11"],["p:12"]]`, adminsOfSite1},
		{`[["p:11"],["p:21"]]`, join(supers, users{twoProjects})},
		{`[["u:9","u:19","p:11"],["x","p:11","p:12","a:1"]]`, session81.but(nobody)},
		{`[["p:11"],["p:11"],["p:11"]]`, ofProject11},
		{`[["p:11","p:11","x","x"]]`, ofProject11},
		{` [ [ "x" ] ] `, supers},

		// those who cannot be connected
		{`[["u:15"]]`, nil}, {`[["u:16"]]`, nil}, {`[["u:17"]]`, nil}, {`[["u:23"]]`, nil},
		// deleted, unknown, or out of range
		{`[["p:19"]]`, nil}, {`[["p:0"]]`, nil}, {`[["s:3"]]`, nil}, {`[["a:3"]]`, nil}, {`[["u:99"]]`, nil},
		{`[["u:2147483648"]]`, nil}, {`[["u:9999999999"]]`, nil}, {`[["u:99999999999999999999"]]`, nil}, {`[["p:-11"]]`, nil}, {`[["u:"]]`, nil}, {`[["u"]]`, nil},
		{`[["z:1"]]`, nil}, {`[["X"]]`, nil}, {`[["x:1"]]`, nil}, {`[["xu:9"]]`, nil}, {`[["u:9 "]]`, nil}, {`[["u:9\n"]]`, nil}, {`[["u:9; DROP TABLE t_users"]]`, nil}, {`[[""]]`, nil},
		// an unknown tag beside a known one changes nothing
		{`[["z:1","x"]]`, supers},
		// no clause, or an empty one
		{`[]`, nil}, {`[[]]`, nil}, {`[["x"],[]]`, nil}, {`[[],["x"]]`, nil},
		// no routing keys at all
		{``, nil}, {` `, nil}, {`x`, nil}, {`[["x"]`, nil}, {`[["x"]]]`, nil}, {`"x"`, nil}, {`null`, nil}, {`1`, nil}, {`{}`, nil}, {`{"0":["x"]}`, nil},
		{`["x"]`, nil}, {`[null]`, nil}, {`[[null]]`, nil}, {`[[["x"]]]`, nil}, {`[{"x":"x"}]`, nil}, {`[["x"],"x"]`, nil}, {`[["x"],null]`, nil}, {`[[9]]`, nil},
		{`[["\u0000"]]`, nil}, {`[["\ud800"]]`, nil}, {`[[1e999999]]`, nil},
		{strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000), nil},
	} {
		label := c.key[:min(60, len(c.key))]
		if got := f.audience(c.key); !slices.Equal(got, c.want) {
			t.Errorf("%q: audience %v, want %v", label, got, c.want)
		}
		// a malformed key does not affect the others of its batch
		if got := f.audiences([]string{`[["u:9"]]`, c.key, `[["x"]]`}); !slices.Equal(got[0], users{nobody}) || !slices.Equal(got[1], c.want) || !slices.Equal(got[2], supers) {
			t.Errorf("%q in a batch: %v", label, got)
		}
	}
}

func TestAudiencesOfABatch(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	var keys []string
	var want []users
	for i := range 600 {
		switch i % 4 {
		case 0:
			keys, want = append(keys, fmt.Sprintf(`[["p:11","u:%d"]]`, 1000+i)), append(want, ofProject11)
		case 1:
			keys, want = append(keys, fmt.Sprintf(`[["u:9"],["u:9","p:%d"]]`, 1000+i)), append(want, users{nobody})
		case 2:
			keys, want = append(keys, fmt.Sprintf(`[["p:%d"]]`, 1000+i)), append(want, nil)
		case 3:
			keys, want = append(keys, `[["x"]]`), append(want, supers)
		}
	}
	for i, got := range f.audiences(keys) {
		if !slices.Equal(got, want[i]) {
			t.Fatalf("%s (%d): audience %v, want %v", keys[i], i, got, want[i])
		}
	}
	if got := f.audiences(nil); len(got) != 0 {
		t.Errorf("of no keys: %v", got)
	}
}

// Deleted roles grant nothing, and those who cannot be connected hold nothing.
func TestDeletedRolesAndPrincipalsHoldNothing(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	for _, tag := range []string{"x", "s:1", "s:2", "a:1", "a:2", "p:11", "p:12", "p:19", "p:21"} {
		for _, user := range f.audience(fmt.Sprintf("[[%q]]", tag)) {
			if slices.Contains(never, user) {
				t.Errorf("%s holds %s", name(user), tag)
			}
		}
	}
}

// A right that is granted or revoked counts for the next call, whichever table it is in.
func TestEveryRightsTableMatters(t *testing.T) {
	t.Parallel()
	const p11, s1, s2, x = `[["p:11"]]`, `[["s:1"]]`, `[["s:2"]]`, `[["x"]]`
	for _, c := range []struct {
		name, change, key string
		user              int32
		sees              bool // after the change; before it, the opposite
	}{
		{"membership taken", bury("t_users_users_groups", 5), p11, projectUser, false},
		{"membership removed", remove("t_users_users_groups", 5), p11, projectUser, false},
		{"membership moved", update("t_users_users_groups", 5, "id_user_group=9"), p11, projectUser, false},
		{"membership given", row("t_users_users_groups", 900, "id_user=9", "id_user_group=5"), p11, nobody, true},
		{"membership given back", raise("t_users_users_groups", 11), p11, deadMembership, true},
		{"group deleted", bury("t_users_groups", 5), p11, projectUser, false},
		{"group undeleted", raise("t_users_groups", 10), p11, deadGroup, true},
		{"role's holder taken", bury("t_services_access", 5), p11, projectUser, false},
		{"role's holder removed", remove("t_services_access", 5), p11, projectUser, false},
		{"role's holder given", row("t_services_access", 900, "id_user_group=9", "id_service_role=112"), p11, nobody, true},
		{"role's holder given back", raise("t_services_access", 13), p11, deadAccess, true},
		{"role's holder passes to a device", update("t_services_access", 5, "id_user_group=NULL", "id_device=41"), p11, projectUser, false},
		{"role deleted", bury("t_services_roles", 151), p11, serviceManager, false},
		{"role removed", remove("t_services_roles", 151), p11, serviceManager, false},
		{"role undeleted", raise("t_services_roles", 113), p11, deadRole, true},
		{"role to another project", update("t_services_roles", 112, "id_project=21"), p11, projectUser, false},
		{"site role renamed to admin", update("t_services_roles", 153, "service_role_name='admin'"), p11, serviceSiteHelper, true},
		{"site role is admin no more", update("t_services_roles", 101, "service_role_name='user'"), p11, siteAdmin, false},
		{"role names are exact", update("t_services_roles", 101, "service_role_name='Admin'"), p11, siteAdmin, false},
		{"project deleted", bury("t_projects", 11), p11, projectUser, false},
		{"project deleted: its site too", bury("t_projects", 11), s1, projectUser, false},
		{"project undeleted", raise("t_projects", 19), `[["p:19"]]`, deadProject, true},
		{"project to another site", update("t_projects", 11, "id_site=2"), p11, siteAdmin, false},
		{"project to another site: the site too", update("t_projects", 11, "id_site=2"), s2, projectUser, true},
		{"site deleted", bury("t_sites", 1), s1, siteUser, false},
		{"site deleted: its admins lose the projects", bury("t_sites", 1), p11, siteAdmin, false},
		{"superadmin taken", update("t_users", 1, "user_superadmin=false"), x, superadmin, false},
		{"superadmin taken: projects too", update("t_users", 1, "user_superadmin=false"), p11, superadmin, false},
		{"superadmin given", update("t_users", 9, "user_superadmin=true"), p11, nobody, true},
		{"user disabled", update("t_users", 5, "user_enabled=false"), p11, projectUser, false},
		{"user enabled", update("t_users", 15, "user_enabled=true"), p11, disabled, true},
		{"user deleted", bury("t_users", 5), p11, projectUser, false},
		{"user undeleted", raise("t_users", 16), p11, deleted, true},
		{"superadmin disabled", update("t_users", 1, "user_enabled=false"), x, superadmin, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := inWorld(t)
			if got := slices.Contains(f.audience(c.key), c.user); got == c.sees {
				t.Fatalf("before: %s holds %s: %t", name(c.user), c.key, got)
			}
			f.do(c.change)
			if got := slices.Contains(f.audience(c.key), c.user); got != c.sees {
				t.Errorf("after: %s holds %s: %t", name(c.user), c.key, got)
			}
		})
	}
}

// The traps of access-rules.md: who sees what, by any path.
func TestTraps(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	f.do(
		row("t_devices", 43), row("t_devices_projects", 431, "id_device=43", "id_project=11"),
		row("t_services", 7), row("t_services_projects", 711, "id_service=7", "id_project=11"), // of a project, of no site
		row("t_services", 8), row("t_services_projects", 811, "id_service=8", "id_project=11"), row("t_services_sites", 81, "id_service=8", "id_site=1", "deleted_at=now()"),
		row("t_services", 9), row("t_services_projects", 911, "id_service=9", "id_project=11", "deleted_at=now()"), row("t_services_sites", 91, "id_service=9", "id_site=1"),
		row("t_services", 10, "deleted_at=now()"), row("t_services_projects", 1011, "id_service=10", "id_project=11"),
		row("t_tests_types", 73, "id_service=10"), row("t_tests_types_sites", 731, "id_test_type=73", "id_site=1"),
		row("t_tests", 93, "id_session=81", "id_test_type=73"),
		row("t_sessions", 84, "id_creator_service=5", "id_creator_device=41"), row("t_sessions_devices", 841, "id_session=84", "id_device=41"),
		row("t_sessions", 85, "id_creator_user=15"), row("t_sessions_users", 851, "id_session=85", "id_user=16"),
		row("t_participants", 36, "id_project=11", "deleted_at=now()"), row("t_sessions", 88), row("t_sessions_participants", 881, "id_session=88", "id_participant=36"),
	)
	own := func(id int32) users { return join(supers, users{id}) }
	for _, c := range []struct {
		what       string
		objectType string
		id         int64
		want       users
	}{
		{"a superadmin is seen by superadmins only", "user", 1, supers},
		{"unless it has an OpenTera role on a project", "user", 24, ofProject11},
		{"a site admin has none", "user", 2, own(siteAdmin)},
		{"nor a site user", "user", 3, own(siteUser)},
		{"a project admin has", "user", 4, ofProject11},
		{"another service's role does not make its holder visible", "user", 6, own(serviceManager)},
		{"nor one on a site", "user", 7, own(serviceSiteAdmin)},
		{"a dead group makes nobody visible", "user", 10, own(deadGroup)},
		{"nor a dead membership", "user", 11, own(deadMembership)},
		{"nor a dead role", "user", 12, own(deadRole)},
		{"nor a dead hold of it", "user", 13, own(deadAccess)},
		{"nor a role on a dead project", "user", 14, own(deadProject)},
		{"a disabled user is visible as others", "user", 15, ofProject11},
		{"two projects", "user", 22, join(ofProject11, ofProject21)},
		{"a group that reaches projects by its site", "user_group", 2, join(ofProject11, ofProject12)},
		{"by another service's admin role as well", "user_group", 7, join(ofProject11, ofProject12)},
		{"a site user's group reaches none", "user_group", 3, supers},
		{"nor a site helper's", "user_group", 8, supers},
		{"another service's role on a project counts", "user_group", 6, ofProject11},
		{"a global role does not", "user_group", 18, supers},
		{"a dead membership does not matter to a group", "user_group", 11, ofProject11},
		{"a dead role does", "user_group", 12, supers},
		{"a role on a dead project too", "user_group", 14, supers},
		{"a device of a project and no site", "device", 43, supers},
		{"a device of a site", "device", 41, ofSite1},
		{"a service of a project", "service", 7, ofProject11},
		{"whose only site link is dead", "service", 8, supers},
		{"whose only project link is dead, at a living site", "service", 9, supers},
		{"OpenTera itself, that has no link", "service", 1, supers},
		{"a service of projects and sites", "service", 5, join(ofProject11, ofProject12)},
		{"a test type of a dead service", "test_type", 73, supers},
		{"its test", "test", 93, nil},
		{"a session of a service and a device: nobody opens it", "session", 84, nil},
		{"a session of a disabled and a deleted user", "session", 85, nil},
		{"a session of a dead participant", "session", 88, nil},
		{"a session without participants: not even superadmins", "session", 82, users{projectUser, nobody}},
		{"a session of two projects", "session", 83, join(ofProject11, ofProject21)},
		{"an asset needs its session and its service", "asset", 87, ofProject21},
		{"an invitation", "test_invitation", 95, ofProject11},
		{"the settings", "server_settings", 99, supers},
	} {
		key := one[string](f, fmt.Sprintf("SELECT terasocket.keys('%s', to_jsonb(t))::text FROM %s t WHERE id_%s = %d", c.objectType, objectTables[c.objectType], c.objectType, c.id))
		if got := f.audience(key); !slices.Equal(got, join(c.want)) {
			t.Errorf("%s: %s %d is seen by %v, want %v", c.what, c.objectType, c.id, got, join(c.want))
		}
	}
}

// Participants and devices hold only their own tag, which no database event carries.
func TestAudiencesOfParticipantsAndDevices(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	f.do(update("t_participants", 32, "participant_enabled=false"), bury("t_participants", 34), update("t_devices", 42, "device_enabled=false"),
		row("t_devices", 9), row("t_participants", 9, "id_project=11"))
	for key, want := range map[string][]access.Principal{
		`[["t:32"]]`: nil, `[["t:34"]]`: nil, `[["t:99"]]`: nil, `[["d:42"]]`: nil, `[["d:99"]]`: nil, `[["t:"]]`: nil,
		`[["t:9"],["u:9"]]`: nil, `[["t:9"],["d:9"]]`: nil, `[["t:9"],["x"]]`: nil, // one id, three principals
		`[["t:31"]]`:              {{Kind: access.Participant, ID: 31}},
		`[["d:41"]]`:              {{Kind: access.Device, ID: 41}},
		`[["d:9","t:9","u:9"]]`:   {{Kind: access.User, ID: 9}, {Kind: access.Participant, ID: 9}, {Kind: access.Device, ID: 9}},
		`[["t:9","d:9"],["d:9"]]`: {{Kind: access.Device, ID: 9}},
	} {
		got := f.principals([]string{key})[0]
		slices.SortFunc(got, access.Principal.Compare)
		if !slices.Equal(got, want) {
			t.Errorf("%s: audience %v, want %v", key, got, want)
		}
	}
	f.announce()
	var leaks int
	err := f.conn.QueryRow(t.Context(), `SELECT count(*) FROM terasocket.events WHERE type = 'opentera.protobuf.DatabaseEvent'
		AND concat(present, former) ~ '"[td]:'`).Scan(&leaks)
	if err != nil || leaks > 0 {
		t.Errorf("%d database events name participants or devices, %v", leaks, err)
	}
}
