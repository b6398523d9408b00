package migrations_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

// openTera12 turns the schema of OpenTera 1.3 into that of 1.2, by what its migrations added.
const openTera12 = `
DROP TABLE t_tests_invitations, t_sessions_types_services CASCADE;
ALTER TABLE t_sites DROP COLUMN site_2fa_required;
ALTER TABLE t_services DROP COLUMN service_has_assets, DROP COLUMN service_has_tests;
ALTER TABLE t_users DROP COLUMN user_2fa_enabled, DROP COLUMN user_2fa_otp_enabled, DROP COLUMN user_2fa_email_enabled,
	DROP COLUMN user_2fa_otp_secret, DROP COLUMN user_force_password_change;
ALTER TABLE t_assets DROP COLUMN asset_expiration_datetime;
UPDATE alembic_version SET version_num = 'e6ee93ef205b';
UPDATE t_server_settings SET server_settings_value = '{"version_string": "OpenTera_v1.2.5", "clients": {}}' WHERE server_settings_name = 'ServerVersions'`

// withVersion is a fixture on an installation of another version: statements are run before it is migrated.
func withVersion(t *testing.T, statements string) *fixture {
	t.Helper()
	f := &fixture{TB: t, url: dbtest.New(t, unmigrated())}
	f.conn = dbtest.Conn(t, f.url)
	f.exec(statements)
	if err := migrations.Up(t.Context(), f.url); err != nil {
		t.Fatal(err)
	}
	f.teller = dbtest.Conn(t, f.url)
	t.Cleanup(f.verify)
	f.skip()
	return f
}

// docs/opentera-versions.md: before 1.3 there are no invitations, no secondary services and no second steps of a login.
func TestOpenTera12(t *testing.T) {
	t.Parallel()
	f := withVersion(t, openTera12)
	for _, k := range kinds() {
		switch k.objectType {
		case "test_invitation", "session_type_service":
		case "user", "site", "service", "asset": // their statements name columns that do not exist
		default:
			f.only(k, "C", k.insert())
			f.only(k, "U", k.set(k.update))
			f.only(k, "D", k.delete())
		}
	}
	for object, sql := range map[string]string{
		"U user 9":    "UPDATE t_users SET user_firstname = 'x' WHERE id_user = 9",
		"U site 1":    "UPDATE t_sites SET site_name = 'x' WHERE id_site = 1",
		"U service 5": "UPDATE t_services SET service_name = 'x' WHERE id_service = 5",
		"U asset 1":   "UPDATE t_assets SET asset_name = 'x' WHERE id_asset = 1",
	} {
		e := f.expectOne(sql, object)
		for _, key := range []string{"user_2fa_enabled", "site_2fa_required", "service_has_assets", "service_has_tests", "asset_expiration_datetime"} {
			if _, isThere := e.Body[key]; isThere {
				t.Errorf("%s: there is a %s, which this OpenTera lacks", object, key)
			}
		}
	}
	// dependents: participants, devices, users and sessions without invitations
	f.expect("UPDATE t_participants SET id_project = 2 WHERE id_participant = 1", "U participant 1")
	f.expect("UPDATE t_users SET user_enabled = false WHERE id_user = 9", "U user 9")
	f.expect("UPDATE t_devices SET device_enabled = false WHERE id_device = 1", "U device 1")
	f.expect("UPDATE t_sessions SET id_creator_user = 10 WHERE id_session = 1", "U session 1")

	// the door: nobody has a second step
	type account struct{ MustChange, Needs2FA, HasOTP bool }
	rows, err := f.conn.Query(t.Context(), "SELECT must_change, needs_2fa, has_otp FROM terasocket.user_account(by_uuid => $1)", opentera.DemoProjectAdminUUID)
	if err != nil {
		t.Fatal(err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[account])
	if err != nil || a != (account{}) {
		t.Errorf("%+v, %v", a, err)
	}
	g := one[string](f, "SELECT terasocket.gateway_register('test', '1 hour')::text")
	f.connect(g, "user", opentera.DemoProjectAdminID)
	mustEqual(t, "online", values(f.online(opentera.DemoProjectAdminID, "user"), "user_2fa_enabled"), "false")
	if _, err := f.conn.Exec(context.Background(), "SELECT terasocket.presence_snapshot('user', 9)"); err != nil {
		t.Error(err)
	}
}

// From 1.3.1 on a session type names its service, in events and at login.
func TestOpenTera131(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]any{
		`{"version_string": "OpenTera_v1.3.0", "version_patch": 9}`: nil, `{"version_string":"OpenTera_v1.3.1"}`: "new",
		`{"version_string": "OpenTera_v1.10.0", "clients": {}}`: "new", `{"version_string": "2.0.0"}`: "new", "rubbish": nil, `{"version_string": "x"}`: nil,
		`{"version_string": "OpenTera_v99999999999999999999.3.1"}`: nil, "": nil,
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.exec("UPDATE t_server_settings SET server_settings_value = $1 WHERE server_settings_name = 'ServerVersions'", version)
			f.log()
			var key, uuid any
			if want != nil {
				key, uuid = one[string](f, "SELECT service_key FROM t_services WHERE id_service = 5"), one[string](f, "SELECT service_uuid FROM t_services WHERE id_service = 5")
			}
			created := f.expectOne("INSERT INTO t_sessions_types (id_session_type, id_service, session_type_name, session_type_online, session_type_color, session_type_category, version_id) "+
				"VALUES (9000, 5, 'New', true, '#102030', 1, 1)", "C session_type 9000")
			updated := f.expectOne("UPDATE t_sessions_types SET session_type_name = 'Newer' WHERE id_session_type = 9000", "U session_type 9000")
			for _, body := range []object{created.Body, updated.Body} {
				mustEqual(t, "key", body["session_type_service_key"], key)
				mustEqual(t, "uuid", body["session_type_service_uuid"], uuid)
			}
			shown := one[[]object](f, "SELECT terasocket.project_session_types(ARRAY(SELECT id_project FROM t_projects))")
			mustEqual(t, "shown", len(shown) > 0, true)
			for _, s := range shown {
				of := s["id_service"]
				wantKey, isThere := s["session_type_service_key"]
				if isThere != (want != nil && of != nil) || isThere && wantKey != one[string](f, "SELECT service_key FROM t_services WHERE id_service = $1", of) {
					t.Errorf("a login shows %v", s)
				}
			}
			alone := f.expectOne("UPDATE t_sessions_types SET id_service = NULL WHERE id_session_type = 9000", "U session_type 9000")
			if _, isThere := alone.Body["session_type_service_key"]; isThere {
				t.Errorf("the key of no service: %v", alone.Body)
			}
		})
	}
}
