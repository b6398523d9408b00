package access_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"terasocket/access"
	"terasocket/db/opentera"
)

func TestSecondSteps(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	d, other := gateways[0], gateways[1]
	start := func(id int32) string {
		t.Helper()
		secret, err := d.users.StartSession(t.Context(), id, false)
		if err != nil || !regexp.MustCompile(`^[A-Za-z0-9_-]{43}n$`).MatchString(secret) {
			t.Fatalf("a secret of %d characters, %v", len(secret), err)
		}
		return secret
	}
	mine, theirs := start(opentera.DemoOTPID), start(opentera.DemoForcedChangeID)
	for secret, want := range map[string]int32{mine: opentera.DemoOTPID, theirs: opentera.DemoForcedChangeID} {
		account, err := other.users.BySession(t.Context(), secret)
		if err != nil || account.ID != want || account.Kind != access.User || account.UUID == "" || account.MustChangePassword == account.HasOTP {
			t.Errorf("%+v, %v", account, err)
		}
	}
	if n := asked[int](d, "SELECT count(*) FROM terasocket.login_sessions s WHERE s::text LIKE '%' || $1 || '%' OR hash = convert_to($1, 'UTF8')", mine); n != 0 {
		t.Error("stored in clear")
	}
	if n := asked[int](d, "SELECT count(*) FROM terasocket.login_sessions WHERE expires_at BETWEEN now() + interval '14 minutes' AND now() + interval '16 minutes'"); n != 2 {
		t.Errorf("%d are valid for 15 minutes, want 2", n)
	}
	for _, bad := range []string{"", "x", mine + " ", mine[:42], mine[:43], mine[:43] + "w", strings.ToUpper(mine), "\x00", "\xff", strings.Repeat("A", 100_000), "' OR true --"} {
		account, err := d.users.BySession(t.Context(), bad)
		mustRefuse(t, "bad secret", err, invalidToken, "")
		if account != (access.Account{}) {
			t.Errorf("names %+v", account)
		}
		if err := d.users.EndSession(t.Context(), bad); err != nil {
			t.Error(err)
		}
	}
	for _, sql := range []string{"user_enabled = false", "deleted_at = now()"} {
		d.do("UPDATE t_users SET " + sql + " WHERE id_user = 15")
		_, err := d.users.BySession(t.Context(), mine)
		mustRefuse(t, sql, err, invalidToken, "")
		d.do("UPDATE t_users SET user_enabled = true, deleted_at = NULL WHERE id_user = 15")
	}
	if err := other.users.EndSession(t.Context(), mine); err != nil {
		t.Error(err)
	}
	_, err := d.users.BySession(t.Context(), mine)
	mustRefuse(t, "ended", err, invalidToken, "")
	if _, err := d.users.BySession(t.Context(), theirs); err != nil {
		t.Errorf("somebody else's: %v", err)
	}
	d.do("UPDATE terasocket.login_sessions SET expires_at = clock_timestamp()")
	_, err = d.users.BySession(t.Context(), theirs)
	mustRefuse(t, "over", err, invalidToken, "")
	if n, err := (&access.Tokens{Pool: d.pool}).Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.users.BySession(ended, mine)
	_, err2 := d.users.StartSession(ended, 9, false)
	for _, err := range []error{err, err2, d.users.EndSession(ended, mine)} {
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), mine) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func TestPasswordWeaknesses(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]int{
		"": 5, "Abcdefghi1!": 0, "Abcdefg1!": 1, "abcdefghi1!": 1, "ABCDEFGHI1!": 1, "Abcdefghij!": 1, "Abcdefghi12": 1, "Abcdefghi1;": 1, "Abcdefghi1@": 1,
		"Abcdefghi1 ": 0, "Abcdefghi1\"": 0, "Abcdefghi1\\": 0, "Abcdefghi1`": 0, "Abcdefghi1]": 0, "Éàbcdéfgh1!": 1, "Àbcdefgh1!A": 0, "Abcdefghi1!\x00": 1, "Abcdefghi1!\xff": 1,
	} {
		if got := access.PasswordWeaknesses(password); len(got) != want {
			t.Errorf("%q: %q, want %d", password, got, want)
		}
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	const next = "Terasocket-2!"
	const fatou = opentera.DemoForcedChangeID
	// OpenTera's rules are newer than the demo's password
	old := "Old-Password-1" + strings.Repeat("x", 58) // 72 bytes, bcrypt's limit
	d.do("UPDATE t_users SET user_password = $1 WHERE id_user IN (9, 14, 16)", hashOf(t, old))
	before := asked[string](d, "SELECT (to_jsonb(u) - 'user_password' - 'user_force_password_change')::text FROM t_users u WHERE id_user = 16")
	secret, err := d.users.StartSession(t.Context(), fatou, false)
	if err != nil {
		t.Fatal(err)
	}
	d.do("UPDATE t_users SET user_force_password_change = true WHERE id_user = 14")
	for name, c := range map[string]struct {
		id       int32
		password string
		want     error
	}{
		"not required": {opentera.DemoProjectUserID, next, access.ErrNotRequired}, "disabled": {opentera.DemoDisabledID, next, access.ErrNotRequired},
		"unknown": {4711, next, access.ErrNotRequired}, "weak": {fatou, "weak", access.ErrWeakPassword}, "empty": {fatou, "", access.ErrWeakPassword},
		"same": {fatou, old, access.ErrSamePassword}, "over 72 bytes": {fatou, old + "other", access.ErrWeakPassword},
	} {
		if err := d.users.ChangePassword(t.Context(), c.id, c.password); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	d.users.Passwords = access.NewPasswords(5) // a hash contains its cost
	if err := d.users.ChangePassword(t.Context(), fatou, next); err != nil {
		t.Fatal(err)
	}
	if hash := asked[string](d, "SELECT user_password FROM t_users WHERE id_user = 16"); !regexp.MustCompile(`^\$2b\$05\$[./A-Za-z0-9]{53}$`).MatchString(hash) {
		t.Error("not as passlib writes it")
	}
	if asked[string](d, "SELECT (to_jsonb(u) - 'user_password' - 'user_force_password_change')::text FROM t_users u WHERE id_user = 16") != before {
		t.Error("another column has changed")
	}
	if n := asked[int](d, "SELECT count(*) FROM t_users WHERE user_password LIKE '$2b$05$%'"); n != 1 {
		t.Errorf("%d passwords changed", n)
	}
	_, err = d.users.BySession(t.Context(), secret)
	mustRefuse(t, "second step after the change", err, invalidToken, "")
	if _, err := d.users.ByPassword(t.Context(), opentera.DemoForcedChange, old); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("the old password: %v", err)
	}
	if account, err := d.users.ByPassword(t.Context(), opentera.DemoForcedChange, next); err != nil || account.MustChangePassword {
		t.Errorf("the new one: %+v, %v", account, err)
	}
	if err := d.users.ChangePassword(t.Context(), fatou, "Terasocket-3!"); !errors.Is(err, access.ErrNotRequired) {
		t.Errorf("twice: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.users.ChangePassword(ended, fatou, next); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), next) {
		t.Errorf("cancelled: %v", err)
	}
}
