package access_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"terasocket/access"
	"terasocket/db/opentera"
)

// No password, token, secret, code or key appears in our tables (except signing keys in theirs) or in an error, whatever happens at
// login.
func TestNothingSecretIsTold(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	const password, secret = "Right-Password-4711!", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	secrets := []string{password, secret, "wrong-password-4711", "unknown-username-4711", opentera.DemoPassword, opentera.DemoPasswordQuickHash}
	var errs []error
	seen := func(err error) { errs = append(errs, err) }
	ctx := t.Context()

	for _, username := range []string{"unknown-username-4711", opentera.DemoProjectUser, opentera.DemoDisabled} {
		for range 6 {
			_, err := d.users.ByPassword(ctx, username, "wrong-password-4711")
			seen(err)
			_, err = d.participants.ByPassword(ctx, username, "wrong-password-4711")
			seen(err)
		}
	}
	token, participantToken := d.tokenOf(access.User, 9), d.tokenOf(access.Participant, 1)
	session, err := d.users.StartSession(ctx, opentera.DemoOTPID, false)
	seen(err)
	connect := create(t, &access.Tokens{Pool: d.pool}, access.User, opentera.DemoProjectUserUUID)
	kept := create(t, &access.Tokens{Pool: d.pool}, access.User, opentera.DemoNoRoleUUID)
	static := asked[string](d, "SELECT participant_token FROM t_participants WHERE id_participant = 1")
	device := asked[string](d, "SELECT device_token FROM t_devices WHERE id_device = 1")
	secrets = append(secrets, token, participantToken, session, connect, kept, static, device)
	secrets = append(secrets, asked[[]string](d, "SELECT array_agg(server_settings_value) FROM t_server_settings WHERE server_settings_name LIKE '%Key'")...)

	d.do("UPDATE t_users SET user_2fa_otp_enabled = false WHERE id_user = 15")
	seen(d.users.SetOTP(ctx, opentera.DemoOTPID, secret, false))
	seen(d.users.SetOTP(ctx, opentera.DemoOTPID, secret+"1", false))
	code, err := totp.GenerateCode(secret, time.Now())
	seen(err)
	seen(d.users.CheckOTP(ctx, opentera.DemoOTPID, code))
	seen(d.users.CheckOTP(ctx, opentera.DemoOTPID, code))
	seen(d.users.ChangePassword(ctx, opentera.DemoForcedChangeID, password))
	seen(d.users.ChangePassword(ctx, opentera.DemoForcedChangeID, password))
	seen(d.users.ChangePassword(ctx, opentera.DemoForcedChangeID, "wrong-password-4711"))
	secrets = append(secrets, asked[string](d, "SELECT user_password FROM t_users WHERE id_user = 16"))
	seen(d.logout(access.User, dynamic[access.User], token))
	seen(d.disable(access.Participant, participantToken))
	seen(d.disable(access.Participant, participantToken))
	for _, text := range []string{token, participantToken, static, device, session, connect} {
		for _, kind := range access.Kinds {
			_, err := d.byToken(kind, text+"x")
			seen(err)
			_, err = d.byToken(kind, text)
			seen(err)
			_, err = (&access.Tokens{Pool: d.pool}).Redeem(ctx, kind, text+"x")
			seen(err)
		}
		_, err := (&access.Services{Pool: d.pool}).Service(ctx, text)
		seen(err)
		_, err = d.users.BySession(ctx, text+"x")
		seen(err)
	}
	seen(d.users.Keys.Rotate(ctx, "user", time.Hour))
	keys := asked[[]string](d, "SELECT array_agg(key) FROM terasocket.signing_keys")
	listed, err := d.users.Keys.List(ctx)
	seen(err)
	secrets = append(secrets, keys...)

	told := fmt.Sprint(listed)
	for _, err := range errs {
		for ; err != nil; err = errors.Unwrap(err) {
			told += fmt.Sprintf("%v %+v %#v\n", err, err, err)
		}
	}
	announce(t, d.pool)
	tables := asked[[]string](d, "SELECT array_agg(relname::text) FROM pg_class WHERE relnamespace = 'terasocket'::regnamespace AND relkind IN ('r', 'v')")
	if !slices.Contains(tables, "disabled_tokens") || !slices.Contains(tables, "events") || len(errs) < 60 {
		t.Fatalf("the test does not look at %v, or at %d errors", tables, len(errs))
	}
	for _, s := range secrets {
		if len(s) < 10 {
			t.Fatalf("a secret of %d characters", len(s))
		}
		if i := strings.Index(told, s); i >= 0 {
			t.Errorf("an error tells secret %d", slices.Index(secrets, s))
		}
		for _, table := range tables {
			if table == "signing_keys" {
				continue
			}
			if asked[bool](d, fmt.Sprintf("SELECT EXISTS (SELECT FROM terasocket.%s r WHERE position($1 IN r::text) > 0 OR position($2 IN r::text) > 0)", table), s, fmt.Sprintf("%x", s)) {
				t.Errorf("%s holds secret %d", table, slices.Index(secrets, s))
			}
		}
	}
}

// A username of any bytes is counted and refused like any other, and never causes an error.
func FuzzUsername(f *testing.F) {
	for _, seed := range []string{"", "ursula.user", "\x00", "\xff", "' OR true --", strings.Repeat("x", 1000), "é", "\u202eadmin"} {
		f.Add(seed)
	}
	d := newDoor(f)
	f.Fuzz(func(t *testing.T, username string) {
		for _, kind := range []access.Kind{access.User, access.Participant} {
			d.TB = t
			id, err := d.byPassword(kind, username, "wrong")
			var tooMany *access.TooMany
			if !errors.Is(err, access.ErrUnauthorized) && !errors.As(err, &tooMany) || id != (access.Identity{}) {
				t.Errorf("%q: %+v, %v", username, id, err)
			}
		}
	})
}
