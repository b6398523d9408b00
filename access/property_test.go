package access_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/proto/event"
)

// objectTables are the tables of the 18 object types.
var objectTables = map[string]string{
	"site": "t_sites", "project": "t_projects", "user": "t_users", "user_group": "t_users_groups", "participant_group": "t_participants_groups",
	"participant": "t_participants", "device": "t_devices", "service": "t_services", "session_type": "t_sessions_types",
	"session_type_site": "t_sessions_types_sites", "session_type_project": "t_sessions_types_projects",
	"session_type_service": "t_sessions_types_services", "session": "t_sessions", "asset": "t_assets", "test_type": "t_tests_types",
	"test": "t_tests", "test_invitation": "t_tests_invitations", "server_settings": "t_server_settings",
}

type object struct {
	objectType string
	id         int64
}

type audience = map[object][]int32

// living returns all living objects with their viewers by OpenTera's rules (views).
func (f *fixture) living() audience {
	f.Helper()
	var parts []string
	for _, objectType := range slices.Sorted(maps.Keys(objectTables)) {
		alive := "deleted_at IS NULL"
		if objectType == "server_settings" {
			alive = "true"
		}
		parts = append(parts, fmt.Sprintf("SELECT '%s' AS object_type, id_%s AS id FROM %s WHERE %s", objectType, objectType, objectTables[objectType], alive))
	}
	rows, err := f.conn.Query(f.Context(), `SELECT o.object_type, o.id, coalesce(array_agg(v.viewer ORDER BY v.viewer) FILTER (WHERE v.viewer IS NOT NULL), '{}')
		FROM (`+strings.Join(parts, " UNION ALL ")+`) o LEFT JOIN vis.sees v USING (object_type, id) GROUP BY 1, 2`)
	if err != nil {
		f.Fatal(err)
	}
	viewers := audience{}
	var o object
	var ids []int32
	_, err = pgx.ForEachRow(rows, []any{&o.objectType, &o.id, &ids}, func() error { viewers[o] = slices.Clone(ids); return nil })
	if err != nil {
		f.Fatal(err)
	}
	return viewers
}

// ours returns the same objects with their viewers by our routing keys.
func (f *fixture) ours() audience {
	f.Helper()
	f.announce() // aliases reflect what was announced
	viewers := audience{}
	for objectType, name := range objectTables {
		alive := "WHERE deleted_at IS NULL"
		if objectType == "server_settings" {
			alive = ""
		}
		rows, err := f.conn.Query(f.Context(), fmt.Sprintf(`SELECT id_%s, terasocket.keys('%s', to_jsonb(t))::text FROM %s t %s`,
			objectType, objectType, name, alive))
		if err != nil {
			f.Fatal(err)
		}
		var objects []object
		var keys []string
		var id int64
		var key string
		_, err = pgx.ForEachRow(rows, []any{&id, &key}, func() error {
			objects, keys = append(objects, object{objectType, id}), append(keys, key)
			return nil
		})
		if err != nil {
			f.Fatal(err)
		}
		for i, users := range f.audiences(keys) {
			viewers[objects[i]] = users
		}
	}
	return viewers
}

// Our audience of every object equals its viewers by OpenTera's rules, on random installations.
func TestAudienceEqualsViewers(t *testing.T) {
	t.Parallel()
	for seed := range seeds(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := setup(t, with("views", bare(), withViews))
			f.do(newInstallation(seed).statements()...)
			want, got := f.living(), f.ours()
			seen := map[string]int{}
			for o, users := range want {
				seen[o.objectType] += len(users)
				if !slices.Equal(got[o], users) {
					t.Errorf("%v is seen by %v, want %v", o, got[o], users)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d objects, want %d", len(got), len(want))
			}
			if seed == 0 && (len(seen) != len(event.ObjectTypes) || seen["asset"] == 0 || seen["test_invitation"] == 0) {
				t.Errorf("the test compares too little: %v", seen)
			}
		})
	}
}
