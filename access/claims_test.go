package access_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/db/opentera"
)

// decoded returns the header and claims of a token as text.
func decoded(t *testing.T, token string) (header, claims string) {
	t.Helper()
	parts := strings.Split(token, ".")
	for _, part := range parts[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		header, claims = claims, string(text)
	}
	return header, claims
}

// The claims are exactly OpenTera's (section 7).
func TestClaims(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	const jti = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`
	common := []string{"exp", "iat", "iss", "jti"}
	for kind, keys := range map[access.Kind][]string{
		access.User:        {"id_user", "service_access", "user_fullname", "user_superadmin", "user_uuid"},
		access.Participant: {"id_participant", "participant_uuid", "user_fullname"},
	} {
		who := dynamic[kind]
		token := d.tokenOf(kind, who.ID)
		header, text := decoded(t, token)
		if header != `{"alg":"HS256","typ":"JWT"}` {
			t.Errorf("%s: header %s", kind, header)
		}
		var claims map[string]any
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			t.Fatal(err)
		}
		var got []string
		for k := range claims {
			got = append(got, k)
		}
		slices.Sort(got)
		want := append(slices.Clone(common), keys...)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: claims %v, want %v", kind, got, want)
		}
		iat, exp := claims["iat"].(float64), claims["exp"].(float64)
		if exp-iat != 3600 || iat < float64(time.Now().Unix()-60) || iat > float64(time.Now().Unix()) || iat != float64(int64(iat)) {
			t.Errorf("%s: iat %v, exp %v", kind, iat, exp)
		}
		if claims["iss"] != "TeraServer" || !regexp.MustCompile("^"+jti+"$").MatchString(claims["jti"].(string)) ||
			claims["id_"+kind.String()] != float64(who.ID) || claims[kind.String()+"_uuid"] != who.UUID || claims["user_fullname"] == "" {
			t.Errorf("%s: %s", kind, text)
		}
		if d.tokenOf(kind, who.ID) == token {
			t.Errorf("%s: two tokens are one", kind)
		}
		id, err := d.byToken(kind, token)
		if err != nil || id.Principal != who.Principal || id.UUID != who.UUID || id.Name != claims["user_fullname"] {
			t.Errorf("%s: %+v, %v", kind, id, err)
		}
	}
	login, err := d.participants.ByToken(t.Context(), d.tokenOf(access.Participant, opentera.DemoParticipantID))
	if err != nil || !login.IsFull || !login.IsDynamic || login.ProjectID != 1 || login.BaseToken == nil {
		t.Errorf("dynamic token: %+v, %v", login, err)
	}
	// a token is accepted from a user that must change the password or has 2FA
	for _, id := range []int32{opentera.DemoForcedChangeID, opentera.DemoOTPID} {
		if account, err := d.users.ByToken(t.Context(), d.tokenOf(access.User, id)); err != nil || account.ID != id || account.MustChangePassword == account.Needs2FA {
			t.Errorf("%+v, %v", account, err)
		}
	}
	for _, id := range []int32{opentera.DemoDisabledID, opentera.DemoDeletedID, 4711} {
		if _, err := d.users.Token(t.Context(), id, time.Hour); !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("a token for user %d: %v", id, err)
		}
	}
	for _, id := range []int32{opentera.DemoDisabledParticipantID, 4711} {
		if _, err := d.participants.Token(t.Context(), id, time.Hour); !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("a token for participant %d: %v", id, err)
		}
	}
}

// service_access lists the global roles of the user's living groups, by service; a superadmin has none.
func TestServiceAccess(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	access := func(id int32) string {
		t.Helper()
		token, err := d.users.Token(t.Context(), id, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, text := decoded(t, token)
		var claims struct {
			Access json.RawMessage `json:"service_access"`
		}
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(claims.Access), " ", "")
	}
	if got := access(opentera.DemoNoRoleID); got != "{}" {
		t.Errorf("without a role: %s", got)
	}
	if got := access(opentera.DemoProjectUserID); got != `{"VideoRehabService":["user"]}` { // and its roles on projects
		t.Errorf("project user: %s", got)
	}
	// groups 901 and 902 of nora and of the superadmin: "admin" and "user" of service 5, twice, and "user" of service 3
	d.do(`INSERT INTO t_users_groups (id_user_group, user_group_name, version_id) VALUES (901, 'a', 1), (902, 'b', 1)`)
	d.do(`INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id)
		SELECT 9000 + u * 10 + g, u, 900 + g, 1 FROM unnest(ARRAY[13, 1]) u, generate_series(1, 2) g`)
	d.do(`INSERT INTO t_services_roles (id_service_role, id_service, id_site, id_project, service_role_name, version_id) VALUES
		(901, 5, NULL, NULL, 'ours', 1), (902, 5, NULL, NULL, 'theirs', 1), (903, 3, NULL, NULL, 'ours', 1), (904, 5, 1, NULL, 'of a site', 1), (905, 5, NULL, 1, 'of a project', 1), (906, 4, NULL, NULL, 'dead', 1)`)
	d.do(`INSERT INTO t_services_access (id_service_access, id_user_group, id_service_role, version_id)
		SELECT 9000 + g * 10 + r, 900 + g, 900 + r, 1 FROM generate_series(1, 2) g, generate_series(1, 6) r`)
	d.do(`UPDATE t_services_roles SET deleted_at = now() WHERE id_service_role = 906`)
	if got := access(opentera.DemoNoRoleID); got != `{"VideoRehabService":["ours","theirs"],"FileTransferService":["ours"]}` {
		t.Errorf("global roles: %s", got)
	}
	if got := access(opentera.DemoSuperadminID); got != "{}" {
		t.Errorf("superadmin: %s", got)
	}
	for _, sql := range []string{
		"UPDATE t_services_access SET deleted_at = now() WHERE id_service_access > 9000",
		"UPDATE t_users_groups SET deleted_at = now() WHERE id_user_group > 900",
		"UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user_user_group > 9000",
		"UPDATE t_services SET deleted_at = now() WHERE id_service IN (3, 5)",
	} {
		d.do(sql)
		if got := access(opentera.DemoNoRoleID); got != "{}" {
			t.Errorf("%s: %s", sql, got)
		}
		d.do(strings.Replace(sql, "now()", "NULL", 1))
	}
}
