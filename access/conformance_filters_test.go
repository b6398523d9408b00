package access_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"terasocket/access"
)

// verdicts are the verdicts of OpenTera's event filter on each event of the universe, for one principal.
type verdicts struct {
	True  []string
	Error map[string][]string // by exception
}

// universe lists the objects that the events are about: UUID, id, whether soft-deleted.
type universe struct {
	Users, Participants, Devices, Sessions [][3]any
}

// messageFilters makes the event that each filter was given, about an object of the universe and for a principal.
var messageFilters = map[string]struct {
	objects func(universe) [][3]any
	event   func(object string, to access.Principal, own string) (message string, body fields)
}{
	"user":        {func(u universe) [][3]any { return u.Users }, about("UserEvent", "userUuid")},
	"participant": {func(u universe) [][3]any { return u.Participants }, about("ParticipantEvent", "participantUuid")},
	"device":      {func(u universe) [][3]any { return u.Devices }, about("DeviceEvent", "deviceUuid")},
	"leave_session": {func(u universe) [][3]any { return u.Sessions }, func(object string, to access.Principal, own string) (string, fields) {
		return "LeaveSessionEvent", fields{"sessionUuid": object, "leaving" + plural(to.Kind): []string{own}}
	}},
	"stop_session": {func(u universe) [][3]any { return u.Sessions }, about("StopSessionEvent", "sessionUuid")},
	"reply_from_self": {func(u universe) [][3]any { return u.Sessions }, func(object string, to access.Principal, own string) (string, fields) {
		return "JoinSessionReplyEvent", fields{"sessionUuid": object, to.Kind.String() + "Uuid": own}
	}},
	"reply_from_other": {func(u universe) [][3]any { return u.Sessions }, func(object string, to access.Principal, _ string) (string, fields) {
		return "JoinSessionReplyEvent", fields{"sessionUuid": object, to.Kind.String() + "Uuid": "11111111-1111-1111-1111-111111111111"}
	}},
}

func about(message, key string) func(string, access.Principal, string) (string, fields) {
	return func(object string, _ access.Principal, _ string) (string, fields) {
		return message, fields{key: object}
	}
}

func plural(k access.Kind) string {
	return map[access.Kind]string{access.User: "Users", access.Participant: "Participants", access.Device: "Devices"}[k]
}

// On its default data, OpenTera's filters pass to each socket what we pass. Differences, by name:
//   - stop_session (design.md, section 6): OpenTera tells everybody; we tell members and the users to whom the session is open or listed.
//   - a disabled principal (same section) receives nothing: it cannot be connected.
func TestConformanceOfMessages(t *testing.T) {
	t.Parallel()
	folder := vectors(t)
	text, err := os.ReadFile(filepath.Join(folder, "default_decisions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		decisions
		Universe universe
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	f := setup(t, defaultData(folder))
	asked := map[string]people{} // who receives an event
	hears := func(p access.Principal, message string, body fields) bool {
		t.Helper()
		event := fmt.Sprint(message, body)
		heard, isKnown := asked[event]
		if !isKnown {
			heard = f.hearers(f.keysOf(message, body, ""))
			asked[event] = heard
		}
		return slices.Contains(map[access.Kind][]int32{access.User: heard.users, access.Participant: heard.participants, access.Device: heard.devices}[p.Kind], p.ID)
	}
	compared, stopsNotHeard := map[string]int{}, 0
	for kind, principals := range map[access.Kind]map[string]decision{access.User: d.Users, access.Participant: d.Participants, access.Device: d.Devices} {
		for own, principal := range principals {
			p := access.Principal{Kind: kind, ID: principal.ID}
			for name, filter := range messageFilters {
				var v verdicts
				if err := json.Unmarshal(principal.Filters[name], &v); err != nil || len(v.Error) > 0 {
					t.Fatalf("%v %s: %v, errors %v", p, name, err, v.Error)
				}
				for _, o := range filter.objects(d.Universe) {
					uuid := o[0].(string)
					theirs := principal.Enabled && slices.Contains(v.True, uuid)
					message, body := filter.event(uuid, p, own)
					ours := hears(p, message, body)
					compared[name]++
					if name == "stop_session" {
						theirs = principal.Enabled && d.concerns(kind, principal, own, uuid, o[1].(float64))
						if !theirs {
							stopsNotHeard++
						}
					}
					if ours != theirs {
						t.Errorf("%v receives %s %v: %t, want %t", p, message, body, ours, theirs)
					}
				}
			}
			for name, owner := range map[string]string{"archive_own": own, "archive_other": "11111111-1111-1111-1111-111111111111", "archive_empty_owner": ""} {
				want := string(principal.Filters[name]) == "true" && principal.Enabled
				if got := hears(p, "ArchiveEvent", fields{"ownerUuid": owner}); got != want {
					t.Errorf("%v receives %s: %t, want %t", p, name, got, want)
				}
			}
			// join: the lists in the message decide. OpenTera was given the members in the database.
			var v verdicts
			if err := json.Unmarshal(principal.Filters["join_session"], &v); err != nil {
				t.Fatal(err)
			}
			for _, o := range d.Universe.Sessions {
				uuid := o[0].(string)
				members := one[[]string](f, fmt.Sprintf(`SELECT coalesce(array_agg(%[1]s_uuid::text), '{}') FROM t_sessions s JOIN t_sessions_%[1]ss l USING (id_session)
					JOIN t_%[1]ss USING (id_%[1]s) WHERE session_uuid = $1 AND l.deleted_at IS NULL`, kind), uuid)
				if got, want := hears(p, "JoinSessionEvent", fields{"sessionUuid": uuid, "session" + plural(kind): members}), principal.Enabled && slices.Contains(v.True, uuid); got != want {
					t.Errorf("%v is told that %v join %s: %t, want %t", p, members, uuid, got, want)
				}
				compared["join_session"]++
			}
		}
	}
	for name := range messageFilters {
		if compared[name] < 30 {
			t.Errorf("%s: %d comparisons", name, compared[name])
		}
	}
	if stopsNotHeard == 0 {
		t.Error("the named difference of stop_session does not occur")
	}
}

// concerns reports whether a StopSessionEvent may reach a principal, derived from OpenTera's other decisions: it is a member (then it is
// told when others leave), or the session is open or listed to it.
func (d decisions) concerns(kind access.Kind, principal decision, _, session string, id float64) bool {
	var v verdicts
	if json.Unmarshal(principal.Filters["leave_session"], &v) == nil && slices.Contains(v.True, session) {
		return true
	}
	if kind != access.User {
		return false
	}
	for _, list := range []string{"query_session_ids", "sessions_ids"} {
		var ids []float64
		if json.Unmarshal(principal.Access[list], &ids) == nil && slices.Contains(ids, id) {
			return true
		}
	}
	return false
}
