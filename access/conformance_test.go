package access_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

// decisions are OpenTera's own decisions on its default data (vectors/default_decisions.json).
type decisions struct {
	Users, Participants, Devices map[string]decision // by UUID
}

type decision struct {
	ID      int32
	Enabled bool
	Access  map[string]json.RawMessage // "sites_ids": [1, 2], ...
	Filters map[string]json.RawMessage // by event; "database": false, or {"true": [...]}
}

// decidedBy names the list that decides who sees an object of each type. OpenTera states no rule for the link rows of session types and
// for the settings.
var decidedBy = map[string]string{
	"site": "sites_ids", "project": "projects_ids", "user": "users_ids", "user_group": "user_groups_ids",
	"participant": "participants_ids", "participant_group": "participant_groups_ids", "device": "devices_ids", "service": "services_ids",
	"session_type": "session_types_ids", "test_type": "test_types_ids", "test_invitation": "test_invitations_ids",
	"session": "query_session_ids", "asset": "query_asset_ids", "test": "query_test_ids", // the open rule
}

// exception is an intended difference from OpenTera, by a line of design.md, section 6.
type exception struct {
	line      string
	object    object
	user      int32
	weDeliver bool
}

// exceptions is empty: no difference in the audience occurs in this data (no session has participants of several projects, nobody is
// disabled or deleted).
var exceptions = []exception{}

// vectors returns the folder of OpenTera's decisions; without it the test is skipped.
func vectors(t *testing.T) string {
	folder := os.Getenv("TERASOCKET_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared", "opentera", "vectors")
	}
	if _, err := os.Stat(filepath.Join(folder, "default_decisions.json")); err != nil {
		t.Skipf("OpenTera's decisions are not here (set TERASOCKET_VECTORS): %v", err)
	}
	return folder
}

// defaultData is the installation of the vectors, migrated.
func defaultData(folder string) dbtest.Template {
	return dbtest.Template{Name: "vectors", Fill: func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if err := opentera.LoadSchema(ctx, conn); err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(folder, "default_data.sql"))
		if err != nil {
			return err
		}
		lines := slices.DeleteFunc(strings.Split(string(data), "\n"), func(line string) bool {
			return strings.HasPrefix(line, `\`) || strings.HasPrefix(line, "SET transaction_timeout")
		})
		// pg_dump does not order data by foreign keys
		if _, err := conn.PgConn().Exec(ctx, "SET session_replication_role = replica;"+strings.Join(lines, "\n")).ReadAll(); err != nil {
			return fmt.Errorf("load default_data.sql: %w", err)
		}
		return migrations.Up(ctx, url)
	}}
}

// Our audience of every object equals OpenTera's decision, for every user, participant and device of its default data.
func TestConformance(t *testing.T) {
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
	if len(d.Users) < 6 || len(d.Participants) < 4 || len(d.Devices) < 3 {
		t.Fatalf("%d users, %d participants, %d devices: the file has changed", len(d.Users), len(d.Participants), len(d.Devices))
	}

	t.Run("audience", func(t *testing.T) {
		t.Parallel()
		f := setup(t, defaultData(folder))
		d.compare(f, f.ours())
	})
	// The same, judged from the log row that a change of the object leaves.
	t.Run("events", func(t *testing.T) {
		t.Parallel()
		f := setup(t, defaultData(folder))
		all := f.ours()
		maps.DeleteFunc(all, func(o object, _ []int32) bool {
			return decidedBy[o.objectType] == "" && o.objectType != "server_settings"
		})
		for o := range all {
			f.do(update(objectTables[o.objectType], int(o.id), visibleColumn[o.objectType]))
		}
		got := audience{}
		for user, messages := range f.heard() {
			for _, m := range messages {
				if m.op != "update" {
					t.Errorf("user %d receives %v", user, m)
				}
				o := object{m.objectType, m.id}
				got[o] = append(got[o], user)
			}
		}
		for o := range all {
			slices.Sort(got[o])
			if got[o] == nil {
				got[o] = []int32{}
			}
		}
		d.compare(f, got)
	})
	t.Run("filters", func(t *testing.T) {
		t.Parallel()
		f := setup(t, defaultData(folder))
		for kind, principals := range map[access.Kind]map[string]decision{access.User: d.Users, access.Participant: d.Participants, access.Device: d.Devices} {
			for uuid, principal := range principals {
				for name, verdict := range principal.Filters {
					check, ok := filters[name]
					switch {
					case !ok:
						t.Errorf("%s %s: unknown filter %s", kind, uuid, name)
					case check != nil:
						check(f, access.Principal{Kind: kind, ID: principal.ID}, verdict)
					}
				}
			}
		}
	})
}

// filters compares OpenTera's verdict on each event with ours. nil: there is no such event here yet; its check belongs here.
var filters = map[string]func(f *fixture, p access.Principal, verdict json.RawMessage){
	"database": compareDatabaseFilter,

	"user": nil, "participant": nil, "device": nil, // presence
	"join_session": nil, "leave_session": nil, "stop_session": nil, "reply_from_self": nil, "reply_from_other": nil,
	"archive_own": nil, "archive_other": nil, "archive_empty_owner": nil,
}

// compareDatabaseFilter: OpenTera delivers DatabaseEvents to nobody. We deliver them to users, by the rules of the objects (design.md,
// section 6, first line), and to nobody else.
func compareDatabaseFilter(f *fixture, p access.Principal, verdict json.RawMessage) {
	f.Helper()
	if string(verdict) != "false" {
		f.Errorf("%v: OpenTera's filter of DatabaseEvents says %s; it never lets one pass", p, verdict)
	}
	if p.Kind == access.User {
		return // the named exception; "audience" and "events" compare the recipients
	}
	for _, key := range []string{`[["x"]]`, fmt.Sprintf(`[["u:%d","p:%d","s:%d","a:%d"]]`, p.ID, p.ID, p.ID, p.ID)} {
		principals := f.principals([]string{key})
		if slices.ContainsFunc(principals[0], func(q access.Principal) bool { return q.Kind != access.User }) {
			f.Errorf("%v is in the audience of %s", principals[0], key)
		}
	}
}

// compare compares the audience of every object with OpenTera's lists.
func (d decisions) compare(f *fixture, got audience) {
	f.Helper()
	compared := map[string]int{}
	used := make([]bool, len(exceptions))
	for _, principal := range d.Users {
		for objectType, list := range decidedBy {
			var ids []int64
			text, ok := principal.Access[list]
			if !ok || json.Unmarshal(text, &ids) != nil {
				f.Fatalf("user %d: no %s", principal.ID, list)
			}
			for _, o := range slices.Collect(maps.Keys(got)) {
				if o.objectType != objectType {
					continue
				}
				theirs, ours := principal.Enabled && slices.Contains(ids, o.id), slices.Contains(got[o], principal.ID)
				compared[objectType]++
				if theirs == ours {
					continue
				}
				i := slices.IndexFunc(exceptions, func(e exception) bool { return e.object == o && e.user == principal.ID && e.weDeliver == ours })
				if i < 0 {
					f.Errorf("user %d sees %v: OpenTera says %t, we say %t", principal.ID, o, theirs, ours)
					continue
				}
				used[i] = true
			}
			for _, id := range ids {
				if _, isThere := got[object{objectType, id}]; !isThere {
					f.Errorf("%s %d of user %d is not among our objects", objectType, id, principal.ID)
				}
			}
		}
	}
	for i, e := range exceptions {
		if !used[i] {
			f.Errorf("%s: the exception for user %d and %v does not occur", e.line, e.user, e.object)
		}
	}
	for objectType := range decidedBy {
		if compared[objectType] == 0 && objectType != "test_invitation" { // not in the data
			f.Errorf("no %s was compared", objectType)
		}
	}
	for o, users := range got {
		switch o.objectType {
		case "server_settings":
			if !slices.Equal(users, []int32{1}) {
				f.Errorf("%v is seen by %v: superadmins only", o, users)
			}
		case "session_type_site", "session_type_project", "session_type_service":
			if !slices.Contains(users, 1) || slices.Contains(users, 6) { // superadmin; no access at all
				f.Errorf("%v is seen by %v", o, users)
			}
		}
	}
}
