package access_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/access"
	"terasocket/db/dbtest"
)

// link is a row of t_devices_participants.
func link(id, device, participant int, deleted string) string {
	return fmt.Sprintf("INSERT INTO t_devices_participants VALUES (%d, %d, %d, 1, %s)", id, device, participant, deleted)
}

// sessionWorld is the world with links between devices and participants, and sessions with members of every kind.
//
//	devices       41 of site 1, 42 of site 2, 43 of no site, 44 disabled, 45 deleted
//	participants  31, 32 of project 11, 33 of 21, 34 of 12, 36 disabled, 37 deleted, 38 of dead project 19
//	links         41-31, 43-31, 42-33, 44-31, 45-31, 41-36, 41-37; dead: 41-32
//	session 84    created by device 42; members: users 5 and 15 (disabled), participants 32 and 36, device 43; dead
//	              members: user 20, participant 33, device 42
//	session 85    as 84, but deleted
func sessionWorld() dbtest.Template {
	return with("session_world", worldTemplate(), func(ctx context.Context, conn *pgx.Conn) error {
		const dead = "deleted_at=now()"
		statements := []string{
			row("t_devices", 43), row("t_devices", 44, "device_enabled=false"), row("t_devices", 45, dead),
			row("t_devices_sites", 441, "id_device=44", "id_site=1"),
			row("t_participants", 36, "id_project=11", "participant_enabled=false"), row("t_participants", 37, "id_project=11", dead),
			row("t_participants", 38, "id_project=19"),
			link(1, 41, 31, "NULL"), link(2, 43, 31, "NULL"), link(3, 42, 33, "NULL"), link(4, 44, 31, "NULL"), link(5, 45, 31, "NULL"),
			link(6, 41, 36, "NULL"), link(7, 41, 37, "NULL"), link(8, 41, 32, "now()"),
		}
		for session, deleted := range map[int]string{84: "deleted_at=NULL", 85: dead} {
			statements = append(statements, row("t_sessions", session, "id_creator_device=42", deleted),
				row("t_sessions_users", session*10, fmt.Sprintf("id_session=%d", session), "id_user=5"),
				row("t_sessions_users", session*10+1, fmt.Sprintf("id_session=%d", session), "id_user=15"),
				row("t_sessions_users", session*10+2, fmt.Sprintf("id_session=%d", session), "id_user=20", dead),
				row("t_sessions_participants", session*10, fmt.Sprintf("id_session=%d", session), "id_participant=32"),
				row("t_sessions_participants", session*10+1, fmt.Sprintf("id_session=%d", session), "id_participant=36"),
				row("t_sessions_participants", session*10+2, fmt.Sprintf("id_session=%d", session), "id_participant=33", dead),
				row("t_sessions_devices", session*10, fmt.Sprintf("id_session=%d", session), "id_device=43"),
				row("t_sessions_devices", session*10+1, fmt.Sprintf("id_session=%d", session), "id_device=42", dead))
		}
		_, err := conn.PgConn().Exec(ctx, "BEGIN;"+strings.Join(statements, ";")+";COMMIT; ANALYZE").ReadAll()
		return err
	})
}

// people are the recipients of a message, by kind: users, participants, devices.
type people struct {
	users                 users
	participants, devices []int32
}

func (p people) String() string {
	return fmt.Sprintf("users %v, participants %v, devices %v", p.users, p.participants, p.devices)
}

// UUIDs of the rows that row() makes.
func userUUID(id any) string        { return fmt.Sprint("00000000-", id) }
func participantUUID(id any) string { return fmt.Sprint("9a000000-", id) }
func deviceUUID(id any) string      { return fmt.Sprint("de000000-", id) }
func sessionUUID(id any) string     { return fmt.Sprint("5e550000-", id) }

type fields = map[string]any

// keysOf returns the routing keys of a message published now, by the current roles, directly to owner or not ("").
func (f *fixture) keysOf(message string, body fields, owner string) string {
	f.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		f.Fatal(err)
	}
	return one[string](f, `SELECT terasocket.message_keys(m.type, m.body, terasocket.message_members(m.type, m.body),
			CASE WHEN $3 <> '' THEN terasocket.owner_tags($3) END)::text
		FROM (SELECT 'opentera.protobuf.' || $1::text, $2::text::jsonb) m (type, body)`, message, string(text), owner)
}

// announced does the same for a captured and announced message.
func (f *fixture) announced(message string, body fields) string {
	f.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		f.Fatal(err)
	}
	one[any](f, "SELECT terasocket.record_messages(ARRAY[terasocket.message_body('t', 'opentera.protobuf.' || $1::text, $2::text::jsonb)])", message, string(text))
	f.heard() // the index agrees with PostgreSQL
	return one[string](f, "SELECT present::text FROM terasocket.events ORDER BY seq DESC LIMIT 1")
}

// hearers returns who satisfies these routing keys.
func (f *fixture) hearers(keys string) (p people) {
	f.Helper()
	for _, a := range f.principals([]string{keys})[0] {
		switch a.Kind {
		case access.User:
			p.users = append(p.users, a.ID)
		case access.Participant:
			p.participants = append(p.participants, a.ID)
		case access.Device:
			p.devices = append(p.devices, a.ID)
		}
	}
	for _, ids := range []([]int32){p.users, p.participants, p.devices} {
		slices.Sort(ids)
		if len(slices.Compact(slices.Clone(ids))) != len(ids) {
			f.Errorf("somebody is twice in %v", p)
		}
	}
	return p
}

// mustBeHeard compares the recipients of a message, unexpected ones first.
func (f *fixture) mustBeHeard(message string, body fields, want people) {
	f.Helper()
	keys := f.keysOf(message, body, "")
	if said := f.announced(message, body); said != keys {
		f.Errorf("%s %v is announced to %s, want %s", message, body, said, keys)
	}
	got := f.hearers(keys)
	for kind, lists := range map[string][2][]int32{"user": {got.users, want.users}, "participant": {got.participants, want.participants}, "device": {got.devices, want.devices}} {
		for _, id := range lists[0] {
			if !slices.Contains(lists[1], id) {
				f.Errorf("%s %v: %s %d must not receive it", message, body, kind, id)
			}
		}
		for _, id := range lists[1] {
			if !slices.Contains(lists[0], id) {
				f.Errorf("%s %v: %s %d does not receive it", message, body, kind, id)
			}
		}
	}
	// a direct topic gives its owner what it would receive anyway, and nobody else anything
	for owner, isAmong := range map[string]bool{
		userUUID(5): slices.Contains(got.users, 5), userUUID(9): slices.Contains(got.users, 9),
		participantUUID(31): slices.Contains(got.participants, 31), participantUUID(33): slices.Contains(got.participants, 33),
		deviceUUID(41): slices.Contains(got.devices, 41), deviceUUID(42): slices.Contains(got.devices, 42),
	} {
		direct := f.hearers(f.keysOf(message, body, owner))
		if n := len(direct.users) + len(direct.participants) + len(direct.devices); n > 1 || n == 1 != isAmong {
			f.Errorf("%s %v directly to %s is received by %v", message, body, owner, direct)
		}
	}
}

// Every row of access-rules section 5, for every kind of socket.
func TestMessageAudiences(t *testing.T) {
	t.Parallel()
	f := setup(t, sessionWorld())
	members := people{users{5}, []int32{32}, []int32{43}} // of session 84; 15 and 36 are disabled
	for _, test := range []struct {
		message string
		body    fields
		want    people
	}{
		// users only: those who see the user (superadmins, itself, those with a role on a project on which it has one of OpenTera's)
		{"UserEvent", fields{"userUuid": userUUID(projectUser)}, people{ofProject11, nil, nil}},
		{"UserEvent", fields{"userUuid": strings.ToUpper(userUUID(neighbour))}, people{ofProject12, nil, nil}},
		{"UserEvent", fields{"userUuid": userUUID(siteAdmin)}, people{join(supers, users{siteAdmin}), nil, nil}},
		{"UserEvent", fields{"userUuid": userUUID(nobody)}, people{join(supers, users{nobody}), nil, nil}},
		{"UserEvent", fields{"userUuid": userUUID(superadmin)}, people{supers, nil, nil}},
		{"UserEvent", fields{"userUuid": userUUID(disabled)}, people{ofProject11, nil, nil}}, // not itself: it cannot be connected
		{"UserEvent", fields{"userUuid": userUUID(deadProject)}, people{join(supers, users{deadProject}), nil, nil}},
		{"UserEvent", fields{"userUuid": userUUID(deleted)}, people{}},
		{"UserEvent", fields{"userUuid": userUUID(999)}, people{}},
		{"UserEvent", fields{"userUuid": participantUUID(31)}, people{}},

		// those with a role on its project; itself; devices linked to it
		{"ParticipantEvent", fields{"participantUuid": participantUUID(31)}, people{ofProject11, []int32{31}, []int32{41, 43}}},
		{"ParticipantEvent", fields{"participantUuid": participantUUID(32)}, people{ofProject11, []int32{32}, nil}},
		{"ParticipantEvent", fields{"participantUuid": strings.ToUpper(participantUUID(33))}, people{ofProject21, []int32{33}, []int32{42}}},
		{"ParticipantEvent", fields{"participantUuid": participantUUID(36)}, people{ofProject11, nil, []int32{41}}},
		{"ParticipantEvent", fields{"participantUuid": participantUUID(37)}, people{}},
		{"ParticipantEvent", fields{"participantUuid": participantUUID(38)}, people{nil, []int32{38}, nil}},
		{"ParticipantEvent", fields{"participantUuid": deviceUUID(41)}, people{}},

		// those with a role on its site; itself; participants linked to it
		{"DeviceEvent", fields{"deviceUuid": deviceUUID(41)}, people{ofSite1, []int32{31}, []int32{41}}},
		{"DeviceEvent", fields{"deviceUuid": deviceUUID(42)}, people{ofSite2, []int32{33}, []int32{42}}},
		{"DeviceEvent", fields{"deviceUuid": deviceUUID(43)}, people{supers, []int32{31}, []int32{43}}},
		{"DeviceEvent", fields{"deviceUuid": deviceUUID(44)}, people{ofSite1, []int32{31}, nil}},
		{"DeviceEvent", fields{"deviceUuid": deviceUUID(45)}, people{}},

		// the lists in the message, whatever the session
		{"JoinSessionEvent", fields{"sessionUuid": "unknown", "sessionUsers": []string{userUUID(9), userUUID(15), userUUID(16), userUUID(99), participantUUID(32)},
			"sessionParticipants": []string{strings.ToUpper(participantUUID(31)), participantUUID(36), participantUUID(37), userUUID(5)},
			"sessionDevices":      []string{deviceUUID(43), deviceUUID(43), deviceUUID(44), deviceUUID(45)}}, people{users{9}, []int32{31}, []int32{43}}},
		{"JoinSessionEvent", fields{"sessionUuid": sessionUUID(84)}, people{}}, // nor the members, superadmins, the creator
		{"JoinSessionEvent", fields{"sessionUuid": sessionUUID(84), "sessionUsers": []string{}, "sessionDevices": []string{deviceUUID(42)}}, people{nil, nil, []int32{42}}},

		// members in the database; not leaving non-members, the creator or superadmins
		{"LeaveSessionEvent", fields{"sessionUuid": sessionUUID(84)}, members},
		{"LeaveSessionEvent", fields{"sessionUuid": strings.ToUpper(sessionUUID(84)), "leavingUsers": []string{userUUID(9)}, "leavingDevices": []string{deviceUUID(41)}}, members},
		{"LeaveSessionEvent", fields{"sessionUuid": sessionUUID(82)}, people{users{5}, nil, nil}},
		{"LeaveSessionEvent", fields{"sessionUuid": sessionUUID(85), "leavingUsers": []string{userUUID(5)}}, people{}}, // deleted
		{"LeaveSessionEvent", fields{"sessionUuid": sessionUUID(99), "leavingUsers": []string{userUUID(5)}}, people{}}, // unknown

		{"JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(84)}, members},
		{"JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(84), "userUuid": strings.ToUpper(userUUID(5))}, people{nil, []int32{32}, []int32{43}}},
		{"JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(84), "participantUuid": strings.ToUpper(participantUUID(32))}, people{users{5}, nil, []int32{43}}},
		{"JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(84), "deviceUuid": deviceUUID(43)}, people{users{5}, []int32{32}, nil}},
		{"JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(84), "userUuid": participantUUID(32), "participantUuid": "", "deviceUuid": deviceUUID(41)}, members},
		{"JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(85)}, people{}},
		{"JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(99)}, people{}},

		// members, and users to whom it is open (project 11 by its participants) or listed (its creator is a device of site 2)
		{"StopSessionEvent", fields{"sessionUuid": sessionUUID(84)}, people{join(ofProject11, ofSite2), []int32{32}, []int32{43}}},
		{"StopSessionEvent", fields{"sessionUuid": sessionUUID(81)}, people{join(ofProject11, supers, users{nobody, neighbour}), []int32{31}, nil}},
		// without participants: its creator; listed to those who see the creator
		{"StopSessionEvent", fields{"sessionUuid": sessionUUID(82)}, people{join(supers, users{nobody, projectUser}), nil, nil}},
		{"StopSessionEvent", fields{"sessionUuid": sessionUUID(83)}, people{join(ofProject11, ofProject21), []int32{32, 33}, nil}},
		{"StopSessionEvent", fields{"sessionUuid": sessionUUID(85)}, people{}},
		{"StopSessionEvent", fields{"sessionUuid": sessionUUID(99)}, people{}},

		// its owner
		{"ArchiveEvent", fields{"ownerUuid": strings.ToUpper(userUUID(9))}, people{users{9}, nil, nil}},
		{"ArchiveEvent", fields{"ownerUuid": participantUUID(33)}, people{nil, []int32{33}, nil}},
		{"ArchiveEvent", fields{"ownerUuid": deviceUUID(43)}, people{nil, nil, []int32{43}}},
		{"ArchiveEvent", fields{"ownerUuid": deviceUUID(44)}, people{}},
		{"ArchiveEvent", fields{"ownerUuid": userUUID(16)}, people{}},
		{"ArchiveEvent", fields{"ownerUuid": ""}, people{}},
		{"ArchiveEvent", fields{}, people{}},
		{"StopSessionEvent", fields{}, people{}}, {"LeaveSessionEvent", fields{}, people{}}, {"JoinSessionReplyEvent", fields{}, people{}},
		{"JoinSessionEvent", fields{}, people{}}, {"UserEvent", fields{}, people{}}, {"ParticipantEvent", fields{}, people{}}, {"DeviceEvent", fields{}, people{}},
	} {
		f.mustBeHeard(test.message, test.body, test.want)
	}
}

// On random installations, the recipients of a message are those who may see it by OpenTera's rules.
func TestMessageAudienceEqualsViewers(t *testing.T) {
	t.Parallel()
	for seed := range seeds(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := setup(t, with("views", bare(), withViews))
			r := newInstallation(seed)
			statements := r.statements()
			for i := range 12 {
				statements = append(statements, link(i, r.any("t_devices"), r.any("t_participants"), []string{"NULL", "NULL", "NULL", "now()"}[r.IntN(4)]))
			}
			f.do(statements...)
			f.announce() // aliases reflect what was announced
			f.do("CREATE TEMP TABLE sees AS SELECT * FROM vis.sees", "CREATE TEMP TABLE lists AS SELECT * FROM vis.lists_session")
			seen := 0
			compare := func(message string, body fields, users, participants, devices string) {
				t.Helper()
				list := func(sql string) []int32 {
					if sql == "" {
						return nil
					}
					ids := one[[]int32](f, "SELECT coalesce(array_agg(DISTINCT x.id ORDER BY x.id), '{}') FROM ("+sql+") x (id)")
					if len(ids) == 0 {
						return nil
					}
					return ids
				}
				want := people{list(users), list(participants), list(devices)}
				if got := f.hearers(f.keysOf(message, body, "")); got.String() != want.String() {
					t.Errorf("%s %v is received by %v, want %v", message, body, got, want)
				}
				seen += len(want.users) + len(want.participants) + len(want.devices)
			}
			sees := func(objectType string, id int) string {
				return fmt.Sprintf("SELECT viewer FROM sees WHERE object_type = '%s' AND id = %d", objectType, id)
			}
			for _, id := range r.ids["t_users"] {
				compare("UserEvent", fields{"userUuid": userUUID(id)}, sees("user", id), "", "")
			}
			for _, id := range r.ids["t_participants"] {
				self := fmt.Sprintf("SELECT id_participant FROM t_participants WHERE id_participant = %d AND deleted_at IS NULL", id)
				compare("ParticipantEvent", fields{"participantUuid": participantUUID(id)}, sees("participant", id), self,
					`SELECT d.id_device FROM t_devices d JOIN t_devices_participants l USING (id_device)
					 WHERE d.deleted_at IS NULL AND l.deleted_at IS NULL AND l.id_participant IN (`+self+`)`)
			}
			for _, id := range r.ids["t_devices"] {
				self := fmt.Sprintf("SELECT id_device FROM t_devices WHERE id_device = %d AND deleted_at IS NULL", id)
				compare("DeviceEvent", fields{"deviceUuid": deviceUUID(id)}, sees("device", id),
					`SELECT p.id_participant FROM t_participants p JOIN t_devices_participants l USING (id_participant)
					 WHERE p.deleted_at IS NULL AND l.deleted_at IS NULL AND l.id_device IN (`+self+`)`, self)
			}
			for _, id := range r.ids["t_sessions"] {
				member := func(kind, more string) string {
					return fmt.Sprintf(`SELECT m.id_%[1]s FROM t_sessions s JOIN t_sessions_%[1]ss l USING (id_session) JOIN t_%[1]ss m USING (id_%[1]s)
						WHERE id_session = %[2]d AND s.deleted_at IS NULL AND l.deleted_at IS NULL AND m.deleted_at IS NULL %[3]s`, kind, id, more)
				}
				all := []string{member("user", "AND m.user_enabled"), member("participant", ""), member("device", "")}
				compare("LeaveSessionEvent", fields{"sessionUuid": sessionUUID(id)}, all[0], all[1], all[2])
				u, p, d := r.any("t_users"), r.any("t_participants"), r.any("t_devices")
				compare("JoinSessionReplyEvent", fields{"sessionUuid": sessionUUID(id), "userUuid": userUUID(u), "participantUuid": participantUUID(p), "deviceUuid": deviceUUID(d)},
					fmt.Sprintf("%s AND m.id_user <> %d", all[0], u), fmt.Sprintf("%s AND m.id_participant <> %d", all[1], p), fmt.Sprintf("%s AND m.id_device <> %d", all[2], d))
				compare("StopSessionEvent", fields{"sessionUuid": sessionUUID(id)}, all[0]+" UNION "+sees("session", id)+
					fmt.Sprintf(" UNION SELECT v.viewer FROM lists v JOIN t_users u ON u.id_user = v.viewer AND u.user_enabled WHERE v.id_session = %d", id), all[1], all[2])
			}
			if seen < 100 {
				t.Errorf("%d recipients of all messages: the test compares too little", seen)
			}
		})
	}
}
