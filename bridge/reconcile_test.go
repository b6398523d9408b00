package bridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/proto/opentera"
)

// quiet waits until a reconciliation has found no difference.
func (s *stage) quiet(b *running) {
	s.Helper()
	differences := func() (n float64) {
		for _, of := range differenceOf {
			n += testutil.ToFloat64(b.metrics.differences.WithLabelValues(of))
		}
		return n
	}
	for range 3 {
		n, found := testutil.ToFloat64(b.metrics.reconciliations), differences()
		s.eventually("it reconciles", func() bool { return testutil.ToFloat64(b.metrics.reconciliations) > n+1 })
		if differences() == found {
			return
		}
	}
	s.Error("reconciliations keep finding differences")
}

// bridge.md 8, 8.1, 8.2: principals of ours that the user manager lacks are told again; so are those of ours that it keeps
// without a connection; those that we never told it about are left alone.
func TestReconcileOnline(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	said := s.overhear()
	b := s.leader(nil)
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.theirs(4, true)
	s.isOnline(3, 4)
	// 8.1: another service's message
	s.send(messagesTopic, standin.ModuleMessage("serviceX", messagesTopic, &opentera.UserEvent{UserUuid: s.user(3), Type: opentera.UserEvent_USER_DISCONNECTED}))
	s.eventually("it is told again", func() bool { return said.count("USER_CONNECTED") == 2 })
	s.isOnline(3, 4)
	// 8.2: told by an earlier bridge, gone since
	s.exec("INSERT INTO terasocket.bridge_told (kind, principal) VALUES ('user', 5)")
	s.send(messagesTopic, standin.ModuleMessage(ourSource+"dead", messagesTopic, &opentera.UserEvent{UserUuid: s.user(5), Type: opentera.UserEvent_USER_CONNECTED}))
	s.eventually("it is told to go", func() bool { return said.count("USER_DISCONNECTED") >= 1 })
	s.isOnline(3, 4)
	s.quiet(b)
	if got := said.count("USER_CONNECTED"); got != 3 { // including the one that is gone
		t.Errorf("%d connects were told", got)
	}
}

// bridge.md 8.3: for sessions the user manager is right: those in none there leave, those in one join silently. Nobody is a
// member of a session that has ended in OpenTera's table.
func TestReconcileBusy(t *testing.T) {
	t.Parallel()
	s := setup(t)
	one, two, ended := newUUID(), newUUID(), dbtest.One[string](t, s.conn, "SELECT session_uuid FROM t_sessions WHERE session_status = 2 LIMIT 1")
	s.opentera()
	// before the bridge, which has received none of it
	s.must(s.service.Join(t.Context(), standin.Session{UUID: one, Users: []string{s.user(3)}, Participants: []string{s.participant(1)}}))
	s.must(s.service.Join(t.Context(), standin.Session{UUID: ended, Users: []string{s.user(6)}}))
	s.exec("INSERT INTO terasocket.busy (kind, principal, session_uuid) VALUES ('user', 3, $1), ('user', 4, $1), ('device', 1, $1)", two)
	s.eventually("all are busy there", func() bool { return len(s.manager.Busy("user")) == 2 && len(s.manager.Busy("participant")) == 1 })
	b := s.leader(nil)
	s.hears("DEVICE_LEFT_SESSION 1", "USER_LEFT_SESSION 3", "USER_LEFT_SESSION 4")
	s.quiet(b)
	got := dbtest.One[string](t, s.conn, "SELECT string_agg(concat_ws(' ', kind, principal, session_uuid), ', ' ORDER BY kind DESC) FROM terasocket.busy")
	if want := fmt.Sprintf("user 3 %s, participant 1 %s", one, one); got != want {
		t.Errorf("busy: %s, want %s", got, want)
	}
	s.hearsNothing()
}

// bridge.md 8.4: device statuses are given to a restarted OpenTera, without a second frame; those that were missed here are
// announced here.
func TestReconcileStatus(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	b := s.leader(nil)
	s.connect("device", 1, 1)
	s.hears("DEVICE_CONNECTED 1")
	s.exec("SELECT terasocket.device_status(1, '{}', 1732325000.123456)")
	s.hears("DEVICE_STATUS_CHANGED 1")
	is := func(want string, at float64) {
		t.Helper()
		s.eventually("the user manager has the status "+want, func() bool {
			text, timestamp, ok := s.manager.Status(s.device(1))
			return ok && text == want && timestamp == at
		})
	}
	is("{}", 1732325000.123456)
	s.must(s.manager.Stop(t.Context()))
	s.opentera()
	is("{}", 1732325000.123456)
	s.quiet(b)
	s.hearsNothing()
	// a timestamp of more digits than a float64 has
	s.send(eventsTopic, standin.TeraEvent(eventsTopic, &opentera.DeviceEvent{DeviceUuid: s.device(1), Type: opentera.DeviceEvent_DEVICE_STATUS_CHANGED,
		DeviceStatus: `{"status": "{}", "timestamp": 1732345678.123456789}`}))
	s.hears("DEVICE_STATUS_CHANGED 1")
	is("{}", 1732345678.123456789)
	s.quiet(b)
	s.hearsNothing()
	// a newer one that was missed here
	s.exec("UPDATE terasocket.online SET status = 'old', status_at = 1 WHERE kind = 'device'")
	s.hears("DEVICE_STATUS_CHANGED 1")
	s.quiet(b)
	if got := dbtest.One[string](t, s.conn, "SELECT status FROM terasocket.online WHERE kind = 'device'"); got != "{}" {
		t.Errorf("status %s", got)
	}
}

// bridge.md 8: principals in messages since the question are not compared with its answer.
func TestReconcileLeavesWhatMoves(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(func(c *Config) { c.Lease = 5 * 1e9 })
	r := &reign{Bridge: b.Bridge, term: 2}
	session := newUUID()
	s.exec("INSERT INTO terasocket.busy (kind, principal, session_uuid) VALUES ('user', 3, $1), ('user', 4, $2)", session, newUUID())
	s.theirs(5, true)
	s.hears("USER_CONNECTED 5")
	answers := map[string]json.RawMessage{"status_devices": json.RawMessage("{}")}
	for _, kind := range []string{"users", "participants", "devices"} {
		answers["online_"+kind], answers["busy_"+kind] = json.RawMessage("[]"), json.RawMessage("{}")
	}
	answers["online_users"] = json.RawMessage(`["` + s.user(6) + `"]`)
	found := r.compare(t.Context(), answers, []string{session, s.user(4), s.user(5), s.user(6)})
	if found.err != nil || found.people != 0 || found.sessions != 0 {
		t.Errorf("%+v", found)
	}
	found = r.compare(t.Context(), answers, nil)
	if found.err != nil || found.people != 2 || found.sessions != 2 {
		t.Errorf("%+v", found)
	}
	s.hears("USER_DISCONNECTED 5", "USER_CONNECTED 6", "USER_LEFT_SESSION 3", "USER_LEFT_SESSION 4")
	for _, bad := range []string{"null", "7", `{"a": 7}`, `["x", 7]`, ""} {
		answers["online_users"] = json.RawMessage(bad)
		if found := r.compare(t.Context(), answers, nil); bad != "null" && found.err == nil {
			t.Errorf("%q was accepted as an answer", bad)
		}
	}
}

// A malformed device status is skipped and counted, and the rest is compared all the same.
func TestOddStatuses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.leader(func(c *Config) { c.Lease = 5 * 1e9 })
	r := &reign{Bridge: b.Bridge, term: 2}
	s.connect("device", 1, 1)
	s.connect("device", 2, 2)
	s.hears("DEVICE_CONNECTED 1", "DEVICE_CONNECTED 2")
	good := `"` + s.device(1) + `": {"status": {"status": "{}", "timestamp": 7.5}}, "` + s.device(3) + `": {"online": true, "status": null}`
	answers := map[string]json.RawMessage{}
	for _, kind := range []string{"users", "participants", "devices"} {
		answers["online_"+kind], answers["busy_"+kind] = json.RawMessage(`["\u0000"]`), json.RawMessage(`{"\u0000": "x"}`)
	}
	for i, bad := range []string{`7`, `{"status": "x"}`, `{"status": {"status": 7, "timestamp": 1}}`, `{"status": {"status": "x", "timestamp": "1"}}`,
		`{"status": {"status": "x", "timestamp": 1e400}}`, `{"status": {"status": "x"}}`, `{"status": {"timestamp": 1}}`,
		`{"status": {"status": "\u0000", "timestamp": 1}}`, `{"status": {"status": "x", "timestamp": null}}`} {
		s.exec("INSERT INTO terasocket.busy (kind, principal, session_uuid) VALUES ('user', 3, $1)", newUUID())
		answers["status_devices"] = json.RawMessage(`{"` + s.device(2) + `": ` + bad + `, ` + good + `}`)
		found := r.compare(t.Context(), answers, nil)
		if found.err != nil || found.sessions != 1 || b.refused(malformed) != i+1 {
			t.Errorf("%s: %+v, %d refused", bad, found, b.refused(malformed))
		}
		if i == 0 {
			s.hears("DEVICE_STATUS_CHANGED 1", "USER_LEFT_SESSION 3")
		} else {
			s.hears("USER_LEFT_SESSION 3")
		}
	}
	answers["status_devices"] = json.RawMessage(`{"\u0000": ` + good[strings.Index(good, "{"):] + `}`)
	if found := r.compare(t.Context(), answers, nil); found.err != nil || b.refused(malformed) != 10 {
		t.Errorf("a zero byte: %+v, %d refused", found, b.refused(malformed))
	}
	s.exec("INSERT INTO terasocket.busy (kind, principal, session_uuid) VALUES ('user', 3, $1)", newUUID())
	answers["status_devices"] = json.RawMessage(`[]`)
	if found := r.compare(t.Context(), answers, nil); found.err == nil || found.give != nil {
		t.Errorf("[]: %+v", found)
	}
	s.hears("USER_LEFT_SESSION 3")
}

// bridge.md 6.3: when the user manager listens and never answers, it is told who comes and goes, and the age of the last reconciliation
// grows although there was none.
func TestNeverCompared(t *testing.T) {
	t.Parallel()
	s := setup(t)
	said := s.overhear()
	mute := s.client.Subscribe(t.Context(), rpcTopic)
	t.Cleanup(func() { _ = mute.Close() })
	if _, err := mute.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := s.leader(func(c *Config) { c.Answer = 50 * time.Millisecond })
	s.eventually("a reconciliation has failed", func() bool { return testutil.ToFloat64(b.metrics.reconcileErrors) > 0 })
	s.connect("user", 3, 1)
	s.eventually("it is told", func() bool { return said.count("USER_CONNECTED") == 1 })
	if age := b.metrics.age(); age <= 0 || testutil.ToFloat64(b.metrics.reconciliations) != 0 {
		t.Errorf("%v s ago", age)
	}
}

// bridge.md 6, 8: invalid answers.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var a asking
	for _, payload := range []string{"", "7", "\xff", `{"id": 1, "status": "OK", "return_value": infinity}`} {
		a.begin("x")
		if _, _, done, isLast, err := a.take(payload); !isLast || err == nil || done == nil {
			t.Errorf("%q does not fail the question", payload)
		}
		if _, _, _, isLast, err := a.take(payload); isLast || err != nil {
			t.Errorf("%q: the question is no longer pending", payload)
		}
	}
	_, done, end := a.begin("x")
	first := a.lastID - uint64(len(methods)) + 1
	for _, payload := range []string{"{}", `{"id": 99, "status": "OK"}`, fmt.Sprintf(`{"id": %d, "status": "OK", "return_value": [NaN, -Infinity, "\" Infinity", Infinity]}`, first)} {
		if _, _, _, isLast, err := a.take(payload); isLast || err != nil {
			t.Errorf("%q: %t, %v", payload, isLast, err)
		}
	}
	if got := string(a.answers[methods[0]]); got != `[null, null, "\" Infinity", null]` {
		t.Errorf("answer %s", got)
	}
	_, _, _, isLast, err := a.take(fmt.Sprintf(`{"id": %d, "status": "Error", "return_value": null}`, first+1))
	if !isLast || err == nil {
		t.Error("an error answer does not fail the question")
	}
	if _, _, _, isLast, _ := a.take(fmt.Sprintf(`{"id": %d, "status": "OK"}`, first+2)); isLast {
		t.Error("the question is no longer pending")
	}
	end()
	select {
	case <-done:
		t.Error("done")
	default:
	}
}

// bridge.md 8.5, 11: OpenTera restarts under 200 sockets: all stay, receive events throughout, and are online there afterwards.
func TestOpenTeraStartsAgainUnder200Sockets(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.newManager(standin.Timing{}) // as slow as the real one
	s.opentera()
	s.leader(nil)
	same := s.crowd()
	s.eventually("all are online", same)
	s.said()
	n := s.number("SELECT count(*) FROM terasocket.connections")
	s.must(s.manager.Stop(t.Context()))
	s.publishStop()
	s.hears("StopSessionEvent")
	s.opentera()
	s.eventually("all are online again", same)
	s.hearsNothing()
	if got := s.number("SELECT count(*) FROM terasocket.connections"); got != n || s.manager.Raised() != 0 {
		t.Errorf("%d sockets of %d are left, it raised %d times", got, n, s.manager.Raised())
	}
}
