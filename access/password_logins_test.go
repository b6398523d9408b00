package access_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/db/opentera"
	protocol "terasocket/proto/opentera"
)

// The checks of the sheet's tables 3.1 and 4.1.
func TestPasswordLogins(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.do(`UPDATE t_participants SET participant_username = $1, participant_login_enabled = true, participant_password = $2 WHERE id_participant = $3`,
		opentera.DemoDisabledParticipant, opentera.DemoPasswordQuickHash, opentera.DemoDisabledParticipantID)
	for kind, p := range passwordKinds {
		for _, c := range []struct {
			name, username, password string
			status                   protocol.LoginEvent_LoginStatus
			who                      string
		}{
			{"unknown", "nobody.there", opentera.DemoPassword, wrongUsername, ""},
			{"other case", strings.ToUpper(p.username), opentera.DemoPassword, wrongUsername, ""},
			{"empty", "", opentera.DemoPassword, wrongUsername, ""},
			{"zero byte", p.username + "\x00", opentera.DemoPassword, wrongUsername, ""},
			{"no UTF-8", "\xff", opentera.DemoPassword, wrongUsername, ""},
			{"long", strings.Repeat("x", 100_000), opentera.DemoPassword, wrongUsername, ""},
			{"SQL", "' OR true --", opentera.DemoPassword, wrongUsername, ""},
			{"wrong password", p.username, "terasocket-Demo", wrongPassword, p.uuid},
			{"empty password", p.username, "", wrongPassword, p.uuid},
			{"the hash for a password", p.username, opentera.DemoPasswordQuickHash, wrongPassword, p.uuid},
			{"disabled, wrong password", p.disabled, "x", wrongPassword, p.disabledUUID},
			{"disabled, right password", p.disabled, opentera.DemoPassword, disabledLogin, p.disabledUUID},
		} {
			id, err := d.byPassword(kind, c.username, c.password)
			mustRefuse(t, kind.String()+" "+c.name, err, c.status, c.who)
			if id != (access.Identity{}) {
				t.Errorf("%s %s: refused, and named %+v", kind, c.name, id)
			}
		}
		// each of these was counted, except those with the correct password
		if n := asked[int](d, "SELECT attempts FROM terasocket.login_attempts WHERE kind = $1 AND who = sha256($2)", kind.String(), []byte(p.username)); n != 3 {
			t.Errorf("%s: %d attempts counted, want 3", kind, n)
		}
		if n := asked[int](d, "SELECT attempts FROM terasocket.login_attempts WHERE kind = $1 AND who = sha256($2)", kind.String(), []byte(p.disabled)); n != 2 {
			t.Errorf("%s: %d attempts counted of a disabled one, want 2", kind, n)
		}
		if n := asked[int](d, "SELECT count(*) FROM terasocket.login_attempts WHERE kind = $1", kind.String()); n != 9 {
			t.Errorf("%s: %d usernames counted, want 9", kind, n)
		}
		id, err := d.byPassword(kind, p.username, opentera.DemoPassword)
		if err != nil || id.UUID != p.uuid || id.Kind != kind || id.Name == "" || id.ID == 0 {
			t.Errorf("%s: %+v, %v", kind, id, err)
		}
		if n := asked[int](d, "SELECT count(*) FROM terasocket.login_attempts WHERE kind = $1 AND who = sha256($2)", kind.String(), []byte(p.username)); n != 0 {
			t.Errorf("%s: the success has not reset the failures", kind)
		}
	}
	mustRefuse(t, "deleted", func() error {
		_, err := d.users.ByPassword(t.Context(), opentera.DemoDeleted, opentera.DemoPassword)
		return err
	}(), wrongUsername, "")

	for username, want := range map[string]access.Account{
		opentera.DemoSuperadmin:   {},
		opentera.DemoForcedChange: {MustChangePassword: true},
		opentera.DemoOTP:          {Needs2FA: true, HasOTP: true},
	} {
		got, err := d.users.ByPassword(t.Context(), username, opentera.DemoPassword)
		got.Identity, want.Username = access.Identity{}, username
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", username, got, err, want)
		}
	}
	d.do("UPDATE t_users SET user_2fa_otp_secret = '' WHERE id_user = $1", opentera.DemoOTPID)
	if got, err := d.users.ByPassword(t.Context(), opentera.DemoOTP, opentera.DemoPassword); err != nil || !got.Needs2FA || got.HasOTP {
		t.Errorf("2FA without a secret: %+v, %v", got, err)
	}

	login, err := d.participants.ByPassword(t.Context(), opentera.DemoParticipant, opentera.DemoPassword)
	if err != nil || !login.IsFull || login.IsDynamic || login.ProjectID != 1 || login.BaseToken == nil || *login.BaseToken == "" {
		t.Errorf("participant: %+v, %v", login, err)
	}
	for _, c := range []struct {
		name, sql string
		status    protocol.LoginEvent_LoginStatus
		who       string
	}{
		{"login not enabled", "participant_login_enabled = false", disabledLogin, opentera.DemoParticipantUUID},
		{"NULL password", "participant_password = NULL", wrongPassword, opentera.DemoParticipantUUID}, // OpenTera answers 500
		{"empty password", "participant_password = ''", wrongPassword, opentera.DemoParticipantUUID},
		{"deleted", "deleted_at = now()", wrongUsername, ""},
		{"NULL username", "participant_username = NULL", wrongUsername, ""},
	} {
		d.do("UPDATE t_participants SET "+c.sql+" WHERE id_participant = $1", opentera.DemoParticipantID)
		_, err := d.participants.ByPassword(t.Context(), opentera.DemoParticipant, opentera.DemoPassword)
		mustRefuse(t, c.name, err, c.status, c.who)
		_, err = d.participants.ByPassword(t.Context(), opentera.DemoParticipant, "")
		if c.who != "" {
			mustRefuse(t, c.name+", empty password given", err, wrongPassword, c.who)
		}
		d.do(`UPDATE t_participants SET participant_login_enabled = true, participant_password = $1, deleted_at = NULL, participant_username = $2
			WHERE id_participant = $3`, opentera.DemoPasswordQuickHash, opentera.DemoParticipant, opentera.DemoParticipantID)
		d.do("DELETE FROM terasocket.login_attempts")
	}
	// of two with one name the first counts; deleted ones do not
	d.do("UPDATE t_participants SET participant_username = $1 WHERE id_participant IN (5, 6, 7)", "twin")
	d.do("UPDATE t_participants SET participant_login_enabled = true, participant_password = $1, participant_enabled = true WHERE id_participant IN (6, 7)", opentera.DemoPasswordQuickHash)
	d.do("UPDATE t_participants SET deleted_at = now() WHERE id_participant = 5")
	if login, err := d.participants.ByPassword(t.Context(), "twin", opentera.DemoPassword); err != nil || login.ID != 6 {
		t.Errorf("twins: %+v, %v", login, err)
	}
}

// An unknown username, or an account without a password, takes as long as a comparison of 12 rounds.
func TestAnUnknownUsernameTakesAsLong(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	passwords := access.NewPasswords(someCost)
	d.users.Passwords, d.participants.Passwords = passwords, passwords
	d.do("UPDATE t_participants SET participant_password = NULL WHERE id_participant = 1")
	for _, c := range []struct {
		kind     access.Kind
		username string
	}{{access.User, "nobody.there"}, {access.User, "\x00"}, {access.Participant, "nobody.there"}, {access.Participant, opentera.DemoParticipant}} {
		start := time.Now()
		_, err := d.byPassword(c.kind, c.username, "x")
		// only the lower bound is certain, see TestPasswordsWithoutAHash
		if took := time.Since(start); !errors.Is(err, access.ErrUnauthorized) || took < someCostTakes {
			t.Errorf("%s %q: answered after %v: %v", c.kind, c.username, took, err)
		}
	}
}
