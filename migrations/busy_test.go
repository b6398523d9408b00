package migrations_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"terasocket/db/dbtest"
)

// tell sends a message to the user manager as a service does.
func (f *fixture) tell(kind, fields string) {
	f.Helper()
	f.exec(`SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', $1::jsonb)`,
		fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.%s", %s}`, kind, fields))
}

// busy returns who is busy with which session, by its first digit.
func (f *fixture) busy() string {
	f.Helper()
	return one[string](f, "SELECT coalesce(string_agg(kind || principal || '=' || left(busy, 1), ' ' ORDER BY kind, principal), '') FROM terasocket.presence WHERE busy IS NOT NULL")
}

func TestBusy(t *testing.T) {
	t.Parallel()
	f, g := registered(t, 1)
	const first, second = "1aaaaaaa-0000-4000-8000-000000000000", "2AAAAAAA-0000-4000-8000-000000000000"
	u9, u10, p1, d1 := f.uuid("user", 9), f.uuid("user", 10), f.uuid("participant", 1), f.uuid("device", 1)
	user9, user10, part1, dev1 := f.name("user", 9), f.name("user", 10), f.name("participant", 1), f.name("device", 1)
	const nobody = "ffffffff-0000-4000-8000-000000000000"

	// users, then participants, then devices, each in the order listed; the unknown one is ignored; one listed twice joins twice
	f.tell("JoinSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "sessionDevices": [%q], "sessionParticipants": [%q, %q], "sessionUsers": [%q, %q, %q]`,
		first, d1, nobody, strings.ToUpper(p1), u10, u9, u10))
	f.mustAnnounce("join", "USER_JOINED_SESSION "+user10, "USER_JOINED_SESSION "+user9, "USER_JOINED_SESSION "+user10,
		"PARTICIPANT_JOINED_SESSION "+part1, "DEVICE_JOINED_SESSION "+dev1)
	mustEqual(t, "busy", f.busy(), "device1=1 participant1=1 user9=1 user10=1")

	// an invitation to another session is announced, and replaces nothing
	f.tell("JoinSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "sessionUsers": [%q], "sessionParticipants": [%q]`, second, u9, f.uuid("participant", 2)))
	f.mustAnnounce("join while busy", "USER_JOINED_SESSION "+user9, "PARTICIPANT_JOINED_SESSION "+f.name("participant", 2))
	mustEqual(t, "busy", f.busy(), "device1=1 participant1=1 participant2=2 user9=1 user10=1")

	// leaving a session without being in it is announced, and changes nothing
	f.tell("LeaveSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "leavingUsers": [%q], "leavingDevices": [%q]`, second, u9, f.uuid("device", 2)))
	f.mustAnnounce("leave of another session", "USER_LEFT_SESSION "+user9, "DEVICE_LEFT_SESSION "+f.name("device", 2))
	mustEqual(t, "busy", f.busy(), "device1=1 participant1=1 participant2=2 user9=1 user10=1")
	f.tell("LeaveSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "leavingUsers": [%q]`, strings.ToUpper(first), u9))
	f.mustAnnounce("leave", "USER_LEFT_SESSION "+user9)
	mustEqual(t, "busy", f.busy(), "device1=1 participant1=1 participant2=2 user10=1")

	f.tell("JoinSessionReplyEvent", fmt.Sprintf(`"sessionUuid": %q, "userUuid": %q, "joinReply": "REPLY_ACCEPTED"`, first, u10))
	f.mustAnnounce("accepted")
	f.tell("JoinSessionReplyEvent", fmt.Sprintf(`"sessionUuid": %q, "userUuid": %q, "joinReply": "REPLY_BUSY"`, first, u10))
	f.mustAnnounce("refused", "USER_LEFT_SESSION "+user10)
	f.tell("JoinSessionReplyEvent", fmt.Sprintf(`"sessionUuid": %q, "participantUuid": %q`, second, p1)) // REPLY_UNKNOWN for another session
	f.mustAnnounce("unknown reply", "PARTICIPANT_LEFT_SESSION "+part1)
	mustEqual(t, "busy", f.busy(), "device1=1 participant1=1 participant2=2")

	// going offline does not end busy
	f.disconnect(f.connect(g[0], "participant", 1), "0")
	f.mustAnnounce("on and off", "PARTICIPANT_CONNECTED "+part1, "PARTICIPANT_DISCONNECTED "+part1)
	mustEqual(t, "busy", f.busy(), "device1=1 participant1=1 participant2=2")
	mustEqual(t, "online", one[int](f, "SELECT count(*) FROM terasocket.presence WHERE online_since IS NOT NULL"), 0)

	f.tell("StopSessionEvent", fmt.Sprintf(`"sessionUuid": %q`, first))
	f.mustAnnounce("stop", "PARTICIPANT_LEFT_SESSION "+part1, "DEVICE_LEFT_SESSION "+dev1)
	f.tell("StopSessionEvent", fmt.Sprintf(`"sessionUuid": %q`, first))
	f.mustAnnounce("stop again")
	mustEqual(t, "busy", f.busy(), "participant2=2")

	// a rollback undoes it
	f.exec("BEGIN")
	f.tell("StopSessionEvent", fmt.Sprintf(`"sessionUuid": %q`, second))
	f.exec("ROLLBACK")
	f.mustAnnounce("rolled back")
	mustEqual(t, "busy", f.busy(), "participant2=2")

	_, err := f.conn.Exec(t.Context(), `SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', $1::jsonb)`,
		fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.UserEvent", "userUuid": %q, "type": "USER_CONNECTED"}`, u9))
	if err == nil || !strings.Contains(err.Error(), "22023") {
		t.Errorf("a service that announces people: %v", err)
	}
}

// Several services move the same people concurrently: nothing fails, and nobody is left in a stopped session.
func TestBusyAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	uuids := one[[]string](f, "SELECT array_agg(participant_uuid::text) FROM t_participants WHERE id_participant <= 12")
	var wg sync.WaitGroup
	for s := range 4 {
		service := f.beside()
		random := rand.New(rand.NewPCG(uint64(s), 2))
		wg.Go(func() {
			for i := range 30 {
				list, _ := json.Marshal(func() (some []string) {
					for range 6 {
						some = append(some, uuids[random.IntN(len(uuids))])
					}
					return some
				}())
				session := fmt.Sprintf("%d%07d-0000-4000-8000-000000000000", s, i)
				for kind, fields := range map[string]string{"JoinSessionEvent": `"sessionParticipants"`, "LeaveSessionEvent": `"leavingParticipants"`} {
					service.quietly(kind, fmt.Sprintf(`"sessionUuid": %q, %s: %s`, session, fields, list))
				}
				service.quietly("StopSessionEvent", fmt.Sprintf(`"sessionUuid": %q`, session))
			}
		})
	}
	wg.Wait()
	mustEqual(t, "busy", f.busy(), "")
}

// quietly is tell for use in goroutines.
func (f *fixture) quietly(kind, fields string) {
	_, err := f.conn.Exec(f.Context(), `SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', $1::jsonb)`,
		fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.%s", %s}`, kind, fields))
	if err != nil {
		f.Errorf("%s: %v", kind, err)
	}
}

// Nobody stays busy with a session that is over, even if the service died without a word.
func TestBusyEndsWithTheSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"completed":    "UPDATE t_sessions SET session_status = 2 WHERE id_session = 9000",
		"cancelled":    "UPDATE t_sessions SET session_status = 3 WHERE id_session = 9000",
		"terminated":   "UPDATE t_sessions SET session_status = 4 WHERE id_session = 9000",
		"soft-deleted": "UPDATE t_sessions SET deleted_at = now() WHERE id_session = 9000",
		"deleted":      "DELETE FROM t_sessions WHERE id_session = 9000",
	} {
		for _, before := range []bool{true, false} { // the session exists before anybody joins it, or is inserted later
			t.Run(fmt.Sprintf("%s %t", name, before), func(t *testing.T) {
				t.Parallel()
				f, _ := registered(t, 1)
				const uuid, unknown = "1aaaaaaa-0000-4000-8000-000000000000", "2bbbbbbb-0000-4000-8000-000000000000"
				insert := "INSERT INTO t_sessions (id_session, session_uuid, id_session_type, session_name, session_start_datetime, session_duration, session_status, version_id) " +
					"VALUES (9000, '" + uuid + "', 1, 'New', now(), 0, 1, 1)"
				if before {
					f.exec(insert)
				}
				f.tell("JoinSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "sessionUsers": [%q], "sessionDevices": [%q]`, uuid, f.uuid("user", 9), f.uuid("device", 1)))
				f.tell("JoinSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "sessionParticipants": [%q]`, unknown, f.uuid("participant", 1)))
				f.sweep()
				if !before {
					f.exec(insert)
				}
				f.sweep()
				f.announced()
				mustEqual(t, "while it goes on", f.busy(), "device1=1 participant1=2 user9=1")
				f.exec(end)
				mustEqual(t, "swept", f.sweep(), 2)
				mustEqual(t, "afterwards", f.busy(), "participant1=2")
				left := f.announced()
				slices.Sort(left)
				mustEqual(t, "announced", left, []string{"DEVICE_LEFT_SESSION " + f.name("device", 1), "USER_LEFT_SESSION " + f.name("user", 9)})
				mustEqual(t, "swept again", f.sweep(), 0)
			})
		}
	}
}

// While a service's transaction reports who joins, the sweep does not wait for it.
func TestBusySweepWaitsForNoService(t *testing.T) {
	t.Parallel()
	f, _ := registered(t, 1)
	const uuid = "1aaaaaaa-0000-4000-8000-000000000000"
	f.exec("INSERT INTO t_sessions (id_session, session_uuid, id_session_type, session_name, session_start_datetime, session_duration, session_status, version_id) " +
		"VALUES (9000, '" + uuid + "', 1, 'New', now(), 0, 2, 1)")
	f.tell("JoinSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "sessionUsers": [%q]`, uuid, f.uuid("user", 9)))
	service := dbtest.Conn(t, f.url)
	execOn(t, service, "BEGIN; SELECT FROM terasocket.busy FOR UPDATE")
	f.exec("SET statement_timeout = '5s'")
	mustEqual(t, "beside a service", f.sweep(), 0)
	execOn(t, service, "ROLLBACK")
	mustEqual(t, "afterwards", f.sweep(), 1)
}

// An operator frees those who are left.
func TestFree(t *testing.T) {
	t.Parallel()
	f, _ := registered(t, 1)
	const uuid = "1AAAAAAA-0000-4000-8000-000000000000"
	f.tell("JoinSessionEvent", fmt.Sprintf(`"sessionUuid": %q, "sessionUsers": [%q, %q], "sessionParticipants": [%q], "sessionDevices": [%q]`, uuid,
		f.uuid("user", 9), f.uuid("user", 10), f.uuid("participant", 1), f.uuid("device", 1)))
	for _, step := range []struct {
		kind, uuid string
		n          int
		left       string
	}{
		{"user", uuid, 0, "device1=1 participant1=1 user9=1 user10=1"},
		{"user", strings.ToUpper(f.uuid("user", 9)), 1, "device1=1 participant1=1 user10=1"},
		{"participant", f.uuid("participant", 1), 1, "device1=1 user10=1"},
		{"device", f.uuid("device", 1), 1, "user10=1"},
		{"session", "ffffffff-0000-4000-8000-000000000000", 0, "user10=1"},
		{"session", uuid, 1, ""},
	} {
		f.announced()
		mustEqual(t, step.kind, one[int](f, "SELECT terasocket.free($1, $2)", step.kind, step.uuid), step.n)
		mustEqual(t, "busy", f.busy(), step.left)
		mustEqual(t, "announced", len(f.announced()), step.n)
	}
}
