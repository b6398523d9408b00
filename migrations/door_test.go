package migrations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// A role with only USAGE on the schema can call no function of the door, and read no table.
func TestDoorRights(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT USAGE ON SCHEMA terasocket TO " + role)
	stranger := dbtest.Conn(t, withRole(f.url, role))
	calls := []string{
		"signing_key('user')", "verifying_keys('user')", "rotate_signing_key('user', '0')", "service_token_key()", "random_text()",
		"disable_token('', now())", "token_check('user', '')", "count_attempt('user', '')", "forget_attempts('user', '')", "address_failed('x')", "address_wait('x')",
		"start_login_session('', 1)", "end_login_session('')", "login_session_user('')", "user_account('admin')", "user_token_claims(1)", "otp_secret(15)",
		"accept_otp(15, 1, '')", "otp_blocked('')", "set_otp(15, 'x', false)", "change_password(1, 'x', 'x')", "participant_account('x')", "project_session_types('{}')",
		"participant_session_types(1)", "device_by_uuid('x')", "device_login(1)", "stamp_last_online('user', 1)", "logout('user', 1, '" + opentera.DemoSuperadminUUID + "', NULL, NULL)",
		"is_connected('user', 1)", "server_setting('TokenEncryptionKey')", "sweep_door()",
	}
	for _, call := range calls {
		if state, message := refusal(t, stranger, "SELECT terasocket."+call); state != "42501" {
			t.Errorf("%s: %s %s, want permission denied", call, state, message)
		}
	}
	for _, table := range []string{"signing_keys", "disabled_tokens", "login_attempts", "address_failures", "login_sessions", "otp_steps"} {
		if state, _ := refusal(t, stranger, "SELECT * FROM terasocket."+table); state != "42501" {
			t.Errorf("%s can be read", table)
		}
	}
	// every SECURITY DEFINER function has a fixed search path, and none is public
	if n := one[int](f, `SELECT count(*) FROM pg_proc p WHERE pronamespace = 'terasocket'::regnamespace
		AND (prosecdef AND coalesce(array_to_string(proconfig, ','), '') NOT LIKE '%search_path=pg_catalog, pg_temp%' OR has_function_privilege('public', p.oid, 'EXECUTE'))`); n != 0 {
		t.Errorf("%d functions with an open search path, or public", n)
	}
	// what must survive a crash is logged; what need not is not in the WAL
	for table, want := range map[string]string{"disabled_tokens": "p", "otp_steps": "p", "signing_keys": "p", "login_attempts": "u", "address_failures": "u", "login_sessions": "u", "connect_tokens": "u"} {
		if got := one[string](f, "SELECT relpersistence::text FROM pg_class WHERE oid = ('terasocket.' || $1)::regclass", table); got != want {
			t.Errorf("%s is %s, want %s", table, got, want)
		}
	}
}

func TestSigningKeysAreChecked(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, sql := range []string{
		"SELECT terasocket.signing_key('device')", "SELECT terasocket.signing_key(NULL)", "SELECT terasocket.rotate_signing_key('x', '1 hour')",
		"SELECT terasocket.rotate_signing_key('user', '-1 s')", "SELECT terasocket.rotate_signing_key('user', '91 days')", "SELECT terasocket.rotate_signing_key('user', NULL)",
		"INSERT INTO terasocket.signing_keys (name, key) VALUES ('user', 'short')",
		"INSERT INTO terasocket.signing_keys (name, key) SELECT 'user', repeat('x', 32) FROM generate_series(1, 2)",
		"SELECT terasocket.stamp_last_online('service', 1)", "SELECT terasocket.count_attempt('device', '')",
	} {
		if state, _ := refusal(t, f.conn, sql); state == "" {
			t.Errorf("%s succeeds", sql)
		}
	}
	if n := one[int](f, "SELECT count(*) FROM terasocket.signing_keys"); n != 0 {
		t.Errorf("%d keys", n)
	}
}

// One sweep deletes everything that has expired, and nothing else.
func TestSweepDoor(t *testing.T) {
	t.Parallel()
	f := setup(t)
	fill := func(name, at string) {
		f.exec(fmt.Sprintf(`INSERT INTO terasocket.connect_tokens (hash, kind, uuid, expires_at) VALUES ('%[1]s', 'user', 'x', %[2]s);
			INSERT INTO terasocket.disabled_tokens VALUES ('%[1]s', %[2]s - interval '1 hour');
			INSERT INTO terasocket.login_attempts VALUES ('user', '%[1]s', 1, %[2]s);
			INSERT INTO terasocket.address_failures VALUES ('%[1]s', %[2]s);
			INSERT INTO terasocket.login_sessions VALUES ('%[1]s', 1, %[2]s);
			INSERT INTO terasocket.signing_keys (name, key, retires_at) VALUES ('user', '%[3]s', %[2]s)`, name, at, strings.Repeat("x", 32)))
	}
	fill("over", "clock_timestamp()")
	fill("good", "clock_timestamp() + interval '1 minute'")
	f.exec("SELECT terasocket.signing_key('user')")
	got := []int{one[int](f, "SELECT terasocket.sweep_door()"), one[int](f, "SELECT terasocket.sweep_door()")}
	if !slices.Equal(got, []int{6, 0}) {
		t.Errorf("swept %v, want 6 and 0", got)
	}
	if n := one[int](f, "SELECT count(*) FROM terasocket.signing_keys"); n != 2 {
		t.Errorf("%d keys are left, want 2", n)
	}
	// while another one sweeps, a sweep does not wait
	other := dbtest.Conn(t, f.url)
	execOn(t, other, "BEGIN; SELECT terasocket.sweep_door()")
	f.exec("UPDATE terasocket.login_attempts SET expires_at = clock_timestamp()")
	if n := one[int](f, "SELECT terasocket.sweep_door()"); n != 0 {
		t.Errorf("swept %d beside another", n)
	}
	execOn(t, other, "COMMIT")
	if n := one[int](f, "SELECT terasocket.sweep_door()"); n != 1 {
		t.Errorf("swept %d, want 1", n)
	}
}

// Capture errors do not accumulate once they are announced; unannounced ones stay.
func TestCaptureErrorsAreBounded(t *testing.T) {
	t.Parallel()
	f := alone(t)
	f.isBroken = true
	f.exec(`INSERT INTO terasocket.capture_errors (table_name, op, sqlstate, message, announced_at)
		SELECT 't_sites', 'UPDATE', '55P03', 'x', CASE WHEN n <> 2 THEN clock_timestamp() - CASE WHEN n = 2500 THEN interval '31 days' ELSE '0' END END FROM generate_series(1, 3000) n`)
	mustEqual(t, "swept", one[int](f, "SELECT terasocket.sweep_door()"), 2000)
	mustEqual(t, "left", one[string](f, "SELECT count(*) || ' from ' || min(id) || ', ' || count(*) FILTER (WHERE announced_at IS NULL) || ' not announced' FROM terasocket.capture_errors"),
		"1000 from 2, 1 not announced")
	mustEqual(t, "again", one[int](f, "SELECT terasocket.sweep_door()"), 0)
}

// Work done by one gateway at a time cannot be blocked by a role without rights here: any role may take advisory locks.
func TestOtherRolesBlockNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	stranger := dbtest.Conn(t, withRole(f.url, newRole(t, f.conn)))
	execOn(t, stranger, "SELECT pg_advisory_lock(hashtextextended(name, 0)) FROM unnest('{terasocket sweep,terasocket refresh_capture}'::text[]) name")
	f.exec("INSERT INTO terasocket.login_attempts VALUES ('user', 'x', 1, clock_timestamp()); ALTER TABLE t_sites DROP COLUMN site_2fa_required")
	mustEqual(t, "swept", one[int](f, "SELECT terasocket.sweep_door()"), 1)
	mustEqual(t, "functions re-created", one[int](f, "SELECT terasocket.refresh_capture()"), 1)

	// while one gateway creates them, another neither waits nor does it too
	f.exec("ALTER TABLE t_projects DROP COLUMN project_description")
	other := dbtest.Conn(t, f.url)
	execOn(t, other, "BEGIN; SELECT FROM terasocket.functions FOR UPDATE")
	mustEqual(t, "beside another", one[int](f, "SELECT terasocket.refresh_capture()"), 0)
	execOn(t, other, "COMMIT")
	mustEqual(t, "afterwards", one[int](f, "SELECT terasocket.refresh_capture()"), 1)
}
