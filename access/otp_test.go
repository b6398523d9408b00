package access_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"terasocket/access"
	"terasocket/db/opentera"
)

// code returns the demo user's code so many steps from now, by the gateway's clock.
func (d *door) code(steps int) string {
	d.Helper()
	code, err := totp.GenerateCode(opentera.DemoOTPSecret, d.users.Now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		d.Fatal(err)
	}
	return code
}

// frozen stops the gateways' clocks in the middle of a step.
func frozen(gateways ...*door) (move func(time.Duration)) {
	at := new(atomic.Int64)
	at.Store(time.Now().Truncate(30 * time.Second).Add(15 * time.Second).UnixNano())
	for _, d := range gateways {
		d.users.Now = func() time.Time { return time.Unix(0, at.Load()) }
	}
	return func(by time.Duration) { at.Add(int64(by)) }
}

// wrongCode returns a code that is not valid now.
func (d *door) wrongCode() string {
	for _, code := range []string{"000000", "111111", "222222", "333333"} {
		if code != d.code(-1) && code != d.code(0) && code != d.code(1) {
			return code
		}
	}
	return "444444"
}

func TestOTP(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	d := gateways[0]
	move := frozen(gateways...)
	const otto = opentera.DemoOTPID
	check := func(code string) error { return d.users.CheckOTP(t.Context(), otto, code) }

	// one step of tolerance on each side, and each code once
	for _, steps := range []int{-2, 2} {
		if err := check(d.code(steps)); !errors.Is(err, access.ErrWrongCode) {
			t.Errorf("%d steps away: %v", steps, err)
		}
	}
	early := d.code(-1)
	if err := check(early); err != nil {
		t.Errorf("one step before: %v", err)
	}
	if err := gateways[1].users.CheckOTP(t.Context(), otto, early); !errors.Is(err, access.ErrWrongCode) {
		t.Errorf("used again on another gateway: %v", err)
	}
	if err := check(d.code(0)); err != nil {
		t.Errorf("now: %v", err)
	}
	if err := check(d.code(1)); err != nil {
		t.Errorf("one step ahead: %v", err)
	}
	for _, steps := range []int{-1, 0, 1} {
		if err := check(d.code(steps)); !errors.Is(err, access.ErrWrongCode) {
			t.Errorf("used, or older than one that was: %v", err)
		}
	}
	move(60 * time.Second)
	if err := check(d.code(0)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	if n := asked[int](d, "SELECT count(*) FROM terasocket.login_attempts"); n != 0 {
		t.Error("a correct code has not reset the count of wrong ones")
	}

	// four wrong ones; from the fifth on too many, also for a correct one; nobody else is affected
	move(60 * time.Second)
	for _, code := range []string{d.wrongCode(), "", "12345", "x\x00\xff" + strings.Repeat("9", 1000)} {
		if err := check(code); !errors.Is(err, access.ErrWrongCode) {
			t.Errorf("%.10q: %v", code, err)
		}
		if isBlocked, err := d.users.OTPBlocked(t.Context(), otto); isBlocked || err != nil {
			t.Errorf("blocked: %t, %v", isBlocked, err)
		}
	}
	mustWait(t, "the fifth", check(d.wrongCode()), 890*time.Second, 900*time.Second)
	mustWait(t, "a right one", gateways[1].users.CheckOTP(t.Context(), otto, d.code(0)), 880*time.Second, 900*time.Second)
	for id, want := range map[int32]bool{otto: true, opentera.DemoProjectUserID: false} {
		if isBlocked, err := gateways[1].users.OTPBlocked(t.Context(), id); isBlocked != want || err != nil {
			t.Errorf("user %d is blocked: %t, %v", id, isBlocked, err)
		}
	}
	d.do("UPDATE terasocket.login_attempts SET expires_at = clock_timestamp() - interval '1 ms'")
	if isBlocked, err := d.users.OTPBlocked(t.Context(), otto); isBlocked || err != nil {
		t.Errorf("blocked after the time: %t, %v", isBlocked, err)
	}
	if err := check(d.code(0)); err != nil {
		t.Errorf("after the time: %v", err)
	}

	// users without a second factor, disabled or deleted ones
	move(60 * time.Second)
	for _, sql := range []string{"user_2fa_enabled = false", "user_2fa_otp_enabled = false", "user_2fa_otp_secret = NULL", "user_2fa_otp_secret = ''", "user_enabled = false", "deleted_at = now()"} {
		d.do("UPDATE t_users SET " + sql + " WHERE id_user = 15")
		if err := check(d.code(0)); !errors.Is(err, access.ErrWrongCode) {
			t.Errorf("%s: %v", sql, err)
		}
		d.do("UPDATE t_users SET user_2fa_enabled = true, user_2fa_otp_enabled = true, user_2fa_otp_secret = $1, user_enabled = true, deleted_at = NULL WHERE id_user = 15", opentera.DemoOTPSecret)
		d.do("DELETE FROM terasocket.login_attempts")
	}
	d.do("UPDATE t_users SET user_2fa_otp_secret = 'not base 32!' WHERE id_user = 15")
	if err := check("123456"); !errors.Is(err, access.ErrWrongCode) {
		t.Errorf("an invalid secret: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.users.OTPBlocked(ended, otto)
	for _, err := range []error{err, d.users.CheckOTP(ended, otto, d.code(0)), d.users.SetOTP(ended, otto, opentera.DemoOTPSecret, false)} {
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), opentera.DemoOTPSecret) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

// Of fifty concurrent wrong codes on two gateways five are compared; of fifty times the correct one, one is accepted.
func TestCodesAtOnce(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	d := gateways[0]
	frozen(gateways...)
	var wrong, tooMany, right atomic.Int32
	storm := func(code string) {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				err := gateways[i%2].users.CheckOTP(t.Context(), opentera.DemoOTPID, code)
				var limit *access.TooMany
				switch {
				case err == nil:
					right.Add(1)
				case errors.Is(err, access.ErrWrongCode):
					wrong.Add(1)
				case errors.As(err, &limit):
					tooMany.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	storm(d.wrongCode())
	if right.Load() != 0 || wrong.Load() != 4 || tooMany.Load() != 46 { // the fifth is told that it was the last
		t.Errorf("wrong codes: %d right, %d wrong, %d too many", right.Load(), wrong.Load(), tooMany.Load())
	}
	d.do("DELETE FROM terasocket.login_attempts")
	storm(d.code(0))
	if right.Load() != 1 {
		t.Errorf("one code opens %d times", right.Load())
	}
}

func TestSetOTP(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	frozen(d)
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	fresh := func() string {
		code, err := totp.GenerateCode(secret, d.users.Now())
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	for _, c := range []struct {
		secret, code string
		want         bool
	}{
		{secret, fresh(), true}, {secret, d.wrongCode(), d.wrongCode() == fresh()}, {secret, "", false}, {secret, " " + fresh(), false}, {"", fresh(), false},
		{"", "", false}, {"A", "000000", false}, {secret[:8], fresh(), false}, {secret + "\n", fresh(), false}, {strings.ToLower(secret), fresh(), false}, {"1" + secret[1:], fresh(), false},
	} {
		if got := d.users.CheckNewOTP(c.secret, c.code); got != c.want {
			t.Errorf("%q %q: %t", c.secret, c.code, got)
		}
	}
	const version = "SELECT version_id FROM t_users WHERE id_user = 15"
	before := asked[int64](d, version)
	if err := d.users.SetOTP(t.Context(), opentera.DemoOTPID, secret, true); !errors.Is(err, access.ErrHasOTP) {
		t.Errorf("a secret is replaced: %v", err)
	}
	if err := d.users.SetOTP(t.Context(), opentera.DemoProjectUserID, secret, true); !errors.Is(err, access.ErrHasOTP) {
		t.Errorf("2FA is not enabled: %v", err)
	}
	d.do("UPDATE t_users SET user_2fa_otp_enabled = false, user_2fa_otp_secret = NULL WHERE id_user = 15")
	for _, bad := range []string{"", "A", "\x00", "\xff", strings.Repeat("A", 129)} {
		if err := d.users.SetOTP(t.Context(), opentera.DemoOTPID, bad, true); !errors.Is(err, access.ErrBadSecret) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	if err := d.users.SetOTP(t.Context(), opentera.DemoOTPID, secret, true); err != nil {
		t.Error(err)
	}
	if asked[int64](d, version) != before || !asked[bool](d, "SELECT user_2fa_otp_enabled AND user_2fa_email_enabled AND user_2fa_otp_secret = $1 FROM t_users WHERE id_user = 15", secret) {
		t.Error("not set as asked, or version_id changed")
	}
	if n := asked[int](d, "SELECT count(*) FROM t_users WHERE user_2fa_otp_secret = $1", secret); n != 1 {
		t.Errorf("%d users have the secret", n)
	}
	// the code it was set up with is accepted at the next step
	if err := d.users.CheckOTP(t.Context(), opentera.DemoOTPID, fresh()); err != nil {
		t.Error(err)
	}
	announce(t, d.pool)
	if n := asked[int](d, "SELECT count(*) FROM terasocket.events e WHERE e::text LIKE '%' || $1 || '%'", secret); n != 0 {
		t.Errorf("%d events hold the secret", n)
	}
}
