package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"terasocket/access"
)

// everybodyOnline puts everybody online, including deleted ones.
const everybodyOnline = `INSERT INTO terasocket.online (kind, principal, online_since, connected_at)
	SELECT 'user', id_user, now(), now() FROM t_users
	UNION ALL SELECT 'participant', id_participant, now(), now() FROM t_participants
	UNION ALL SELECT 'device', id_device, now(), now() FROM t_devices`

// online returns Online on the fixture's database.
func (f *fixture) online() *access.Online {
	return &access.Online{Pool: f.pool}
}

// onlineIDs returns the ids of a viewer's three lists, in order.
func onlineIDs(t testing.TB, online *access.Online, viewer int32) map[string][]int32 {
	t.Helper()
	users, err := online.Users(t.Context(), viewer)
	participants, err2 := online.Participants(t.Context(), viewer)
	devices, err3 := online.Devices(t.Context(), viewer)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if users == nil || participants == nil || devices == nil {
		t.Errorf("user %d gets null for an empty list", viewer)
	}
	ids := map[string][]int32{}
	for _, u := range users {
		ids["user"] = append(ids["user"], u.ID)
	}
	for _, p := range participants {
		ids["participant"] = append(ids["participant"], p.ID)
	}
	for _, d := range devices {
		ids["device"] = append(ids["device"], d.ID)
	}
	for _, list := range ids {
		slices.Sort(list)
	}
	return ids
}

func TestOnlineVisibility(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	f.do(everybodyOnline)
	online := f.online()
	got := map[string]users{}
	for _, viewer := range slices.Sorted(maps.Keys(viewers)) {
		for kind, ids := range onlineIDs(t, online, viewer) {
			for _, id := range ids {
				what := fmt.Sprintf("%s %d", kind, id)
				got[what] = append(got[what], viewer)
			}
		}
	}
	alone := func(id int32) users { return join(supers, users{id}) }
	for what, want := range map[string]users{
		"participant 31": ofProject11, "participant 33": ofProject21, "participant 34": ofProject12,
		"device 41": ofSite1, "device 42": ofSite2,
		"user 5": ofProject11, "user 4": ofProject11, "user 15": ofProject11, "user 19": ofProject12, "user 21": ofProject21, "user 22": join(ofProject11, ofProject21),
		"user 24": ofProject11, "user 1": supers, "user 17": supers,
		"user 2": alone(2), "user 3": alone(3), "user 6": alone(6), "user 7": alone(7), "user 9": alone(9), "user 10": alone(10), "user 14": alone(14),
		"user 16": nil, "user 23": nil, // deleted
	} {
		for _, viewer := range never.but(9, 10, 14) {
			if slices.Contains(got[what], viewer) {
				t.Errorf("%s must not see %s", name(viewer), what)
			}
		}
		if !slices.Equal(got[what], want) {
			t.Errorf("%s is seen by %v, want %v", what, got[what], want)
		}
	}
	f.do(update("t_users", int(projectUser), "deleted_at = now()"))
	if ids := onlineIDs(t, online, superadmin)["user"]; slices.Contains(ids, projectUser) {
		t.Error("a deleted user is listed")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := online.Users(ended, 1); err == nil || !strings.Contains(err.Error(), "list online users") {
		t.Errorf("no database: %v", err)
	}
}

// allowed returns those callers that a database function allows to disconnect the target.
func (f *fixture) allowed(function string, callers []int32, kind string, target int32) []int32 {
	f.Helper()
	return one[[]int32](f, fmt.Sprintf(`SELECT coalesce(array_agg(c ORDER BY c), '{}') FROM unnest($1::integer[]) c
		WHERE terasocket.%s(c, $2, $3)`, function), callers, kind, target)
}

func TestWhoMayDisconnect(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	f.do(row("t_devices_projects", 411, "id_device=41", "id_project=11"), row("t_devices", 43), row("t_participants", 39, "id_project=19"),
		row("t_devices_projects", 422, "id_device=42", "id_project=21", "deleted_at=now()"),
		row("t_participants", 38, "id_project=11", "deleted_at=now()"))
	adminsOf11, adminsOf12 := join(adminsOfSite1, users{projectAdmin}), adminsOfSite1
	for _, test := range []struct {
		kind     string
		id       int32
		users    users
		services users
	}{
		{"participant", 31, adminsOf11, users{5}}, {"participant", 32, adminsOf11, users{5}}, {"participant", 34, adminsOf12, users{5}},
		{"participant", 33, adminsOfSite2, users{6}}, {"participant", 38, nil, nil}, {"participant", 39, nil, nil}, {"participant", 999, nil, nil},
		{"device", 41, adminsOfSite1, users{5}}, {"device", 42, adminsOfSite2, nil}, {"device", 43, supers, nil}, {"device", 999, nil, nil},
		// those with an OpenTera role directly on a project, and nobody else
		{"user", projectUser, join(adminsOf11, users{projectUser}), users{5}},
		{"user", projectAdmin, adminsOf11, users{5}},
		{"user", neighbour, join(adminsOf12, users{neighbour}), users{5}},
		{"user", otherProjectUser, join(adminsOfSite2, users{otherProjectUser}), users{6}},
		{"user", twoProjects, join(adminsOf11, adminsOfSite2, users{twoProjects}), users{5, 6}},
		{"user", disabled, adminsOf11, users{5}},
		{"user", superadminInAProject, adminsOf11, users{5, 6}},
		{"user", superadmin, supers, users{5, 6}}, {"user", disabledSuperadmin, supers, users{5, 6}},
		{"user", siteAdmin, join(supers, users{siteAdmin}), users{5}},
		{"user", otherSiteAdmin, join(supers, users{otherSiteAdmin}), users{6}},
		{"user", siteUser, join(supers, users{siteUser}), nil},
		{"user", serviceManager, join(supers, users{serviceManager}), nil},
		{"user", serviceSiteAdmin, join(supers, users{serviceSiteAdmin}), nil},
		{"user", deadGroup, join(supers, users{deadGroup}), nil}, {"user", deadRole, join(supers, users{deadRole}), nil},
		{"user", deadProject, join(supers, users{deadProject}), nil}, {"user", nobody, join(supers, users{nobody}), nil},
		{"user", deleted, nil, nil}, {"user", deletedSuperadmin, nil, nil}, {"user", 999, nil, nil},
	} {
		if got := f.allowed("user_may_disconnect", slices.Collect(maps.Keys(viewers)), test.kind, test.id); !slices.Equal(users(got), test.users) {
			t.Errorf("%s %d may be disconnected by users %v, want %v", test.kind, test.id, got, test.users)
		}
		if got := f.allowed("service_may_disconnect", []int32{1, 5, 6, 999}, test.kind, test.id); !slices.Equal(users(got).but(1, 999), test.services) {
			t.Errorf("%s %d may be disconnected by services %v, want %v", test.kind, test.id, got, test.services)
		}
	}
}

func TestDisconnector(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	d := &access.Disconnector{Pool: f.pool}
	kicks := func() []string {
		defer f.skip()
		f.announce()
		return one[[]string](f, `SELECT coalesce(array_agg(concat_ws(' ', object_type, object_id, type) ORDER BY seq), '{}') FROM terasocket.events WHERE seq > $1`, f.mark)
	}
	byID := func(kind access.Kind, id int64) access.Target { return access.Target{Kind: kind, ID: id} }
	byUUID := func(kind access.Kind, uuid string) access.Target { return access.Target{Kind: kind, UUID: uuid} }
	for _, test := range []struct {
		caller int32
		target access.Target
		err    error
		kicked string
	}{
		{projectAdmin, byID(access.Participant, 33), access.ErrForbidden, ""},
		{projectAdmin, byUUID(access.Participant, "9a000000-33"), access.ErrForbidden, ""},
		{projectAdmin, byID(access.Participant, 1<<40), access.ErrForbidden, ""},
		{projectAdmin, byID(access.Participant, -1), access.ErrForbidden, ""},
		{projectAdmin, byUUID(access.Participant, "no uuid"), access.ErrForbidden, ""},
		{projectAdmin, byUUID(access.Participant, "a\x00"), access.ErrForbidden, ""},
		{projectAdmin, byUUID(access.Participant, "\xff"), access.ErrForbidden, ""},
		{projectUser, byID(access.Participant, 31), access.ErrForbidden, ""},
		{projectUser, byID(access.User, 5), access.ErrSelf, ""},
		{projectUser, byUUID(access.User, "00000000-5"), access.ErrSelf, ""},
		{projectAdmin, byID(access.User, 5), nil, "user 5"},
		{projectAdmin, byUUID(access.User, "00000000-5"), nil, "user 5"},
		{projectAdmin, byID(access.Participant, 31), nil, "participant 31"},
		{projectAdmin, byUUID(access.Participant, "9A000000-31"), nil, "participant 31"},
		{projectAdmin, access.Target{Kind: access.Participant, ID: 31, UUID: "9a000000-33"}, nil, "participant 31"},
		{siteAdmin, byID(access.Device, 41), nil, "device 41"},
		{siteAdmin, byUUID(access.Device, "de000000-41"), nil, "device 41"},
		{-5, byID(access.Participant, 33), access.ErrForbidden, ""}, // services
		{-5, byID(access.User, int64(nobody)), access.ErrForbidden, ""},
		{-5, byID(access.User, 5), nil, "user 5"}, // with the same id as the service
		{-6, byUUID(access.Participant, "9a000000-33"), nil, "participant 33"},
	} {
		call, caller := d.ForUser, test.caller
		if caller < 0 {
			call, caller = d.ForService, -caller
		}
		var want []string
		if test.kicked != "" {
			want = []string{test.kicked + " terasocket.Kick"}
		}
		err := call(t.Context(), caller, test.target)
		if got := kicks(); !errors.Is(err, test.err) || err != nil && test.err == nil || !slices.Equal(got, want) {
			t.Errorf("%d and %+v: %v, kicked %q; want %v, %q", test.caller, test.target, err, got, test.err, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.ForUser(ended, superadmin, byID(access.User, 5)); err == nil || errors.Is(err, access.ErrForbidden) {
		t.Errorf("no database: %v", err)
	}
}

// OpenTera's own lists of visible objects, and of its "admin only" variants, equal ours.
func TestOnlineConformance(t *testing.T) {
	t.Parallel()
	folder := vectors(t)
	text, err := os.ReadFile(filepath.Join(folder, "default_decisions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d decisions
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	f := setup(t, defaultData(folder))
	f.do(everybodyOnline)
	online := f.online()
	for _, user := range d.Users {
		listed := func(list string) []int32 {
			t.Helper()
			ids := []int32{}
			if raw, ok := user.Access[list]; !ok || json.Unmarshal(raw, &ids) != nil {
				t.Fatalf("user %d: no %s", user.ID, list)
			}
			slices.Sort(ids)
			return ids
		}
		compare := func(what string, got, want []int32) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("user %d, %s: %v, OpenTera says %v", user.ID, what, got, want)
			}
		}
		if !user.Enabled {
			t.Errorf("user %d is disabled: the file has changed", user.ID)
		}
		seen := onlineIDs(t, online, user.ID)
		for _, kind := range access.Kinds {
			compare(kind.String()+"s online", seen[kind.String()], listed(kind.String()+"s_ids"))
		}
		projects, sites := listed("projects_ids_admin_only"), listed("sites_ids_admin_only")
		for scope, want := range map[string][]int32{"project": projects, "site": sites} {
			compare("admin of "+scope, one[[]int32](f, `SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM terasocket.administered($1) WHERE scope = $2`,
				user.ID, scope), want)
		}
		may := func(kind string) []int32 {
			return one[[]int32](f, fmt.Sprintf(`SELECT coalesce(array_agg(id_%[1]s ORDER BY id_%[1]s), '{}') FROM t_%[1]ss
				WHERE terasocket.user_may_disconnect($1, '%[1]s', id_%[1]s)`, kind), user.ID)
		}
		compare("users to disconnect", may("user"), listed("users_ids_admin_only"))
		compare("participants to disconnect", may("participant"), one[[]int32](f,
			"SELECT coalesce(array_agg(id_participant ORDER BY id_participant), '{}') FROM t_participants WHERE id_project = ANY ($1)", projects))
		if user.ID == 1 { // the superadmin: also those of no site
			compare("devices to disconnect", may("device"), listed("devices_ids"))
			continue
		}
		compare("devices to disconnect", may("device"), one[[]int32](f,
			"SELECT coalesce(array_agg(DISTINCT id_device ORDER BY id_device), '{}') FROM t_devices_sites WHERE id_site = ANY ($1)", sites))
	}
}
