package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// change is one statement of a random transaction.
type change struct {
	sql      string
	touched  object // the object whose own row or link it changes
	isRights bool   // it grants or revokes rights
	isRise   bool   // it undeletes or creates something that rights depend on
}

// links are the link tables that make an object visible or invisible: its type, and the column of the other end.
var links = map[string]struct{ objectType, other, otherTable string }{
	"t_devices_sites":         {"device", "id_site", "t_sites"},
	"t_services_sites":        {"service", "id_site", "t_sites"},
	"t_services_projects":     {"service", "id_project", "t_projects"},
	"t_sessions_users":        {"session", "id_user", "t_users"},
	"t_sessions_participants": {"session", "id_participant", "t_participants"},
	"t_sessions_types_sites":  {"session_type", "id_site", "t_sites"},
	"t_tests_types_sites":     {"test_type", "id_site", "t_sites"},
}

// visibleColumn is a column of each type that clients see and routing ignores.
var visibleColumn = map[string]string{
	"site": "site_name=site_name || '.'", "project": "project_name=project_name || '.'", "user": "user_lastname=user_lastname || '.'",
	"user_group": "user_group_name=user_group_name || '.'", "participant_group": "participant_group_name=participant_group_name || '.'",
	"participant": "participant_name=participant_name || '.'", "device": "device_name=device_name || '.'",
	"service": "service_name=service_name || '.'", "session_type": "session_type_name=session_type_name || '.'",
	"session_type_site":    "id_session_type=(SELECT min(id_session_type) FROM t_sessions_types t WHERE t.id_session_type <> t_sessions_types_sites.id_session_type)",
	"session_type_project": "id_session_type=(SELECT min(id_session_type) FROM t_sessions_types t WHERE t.id_session_type <> t_sessions_types_projects.id_session_type)",
	"session_type_service": "id_session_type=(SELECT min(id_session_type) FROM t_sessions_types t WHERE t.id_session_type <> t_sessions_types_services.id_session_type)",
	"session":              "session_name=session_name || '.'", "asset": "asset_name=asset_name || '.'", "test_type": "test_type_name=test_type_name || '.'",
	"test": "test_name=test_name || '.'", "test_invitation": "test_invitation_message=coalesce(test_invitation_message, '') || '.'",
	"server_settings": "server_settings_value=server_settings_value || '.'",
}

// change generates a statement.
func (r *installation) change(f *fixture) change {
	rises := []string{"site", "project", "user", "user_group", "service"}
	types := []string{"site", "project", "user", "user_group", "participant_group", "participant", "device", "service", "session_type", "session_type_site",
		"session_type_project", "session_type_service", "session", "asset", "test_type", "test", "test_invitation"}
	linkTables := []string{"t_devices_sites", "t_services_sites", "t_services_projects", "t_sessions_users", "t_sessions_participants",
		"t_sessions_types_sites", "t_tests_types_sites"}
	rights := []string{"t_users_users_groups", "t_services_access", "t_services_roles"}
	objectType := types[r.IntN(len(types))]
	name := objectTables[objectType]
	id := r.any(name)
	c := change{touched: object{objectType, int64(id)}}
	switch r.IntN(10) {
	case 0, 1:
		c.sql = update(name, id, visibleColumn[objectType])
	case 2:
		c.sql = bury(name, id)
	case 3:
		c.sql, c.isRise = raise(name, id), slices.Contains(rises, objectType)
	case 4:
		c.sql = remove(name, id)
	case 5: // its own row moves
		columns := r.columns(name)
		if len(columns) == 0 || objectType == "user" {
			columns = []string{visibleColumn[objectType]}
		}
		c.sql = update(name, id, columns...)
	case 6:
		c.sql, c.isRise = r.add(name, 0, r.columns(name)...), slices.Contains(rises, objectType)
		c.touched.id = int64(r.next)
	case 7, 8: // a link
		name = linkTables[r.IntN(len(linkTables))]
		link := links[name]
		id = r.any(name)
		c.touched = object{link.objectType, one[int64](f, fmt.Sprintf("SELECT coalesce((SELECT id_%s FROM %s WHERE %s = %d), 0)::bigint",
			link.objectType, name, tables[name].id, id))}
		switch r.IntN(5) {
		case 0:
			c.sql = bury(name, id)
		case 1:
			c.sql = raise(name, id)
		case 2:
			c.sql = remove(name, id)
		case 3:
			c.sql = update(name, id, r.ref(link.other, link.otherTable, 0))
		case 4:
			owner := r.any(objectTables[link.objectType])
			c.touched.id = int64(owner)
			c.sql = r.add(name, 0, fmt.Sprintf("id_%s=%d", link.objectType, owner), r.ref(link.other, link.otherTable, 0))
		}
	case 9:
		name = rights[r.IntN(len(rights))]
		c.touched, c.isRights = object{}, true
		switch r.IntN(4) {
		case 0:
			c.sql = bury(name, r.any(name))
		case 1:
			c.sql = raise(name, r.any(name))
		case 2:
			c.sql = remove(name, r.any(name))
		case 3:
			c.sql = r.add(name, 0, r.columns(name)...)
		}
	}
	return c
}

// Random transactions on random installations: whoever receives an event about an object sees it, or saw it and is told that it is gone;
// whoever sees it, or has lost it by a change of its own row or links, receives one.
func TestTransactionsReachTheirAudience(t *testing.T) {
	t.Parallel()
	for seed := range seeds(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := setup(t, with("views", bare(), withViews))
			r := newInstallation(1000 + seed)
			f.do(r.statements()...)
			f.skip()
			before := f.living()
			done := 0
			for done < 40 {
				var changes []change
				var sql []string
				for range []int{1, 1, 2, 3}[r.IntN(4)] {
					c := r.change(f)
					changes, sql = append(changes, c), append(sql, c.sql)
				}
				if f.try(sql...) != nil {
					continue // violates a foreign key
				}
				done++
				f.atMost = []int{1, 2, 2000, 2000}[r.IntN(4)] // one transaction may be announced in several steps
				after := f.living()
				if !f.concerned(changes, before, after) {
					t.Fatalf("seed %d, transaction:\n%s", seed, strings.Join(sql, ";\n"))
				}
				before = after
			}
		})
	}
}

func (f *fixture) concerned(changes []change, before, after audience) bool {
	f.Helper()
	ok := true
	fail := func(format string, args ...any) {
		f.Helper()
		ok = false
		f.Errorf(format, args...)
	}
	isRights := slices.ContainsFunc(changes, func(c change) bool { return c.isRights || c.isRise && len(changes) > 1 })
	connected := one[[]int32](f, "SELECT coalesce(array_agg(id_user), '{}') FROM t_users WHERE user_enabled AND deleted_at IS NULL")

	f.announce()
	recorded := map[object]bool{}
	for _, s := range one[[]string](f, fmt.Sprintf("SELECT coalesce(array_agg(DISTINCT object_type || ' ' || object_id), '{}') FROM terasocket.events WHERE type = 'opentera.protobuf.DatabaseEvent' AND seq > %d", f.mark)) {
		var o object
		fmt.Sscan(s, &o.objectType, &o.id)
		recorded[o] = true
	}
	ops := map[object]map[int32]string{} // each user's last event about an object
	for user, messages := range f.heard() {
		for i, m := range messages {
			o := object{m.objectType, m.id}
			isLast := !slices.ContainsFunc(messages[i+1:], func(l message) bool { return object{l.objectType, l.id} == o })
			if ops[o] == nil {
				ops[o] = map[int32]string{}
			}
			ops[o][user] = m.op
			saw, sees := slices.Contains(before[o], user), slices.Contains(after[o], user)
			_, isAlive := after[o]
			switch {
			case isAlive && m.op != "delete" && !sees:
				fail("user %d receives %v and does not see it", user, m)
			case isAlive && m.op == "delete" && sees && isLast: // (to its clients, a session type of another service is another object: D, then C)
				fail("user %d receives %v and still sees it", user, m)
			case (!isAlive || m.op == "delete") && !saw && !isRights:
				fail("user %d receives %v and never saw it", user, m)
			}
		}
	}
	for o := range recorded {
		for _, user := range after[o] {
			if op := ops[o][user]; op == "" || op == "delete" {
				fail("user %d sees %v and received %q", user, o, op)
			}
		}
	}
	// Only what a single statement has done to its own object: the rest of a larger transaction may remove it too.
	if o := changes[0].touched; len(changes) == 1 && !isRights {
		if !slices.Equal(before[o], after[o]) && !recorded[o] {
			fail("%v was seen by %v and is seen by %v, but nothing is recorded", o, before[o], after[o])
		}
		recorded[o] = true
		for o := range recorded {
			for _, user := range before[o] {
				if slices.Contains(connected, user) && !slices.Contains(after[o], user) && ops[o][user] != "gone" && ops[o][user] != "delete" {
					fail("user %d lost %v and received %q", user, o, ops[o][user])
				}
			}
		}
	}
	return ok
}
