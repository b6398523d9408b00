package opentera_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"terasocket/db/opentera"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	for table, want := range map[string]int{
		"t_sites": 3, "t_projects": 8, "t_services": 5, "t_users": 40, "t_users_groups": 12,
		"t_participants": 120, "t_devices": 30, "t_sessions": 60,
	} {
		if got := count(t, conn, "SELECT count(*) FROM "+table+" WHERE deleted_at IS NULL"); got != want {
			t.Errorf("%s: %d alive, want %d", table, got, want)
		}
	}
	for _, table := range texts(t, conn, `SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'`) {
		if count(t, conn, "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()) == 0 {
			t.Errorf("%s is empty", table)
		}
	}
}

// Everything an installation has and a test may look for occurs at least once.
func TestEveryKind(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	const grants = `FROM t_users u
		JOIN t_users_users_groups uug ON uug.id_user = u.id_user AND uug.deleted_at IS NULL
		JOIN t_users_groups g ON g.id_user_group = uug.id_user_group AND g.deleted_at IS NULL
		JOIN t_services_access a ON a.id_user_group = g.id_user_group AND a.deleted_at IS NULL
		JOIN t_services_roles r ON r.id_service_role = a.id_service_role AND r.deleted_at IS NULL
		JOIN t_services s ON s.id_service = r.id_service
		WHERE u.deleted_at IS NULL AND NOT u.user_superadmin AND `
	for what, query := range map[string]string{
		"superadmin":                    "FROM t_users WHERE user_superadmin AND user_enabled AND deleted_at IS NULL",
		"site admin":                    grants + "s.service_key = 'OpenTeraServer' AND r.id_site IS NOT NULL AND r.service_role_name = 'admin'",
		"site user":                     grants + "s.service_key = 'OpenTeraServer' AND r.id_site IS NOT NULL AND r.service_role_name = 'user'",
		"project admin":                 grants + "s.service_key = 'OpenTeraServer' AND r.id_project IS NOT NULL AND r.service_role_name = 'admin'",
		"project user":                  grants + "s.service_key = 'OpenTeraServer' AND r.id_project IS NOT NULL AND r.service_role_name = 'user'",
		"manager of another service":    grants + "s.service_key = 'VideoRehabService' AND r.id_project IS NOT NULL AND r.service_role_name = 'manager'",
		"site admin of another service": grants + "s.service_key = 'VideoRehabService' AND r.id_site IS NOT NULL AND r.service_role_name = 'admin'",
		"global role":                   grants + "r.id_site IS NULL AND r.id_project IS NULL",
		"no role": `FROM t_users u WHERE NOT user_superadmin AND deleted_at IS NULL AND NOT EXISTS
			(SELECT FROM t_users_users_groups g WHERE g.id_user = u.id_user)`,
		"user of two groups": `FROM (SELECT id_user FROM t_users_users_groups WHERE deleted_at IS NULL
			GROUP BY id_user HAVING count(*) > 1) two`,
		"disabled user":                 "FROM t_users WHERE NOT user_enabled AND deleted_at IS NULL",
		"user with 2FA":                 "FROM t_users WHERE user_2fa_otp_enabled AND user_2fa_otp_secret IS NOT NULL",
		"user to change the password":   "FROM t_users WHERE user_force_password_change",
		"deleted user":                  "FROM t_users WHERE deleted_at IS NOT NULL",
		"deleted link of a user":        "FROM t_users_users_groups l JOIN t_users u USING (id_user) WHERE l.deleted_at IS NOT NULL AND u.deleted_at IS NULL",
		"disabled project":              "FROM t_projects WHERE NOT project_enabled AND deleted_at IS NULL",
		"deleted project":               "FROM t_projects WHERE deleted_at IS NOT NULL",
		"participant in a group":        "FROM t_participants WHERE id_participant_group IS NOT NULL",
		"participant without group":     "FROM t_participants WHERE id_participant_group IS NULL",
		"participant with login":        "FROM t_participants WHERE participant_login_enabled AND participant_enabled AND participant_password IS NOT NULL",
		"participant with token":        "FROM t_participants WHERE participant_token_enabled AND participant_enabled AND participant_token IS NOT NULL",
		"token that is switched off":    "FROM t_participants WHERE NOT participant_token_enabled AND participant_token IS NOT NULL",
		"disabled participant":          "FROM t_participants WHERE NOT participant_enabled AND deleted_at IS NULL",
		"deleted participant":           "FROM t_participants WHERE deleted_at IS NOT NULL",
		"device without site":           "FROM t_devices d WHERE NOT EXISTS (SELECT FROM t_devices_sites s WHERE s.id_device = d.id_device)",
		"device of two sites":           "FROM (SELECT id_device FROM t_devices_sites WHERE deleted_at IS NULL GROUP BY id_device HAVING count(*) > 1) two",
		"device of no project":          "FROM t_devices d WHERE NOT EXISTS (SELECT FROM t_devices_projects p WHERE p.id_device = d.id_device)",
		"device of a participant":       "FROM t_devices_participants WHERE deleted_at IS NULL",
		"device that is not onlineable": "FROM t_devices WHERE NOT device_onlineable AND device_enabled",
		"disabled device":               "FROM t_devices WHERE NOT device_enabled AND deleted_at IS NULL",
		"deleted device":                "FROM t_devices WHERE deleted_at IS NOT NULL",
		"role of a device":              "FROM t_services_access WHERE id_device IS NOT NULL",
		"role of a participant group":   "FROM t_services_access WHERE id_participant_group IS NOT NULL",
		"session by a user":             "FROM t_sessions WHERE id_creator_user IS NOT NULL",
		"session by a device":           "FROM t_sessions WHERE id_creator_device IS NOT NULL",
		"session by a participant":      "FROM t_sessions WHERE id_creator_participant IS NOT NULL",
		"session by a service":          "FROM t_sessions WHERE id_creator_service IS NOT NULL",
		"session whose creator does not take part": `FROM t_sessions s WHERE id_creator_user IS NOT NULL AND NOT EXISTS
			(SELECT FROM t_sessions_users u WHERE u.id_session = s.id_session AND u.id_user = s.id_creator_user)`,
		"session without participants": "FROM t_sessions s WHERE NOT EXISTS (SELECT FROM t_sessions_participants p WHERE p.id_session = s.id_session)",
		"session of two projects": `FROM (SELECT id_session FROM t_sessions_participants JOIN t_participants USING (id_participant)
			GROUP BY id_session HAVING count(DISTINCT id_project) > 1) two`,
		"deleted session":        "FROM t_sessions WHERE deleted_at IS NOT NULL",
		"deleted asset":          "FROM t_assets WHERE deleted_at IS NOT NULL",
		"asset of a user":        "FROM t_assets WHERE id_user IS NOT NULL",
		"asset of a device":      "FROM t_assets WHERE id_device IS NOT NULL",
		"asset of a service":     "FROM t_assets WHERE id_service IS NOT NULL",
		"asset of a participant": "FROM t_assets WHERE id_participant IS NOT NULL",
		"invitation of a user":   "FROM t_tests_invitations WHERE id_user IS NOT NULL",
		"expired invitation":     "FROM t_tests_invitations WHERE test_invitation_expiration_date < now()",
	} {
		if count(t, conn, "SELECT count(*) "+query) == 0 {
			t.Errorf("no %s", what)
		}
	}
	for status := range 5 {
		if count(t, conn, "SELECT count(*) FROM t_sessions WHERE session_status = $1", status) == 0 {
			t.Errorf("no session of status %d", status)
		}
	}
}

// No living row refers to a soft-deleted one. (PostgreSQL has checked the foreign keys.)
func TestLivingRowsReferToLivingRows(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	checks := texts(t, conn, `
		SELECT format('SELECT count(*) FROM %s c JOIN %s p ON c.%I = p.%I WHERE c.deleted_at IS NULL AND p.deleted_at IS NOT NULL',
		              k.conrelid::regclass, k.confrelid::regclass, ca.attname, pa.attname)
		FROM   pg_constraint k
		JOIN   pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = k.conkey[1]
		JOIN   pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = k.confkey[1]
		WHERE  k.contype = 'f'
		AND    EXISTS (SELECT FROM pg_attribute WHERE attrelid = k.conrelid AND attname = 'deleted_at')
		AND    EXISTS (SELECT FROM pg_attribute WHERE attrelid = k.confrelid AND attname = 'deleted_at')`)
	if len(checks) < 50 {
		t.Fatalf("only %d foreign keys", len(checks))
	}
	for _, check := range checks {
		if n := count(t, conn, check); n != 0 {
			t.Errorf("%d rows: %s", n, check)
		}
	}
	for what, query := range map[string]string{
		"participants in a group of another project": `t_participants p JOIN t_participants_groups g USING (id_participant_group) WHERE p.id_project <> g.id_project`,
		"devices of a project without its site": `t_devices_projects l JOIN t_projects p USING (id_project) WHERE l.deleted_at IS NULL AND NOT EXISTS
			(SELECT FROM t_devices_sites s WHERE s.id_device = l.id_device AND s.id_site = p.id_site AND s.deleted_at IS NULL)`,
		"services of a project without its site": `t_services_projects l JOIN t_projects p USING (id_project) WHERE l.deleted_at IS NULL AND NOT EXISTS
			(SELECT FROM t_services_sites s WHERE s.id_service = l.id_service AND s.id_site = p.id_site AND s.deleted_at IS NULL)`,
		"session types of a project without its site": `t_sessions_types_projects l JOIN t_projects p USING (id_project) WHERE l.deleted_at IS NULL AND NOT EXISTS
			(SELECT FROM t_sessions_types_sites s WHERE s.id_session_type = l.id_session_type AND s.id_site = p.id_site AND s.deleted_at IS NULL)`,
	} {
		if n := count(t, conn, "SELECT count(*) FROM "+query); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}

// All UUIDs of all tables are different, lower case, with dashes.
func TestUUIDs(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	seen := map[string]string{}
	columns := texts(t, conn, `SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE column_name LIKE '%\_uuid' AND column_name <> 'asset_service_uuid' AND table_schema = 'public'`)
	if len(columns) != 8 {
		t.Errorf("UUID columns: %v", columns)
	}
	for _, where := range columns {
		table, column, _ := strings.Cut(where, ".")
		for _, uuid := range texts(t, conn, fmt.Sprintf("SELECT %s FROM %s", column, table)) {
			if !form.MatchString(uuid) {
				t.Errorf("%s: %q", where, uuid)
			}
			if other, ok := seen[uuid]; ok {
				t.Errorf("%s is in %s and in %s", uuid, other, where)
			}
			seen[uuid] = where
		}
	}
}

// A writer that takes its ids from the sequences, as OpenTera does, gets unused ones.
func TestSequences(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	set := regexp.MustCompile(`SELECT setval\('(\w+)', \(SELECT max\((\w+)\) FROM (\w+)\)\);`).FindAllStringSubmatch(opentera.Demo(), -1)
	if len(set) != 37 {
		t.Errorf("%d sequences set", len(set))
	}
	for _, s := range set {
		if n := count(t, conn, fmt.Sprintf("SELECT nextval('%s') - (SELECT max(%s) FROM %s)", s[1], s[2], s[3])); n != 1 {
			t.Errorf("%s is %d past the ids of %s, want 1", s[1], n, s[3])
		}
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	hashes := texts(t, demo(t), `SELECT user_password FROM t_users UNION SELECT participant_password FROM t_participants WHERE participant_password IS NOT NULL`)
	if len(hashes) == 0 {
		t.Fatal("no password")
	}
	for _, h := range append(hashes, opentera.DemoPasswordQuickHash) {
		t.Run(h, func(t *testing.T) {
			t.Parallel() // each takes seconds under -race
			if len(h) != 60 || !strings.HasPrefix(h, "$2b$12$") && h != opentera.DemoPasswordQuickHash {
				t.Error("not what passlib writes")
			}
			if err := bcrypt.CompareHashAndPassword([]byte(h), []byte(opentera.DemoPassword)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The static tokens are signed with the keys of the server settings and name their row.
func TestStaticTokens(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	for _, kind := range []struct{ name, key string }{{"participant", "ParticipantTokenEncryptionKey"}, {"device", "TokenEncryptionKey"}} {
		key := texts(t, conn, "SELECT server_settings_value FROM t_server_settings WHERE server_settings_name = $1", kind.key)[0]
		uuids := texts(t, conn, fmt.Sprintf("SELECT %[1]s_uuid FROM t_%[1]ss WHERE %[1]s_token IS NOT NULL ORDER BY id_%[1]s", kind.name))
		tokens := texts(t, conn, fmt.Sprintf("SELECT %[1]s_token FROM t_%[1]ss WHERE %[1]s_token IS NOT NULL ORDER BY id_%[1]s", kind.name))
		if len(tokens) < 20 {
			t.Errorf("%d tokens of %ss", len(tokens), kind.name)
		}
		for i, token := range tokens {
			part := strings.Split(token, ".")
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write([]byte(part[0] + "." + part[1]))
			if base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) != part[2] {
				t.Errorf("%s: wrong signature", uuids[i])
			}
			text, err := base64.RawURLEncoding.DecodeString(part[1])
			if err != nil {
				t.Fatal(err)
			}
			var claims map[string]any
			if err := json.Unmarshal(text, &claims); err != nil || claims[kind.name+"_uuid"] != uuids[i] || claims["iss"] != "TeraServer" {
				t.Errorf("%s: claims %s, %v", uuids[i], text, err)
			}
		}
	}
}
