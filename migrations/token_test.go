package migrations_test

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// redeem returns the principal of a token: "id uuid name", or "" if it is refused.
func redeem(f *fixture, kind, token string) string {
	f.Helper()
	return one[string](f, "SELECT coalesce((SELECT concat_ws(' ', id, uuid, name) FROM terasocket.redeem_connect_token($1, $2)), '')", kind, token)
}

func mint(f *fixture, kind, uuid string) string {
	f.Helper()
	return one[string](f, "SELECT terasocket.create_connect_token($1, $2)", kind, uuid)
}

func TestConnectToken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	for _, p := range []struct{ kind, uuid, name string }{
		{"user", opentera.DemoProjectUserUUID, "SELECT id_user || ' ' || user_uuid || ' ' || user_firstname || ' ' || user_lastname FROM t_users WHERE user_uuid = $1"},
		{"participant", opentera.DemoParticipantUUID, "SELECT id_participant || ' ' || participant_uuid || ' ' || participant_name FROM t_participants WHERE participant_uuid = $1"},
		{"device", opentera.DemoDeviceUUID, "SELECT id_device || ' ' || device_uuid || ' ' || device_name FROM t_devices WHERE device_uuid = $1"},
	} {
		token := mint(f, p.kind, p.uuid)
		if !form.MatchString(token) {
			t.Errorf("%s: %q is not base64url of 32 bytes", p.kind, token)
		}
		for _, kind := range []string{"user", "participant", "device", "nonsense", ""} {
			if kind != p.kind {
				mustEqual(t, "token of "+p.kind+" redeemed by "+kind, redeem(f, kind, token), "")
			}
		}
		want := one[string](f, p.name, p.uuid) // the wrong kinds have not consumed it
		mustEqual(t, p.kind, redeem(f, p.kind, token), want)
		mustEqual(t, p.kind+" for the second time", redeem(f, p.kind, token), "")
	}
	if n := one[int](f, "SELECT count(*) FROM terasocket.connect_tokens"); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

// Only the hash of a token is stored, and tokens differ.
func TestConnectTokenIsStoredHashed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	seen := map[string]bool{}
	for range 200 {
		token := mint(f, "user", opentera.DemoProjectUserUUID)
		seen[token] = true
		hash := sha256.Sum256([]byte(token))
		if n := one[int](f, "SELECT count(*) FROM terasocket.connect_tokens t WHERE hash = $1 AND kind = 'user' AND t::text NOT LIKE '%' || $2 || '%'", hash[:], token); n != 1 {
			t.Fatalf("%d rows with the hash of the token, and without the token", n)
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d different tokens of 200", len(seen))
	}
	if s := one[float64](f, "SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::float8 FROM terasocket.connect_tokens"); s > 60 || s < 30 {
		t.Errorf("expires in %g s", s)
	}
	mustEqual(t, "wrong token", redeem(f, "user", strings.Repeat("A", 43)), "")
	mustEqual(t, "empty token", redeem(f, "user", ""), "")
}

func TestConnectTokenRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, p := range []struct{ kind, uuid string }{
		{"user", opentera.DemoDisabledUUID}, {"user", opentera.DemoDeletedUUID}, {"user", opentera.DemoParticipantUUID}, {"user", ""}, {"user", "' OR true --"},
		{"participant", opentera.DemoDisabledParticipantUUID}, {"participant", opentera.DemoProjectUserUUID},
		{"device", opentera.DemoDisabledDeviceUUID}, {"device", strings.ToUpper(opentera.DemoDeviceUUID)},
	} {
		_, err := f.conn.Exec(t.Context(), "SELECT terasocket.create_connect_token($1, $2)", p.kind, p.uuid)
		if err == nil || !strings.Contains(err.Error(), "there is no "+p.kind+" "+quote(p.uuid)+" that may connect (SQLSTATE P0002)") {
			t.Errorf("%v: %v", p, err)
		}
	}
	for _, kind := range []string{"User", "", "service", "x'y"} {
		_, err := f.conn.Exec(t.Context(), "SELECT terasocket.create_connect_token($1, $2)", kind, opentera.DemoProjectUserUUID)
		if err == nil || !strings.Contains(err.Error(), "kind is "+quote(kind)+": it must be user, participant or device (SQLSTATE 22023)") {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if n := one[int](f, "SELECT count(*) FROM terasocket.connect_tokens"); n != 0 {
		t.Errorf("%d tokens of refused principals", n)
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Changes after the token was minted count.
func TestConnectTokenIsCheckedAgain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for name, sql := range map[string]string{
		"expired":             "UPDATE terasocket.connect_tokens SET expires_at = clock_timestamp()",
		"disabled user":       "UPDATE t_users SET user_enabled = false WHERE id_user = 9",
		"deleted participant": "UPDATE t_participants SET deleted_at = now() WHERE id_participant = 1",
		"disabled device":     "UPDATE t_devices SET device_enabled = false WHERE id_device = 1",
		"another UUID":        "UPDATE t_users SET user_uuid = 'changed' WHERE id_user = 9",
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			tokens := map[string]string{"user": mint(f, "user", opentera.DemoProjectUserUUID), "participant": mint(f, "participant", opentera.DemoParticipantUUID), "device": mint(f, "device", opentera.DemoDeviceUUID)}
			f.exec("BEGIN; " + sql)
			refused := 0
			for kind, token := range tokens {
				if redeem(f, kind, token) == "" {
					refused++
					mustEqual(t, "kind", name == "expired" || strings.HasSuffix(name, kind) || kind == "user" && name == "another UUID", true)
				}
			}
			if refused == 0 || refused == len(tokens) != (name == "expired") {
				t.Errorf("%d of %d refused", refused, len(tokens))
			}
			f.exec("ROLLBACK")
		})
	}
}

// Of any number of concurrent attempts, one succeeds.
func TestConnectTokenRace(t *testing.T) {
	t.Parallel()
	f := setup(t)
	pool := dbtest.Pool(t, f.url)
	for range 3 {
		token := mint(f, "user", opentera.DemoProjectUserUUID)
		var good atomic.Int32
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 100 {
			wg.Go(func() {
				<-start
				rows, err := pool.Exec(t.Context(), "SELECT id FROM terasocket.redeem_connect_token('user', $1)", token)
				if err != nil {
					t.Errorf("redeem: %v", err)
				}
				good.Add(int32(rows.RowsAffected()))
			})
		}
		close(start)
		wg.Wait()
		if good.Load() != 1 {
			t.Errorf("redeemed %d times", good.Load())
		}
	}
}

// Minting a token allows connecting as anybody: it needs a grant, and no other.
func TestConnectTokenRights(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT USAGE ON SCHEMA terasocket TO " + role)
	stranger := dbtest.Conn(t, withRole(f.url, role))
	for _, sql := range []string{
		fmt.Sprintf("SELECT terasocket.create_connect_token('user', '%s')", opentera.DemoSuperadminUUID),
		"SELECT terasocket.redeem_connect_token('user', 'x')",
		fmt.Sprintf("SELECT terasocket.principal('user', '%s')", opentera.DemoSuperadminUUID),
		"SELECT * FROM terasocket.connect_tokens", "DELETE FROM terasocket.connect_tokens",
	} {
		if _, err := stranger.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	f.exec("GRANT EXECUTE ON FUNCTION terasocket.create_connect_token(text, text) TO " + role)
	token := oneOn[string](t, stranger, "SELECT terasocket.create_connect_token('user', $1)", opentera.DemoProjectUserUUID)
	if redeem(f, "user", token) == "" {
		t.Error("the token of a granted role is refused")
	}
}
