package access_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"terasocket/access"
	"terasocket/db/opentera"
	protocol "terasocket/proto/opentera"
)

// tokenOf signs a dynamic token of a kind.
func (d *door) tokenOf(kind access.Kind, id int32) string {
	d.Helper()
	sign := d.users.Token
	if kind == access.Participant {
		sign = d.participants.Token
	}
	token, err := sign(d.Context(), id, time.Hour)
	if err != nil {
		d.Fatal(err)
	}
	return token
}

// byToken is the login of a kind by a token.
func (d *door) byToken(kind access.Kind, token string) (access.Identity, error) {
	switch kind {
	case access.User:
		a, err := d.users.ByToken(d.Context(), token)
		return a.Identity, err
	case access.Participant:
		p, err := d.participants.ByToken(d.Context(), token)
		return p.Identity, err
	}
	return d.devices.Device(d.Context(), token)
}

func (d *door) disable(kind access.Kind, token string) error {
	if kind == access.Participant {
		return d.participants.Disable(d.Context(), token)
	}
	return d.users.Disable(d.Context(), token)
}

func (d *door) logout(kind access.Kind, id access.Identity, token string) error {
	switch kind {
	case access.User:
		return d.users.Logout(d.Context(), id, token)
	case access.Participant:
		return d.participants.Logout(d.Context(), id, token)
	}
	return d.devices.Logout(d.Context(), id)
}

func (d *door) key(name string) string {
	return asked[string](d, "SELECT terasocket.signing_key($1)", name)
}

// dynamic are the kinds that have dynamic tokens, and one of each.
var dynamic = map[access.Kind]access.Identity{
	access.User:        {Principal: access.Principal{Kind: access.User, ID: opentera.DemoProjectUserID}, UUID: opentera.DemoProjectUserUUID},
	access.Participant: {Principal: access.Principal{Kind: access.Participant, ID: opentera.DemoParticipantID}, UUID: opentera.DemoParticipantUUID},
}

// decoded gives the two parts of a token that say something, as text.
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

// Claims are OpenTera's, exactly (section 7).
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
	// a token is good for who must change the password or has 2FA
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

// service_access names the global roles of the user's living groups, by service; a superadmin has none.
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

// What is no good token of a kind opens nothing, whatever it is.
func TestDynamicTokensAreRefused(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	userKey, participantKey, serviceKey := d.key("user"), d.key("participant"), d.key("service")
	static := asked[string](d, "SELECT participant_token FROM t_participants WHERE id_participant = 1")
	device := asked[string](d, "SELECT device_token FROM t_devices WHERE id_device = 1")
	hour, past := time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Second).Unix()
	for kind, who := range dynamic {
		own, other := []byte(userKey), []byte(participantKey)
		if kind == access.Participant {
			own, other = other, own
		}
		claim := kind.String() + "_uuid"
		with := func(claims jwt.MapClaims) jwt.MapClaims {
			all := jwt.MapClaims{claim: who.UUID, "exp": hour}
			for k, v := range claims {
				if all[k] = v; v == nil {
					delete(all, k)
				}
			}
			return all
		}
		good := signed(t, jwt.SigningMethodHS256, own, with(nil))
		if _, err := d.byToken(kind, good); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		parts := strings.Split(good, ".")
		for name, c := range map[string]struct {
			token  string
			status protocol.LoginEvent_LoginStatus
		}{
			"empty":            {"", invalidToken},
			"no token":         {"abc", invalidToken},
			"no signature":     {parts[0] + "." + parts[1] + ".", invalidToken},
			"two parts":        {parts[0] + "." + parts[1], invalidToken},
			"cut":              {good[:len(good)-2], invalidToken},
			"longer":           {good + "A", invalidToken},
			"padded":           {good + "=", invalidToken},
			"line feed":        {good + "\n", invalidToken},
			"line feed inside": {good[:len(good)-5] + "\n" + good[len(good)-5:], invalidToken},
			"blank":            {" " + good, invalidToken},
			"zero byte":        {good + "\x00", invalidToken},
			"no UTF-8":         {"\xff" + good, invalidToken},
			"over 4 KiB":       {signed(t, jwt.SigningMethodHS256, own, with(jwt.MapClaims{"x": strings.Repeat("x", 5000)})), invalidToken},
			"alg none":         {signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, with(nil)), invalidToken},
			"HS512":            {signed(t, jwt.SigningMethodHS512, own, with(nil)), invalidToken},
			"HS384":            {signed(t, jwt.SigningMethodHS384, own, with(nil)), invalidToken},
			"other kind's key": {signed(t, jwt.SigningMethodHS256, other, with(nil)), invalidToken},
			"service's key":    {signed(t, jwt.SigningMethodHS256, []byte(serviceKey), with(nil)), invalidToken},
			"empty key":        {signed(t, jwt.SigningMethodHS256, []byte{}, with(nil)), invalidToken},
			"no exp":           {signed(t, jwt.SigningMethodHS256, own, with(jwt.MapClaims{"exp": nil})), invalidToken},
			"exp of letters":   {signed(t, jwt.SigningMethodHS256, own, with(jwt.MapClaims{"exp": "never"})), invalidToken},
			"no UUID":          {signed(t, jwt.SigningMethodHS256, own, with(jwt.MapClaims{claim: nil})), invalidToken},
			"UUID of numbers":  {signed(t, jwt.SigningMethodHS256, own, with(jwt.MapClaims{claim: 9})), invalidToken},
			"UUID of a device": {signed(t, jwt.SigningMethodHS256, own, with(jwt.MapClaims{claim: opentera.DemoDeviceUUID})), invalidToken},
			"expired":          {signed(t, jwt.SigningMethodHS256, own, with(jwt.MapClaims{"exp": past})), expiredToken},
			"expired, bad key": {signed(t, jwt.SigningMethodHS256, other, with(jwt.MapClaims{"exp": past})), invalidToken},
			"device's":         {device, invalidToken},
		} {
			id, err := d.byToken(kind, c.token)
			want := ""
			if c.status == expiredToken {
				want = who.UUID
			}
			mustRefuse(t, kind.String()+" "+name, err, c.status, want)
			if id != (access.Identity{}) {
				t.Errorf("%s %s: names %+v", kind, name, id)
			}
			if err != nil && c.token != "" && strings.Contains(err.Error(), c.token) {
				t.Errorf("%s %s: the error holds the token", kind, name)
			}
			// nor can such a one be disabled, which would fill the table
			if c.status == invalidToken && name != "no UUID" && !strings.HasPrefix(name, "UUID") {
				if err := d.disable(kind, c.token); err != nil {
					t.Errorf("%s %s: disable: %v", kind, name, err)
				}
			}
		}
		if n := asked[int](d, "SELECT count(*) FROM terasocket.disabled_tokens"); n != 0 {
			t.Errorf("%s: %d tokens that are none were disabled", kind, n)
		}
		// the clock of the gateway
		d.clock.Store(int64(59 * time.Minute))
		if _, err := d.byToken(kind, good); err != nil {
			t.Errorf("%s: after 59 minutes: %v", kind, err)
		}
		d.clock.Store(int64(61 * time.Minute))
		_, err := d.byToken(kind, good)
		mustRefuse(t, kind.String()+" after 61 minutes", err, expiredToken, who.UUID)
		d.clock.Store(0)
		// who is disabled or gone since
		table := "t_" + kind.String() + "s"
		d.do("UPDATE " + table + " SET " + kind.String() + "_enabled = false WHERE " + claim + " = '" + who.UUID + "'")
		_, err = d.byToken(kind, good)
		mustRefuse(t, kind.String()+" disabled", err, disabledLogin, who.UUID)
		d.do("UPDATE " + table + " SET " + kind.String() + "_enabled = true, deleted_at = now() WHERE " + claim + " = '" + who.UUID + "'")
		_, err = d.byToken(kind, good)
		mustRefuse(t, kind.String()+" deleted", err, invalidToken, "")
		d.do("UPDATE " + table + " SET deleted_at = NULL WHERE " + claim + " = '" + who.UUID + "'")
		if _, err := d.byToken(kind, good); err != nil {
			t.Errorf("%s: back again: %v", kind, err)
		}
	}
	// every kind's token for every other kind
	tokens := map[string]string{"user": d.tokenOf(access.User, opentera.DemoProjectUserID), "participant": d.tokenOf(access.Participant, opentera.DemoParticipantID),
		"static": static, "device": device, "service": signed(t, jwt.SigningMethodHS256, []byte(serviceKey), jwt.MapClaims{"service_uuid": opentera.DemoVideoRehabServiceUUID, "exp": hour})}
	services := &access.Services{Pool: d.pool}
	for name, token := range tokens {
		for _, kind := range access.Kinds {
			_, err := d.byToken(kind, token)
			if isOwn := name == kind.String() || name == "static" && kind == access.Participant; isOwn != (err == nil) {
				t.Errorf("the token %q as a %s: %v", name, kind, err)
			}
		}
		if _, err := services.Service(t.Context(), token); (name == "service") != (err == nil) {
			t.Errorf("the token %q as a service's: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{
		func() error { _, err := d.users.ByToken(ended, tokens["user"]); return err }(),
		func() error { _, err := d.participants.ByToken(ended, tokens["participant"]); return err }(),
		func() error { _, err := d.users.Token(ended, 9, time.Hour); return err }(),
		func() error { _, err := d.participants.Token(ended, 1, time.Hour); return err }(),
		d.users.Disable(ended, tokens["user"]), d.participants.Disable(ended, tokens["participant"]),
		d.users.Logout(ended, dynamic[access.User], tokens["user"]), d.users.Logout(ended, dynamic[access.User], ""),
	} {
		if err == nil || errors.Is(err, access.ErrUnauthorized) || strings.Contains(err.Error(), tokens["user"]) {
			t.Errorf("no database: %v", err)
		}
	}
}

// A disabled token is refused on every gateway under every spelling, and stays so until it has expired by any clock.
func TestDisabledTokens(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	for kind, who := range dynamic {
		token, kept := gateways[0].tokenOf(kind, who.ID), gateways[0].tokenOf(kind, who.ID)
		if err := gateways[0].disable(kind, token); err != nil {
			t.Fatal(err)
		}
		spellings := []string{token, token + "\n", token[:len(token)-1] + "\n" + token[len(token)-1:], token + "="}
		for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" { // 2 of its bits do not count
			spellings = append(spellings, token[:len(token)-1]+string(last))
		}
		for _, d := range gateways {
			for _, spelling := range spellings {
				_, err := d.byToken(kind, spelling)
				mustRefuse(t, kind.String(), err, invalidToken, "")
			}
			if _, err := d.byToken(kind, kept); err != nil {
				t.Errorf("%s: another token of the same principal: %v", kind, err)
			}
		}
		// the second time it is refused: of two refreshes with one token one succeeds
		mustRefuse(t, kind.String()+" disabled again", gateways[1].disable(kind, token), invalidToken, "")
		// not kept in clear
		if n := asked[int](gateways[0], "SELECT count(*) FROM terasocket.disabled_tokens d WHERE d::text LIKE '%' || $1 || '%' OR hash = convert_to($1, 'UTF8')", token); n != 0 {
			t.Errorf("%s: stored in clear", kind)
		}
	}
	d := gateways[0]
	tokens := &access.Tokens{Pool: d.pool}
	d.do("UPDATE terasocket.disabled_tokens SET expires_at = clock_timestamp() - interval '59 minutes'")
	if n, err := tokens.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d while a slow clock may still take it, %v", n, err)
	}
	d.do("UPDATE terasocket.disabled_tokens SET expires_at = clock_timestamp() - interval '61 minutes'")
	if n, err := tokens.Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("swept %d, %v; want 2", n, err)
	}

	var first, later atomic.Int32
	token := d.tokenOf(access.User, opentera.DemoProjectUserID)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			switch err := gateways[i%2].disable(access.User, token); {
			case err == nil:
				first.Add(1)
			case errors.Is(err, access.ErrUnauthorized):
				later.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if first.Load() != 1 || later.Load() != 39 {
		t.Errorf("%d refreshes succeed, %d are refused", first.Load(), later.Load())
	}
}

// After a logout nothing that the principal holds opens anything, but for its password and its static token; nobody else
// is concerned.
func TestLogout(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	connects := &access.Tokens{Pool: d.pool}
	static := asked[string](d, "SELECT participant_token FROM t_participants WHERE id_participant = 1")
	device := access.Identity{Principal: access.Principal{Kind: access.Device, ID: opentera.DemoDeviceID}, UUID: opentera.DemoDeviceUUID}
	others := map[access.Kind]string{access.User: opentera.DemoOtherProjectUserUUID, access.Participant: opentera.DemoOtherParticipantUUID, access.Device: opentera.DemoOtherDeviceUUID}
	for kind, id := range map[access.Kind]access.Identity{access.User: dynamic[access.User], access.Participant: dynamic[access.Participant], access.Device: device} {
		mine := []string{create(t, connects, kind, id.UUID), create(t, connects, kind, id.UUID)}
		theirs := create(t, connects, kind, others[kind])
		token, session := "", ""
		if kind != access.Device {
			token = d.tokenOf(kind, id.ID)
		}
		if kind == access.User {
			var err error
			if session, err = d.users.StartSession(t.Context(), id.ID); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.logout(kind, id, token); err != nil {
			t.Fatal(err)
		}
		for _, connect := range mine {
			refused(t, connects, kind, connect)
		}
		if _, err := connects.Redeem(t.Context(), kind, theirs); err != nil {
			t.Errorf("%s: somebody else's connect token: %v", kind, err)
		}
		if token != "" {
			_, err := d.byToken(kind, token)
			mustRefuse(t, kind.String(), err, invalidToken, "")
			if err := d.logout(kind, id, token); err != nil {
				t.Errorf("%s: logged out twice: %v", kind, err)
			}
		}
		if session != "" {
			_, err := d.users.BySession(t.Context(), session)
			mustRefuse(t, "second step", err, invalidToken, "")
		}
		topic := "module.TeraServer.TwistedModule.events." + id.UUID
		if n := asked[int](d, "SELECT count(*) FROM terasocket.events WHERE topic = $1 AND object_type = $2 AND object_id = $3 AND body ->> 'type' = 'CMD_CLIENT_DISCONNECT'", topic, kind.String(), id.ID); n < 1 {
			t.Errorf("%s: not kicked", kind)
		}
	}
	// a static token stays good, also when it is what the logout was called with
	if err := d.participants.Logout(t.Context(), dynamic[access.Participant], static); err != nil {
		t.Error(err)
	}
	if login, err := d.participants.ByToken(t.Context(), static); err != nil || login.IsFull || login.IsDynamic || login.BaseToken == nil || *login.BaseToken != static || login.ProjectID != 1 {
		t.Errorf("static token: %+v, %v", login, err)
	}
	if n := asked[int](d, "SELECT count(*) FROM terasocket.disabled_tokens"); n != 2 {
		t.Errorf("%d tokens disabled, want 2", n)
	}
	if n := asked[int](d, "SELECT count(*) FROM terasocket.events WHERE topic LIKE 'module.TeraServer.TwistedModule.events.%' AND object_id NOT IN (1, 9)"); n != 0 {
		t.Errorf("%d others kicked", n)
	}
	// without any token, by password
	if err := d.users.Logout(t.Context(), dynamic[access.User], ""); err != nil {
		t.Error(err)
	}
	// a token of another kind is not disabled by it
	token := d.tokenOf(access.Participant, opentera.DemoParticipantID)
	if err := d.users.Logout(t.Context(), dynamic[access.User], token); err != nil {
		t.Error(err)
	}
	if _, err := d.byToken(access.Participant, token); err != nil {
		t.Error(err)
	}
}

// The sheet's row "token, static" of 4.1.
func TestStaticParticipantTokens(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	key := []byte(asked[string](d, "SELECT server_settings_value FROM t_server_settings WHERE server_settings_name = 'ParticipantTokenEncryptionKey'"))
	claims := jwt.MapClaims{"iss": "TeraServer", "jti": "1", "participant_uuid": opentera.DemoParticipantUUID, "id_participant": 1}
	good := signed(t, jwt.SigningMethodHS256, key, claims)
	for name, c := range map[string]struct {
		token, sql string
		status     protocol.LoginEvent_LoginStatus
		who        string
	}{
		"good":           {token: good},
		"not in the row": {good, "participant_token = 'another'", invalidToken, ""},
		"disabled":       {good, "participant_enabled = false", disabledLogin, opentera.DemoParticipantUUID},
		"not enabled":    {good, "participant_token_enabled = false", disabledLogin, opentera.DemoParticipantUUID},
		"deleted":        {good, "deleted_at = now()", invalidToken, ""},
		"other key":      {signed(t, jwt.SigningMethodHS256, []byte("x"), claims), "", invalidToken, ""}, // OpenTera answers 500
		"device's key": {signed(t, jwt.SigningMethodHS256, []byte(asked[string](d, "SELECT server_settings_value FROM t_server_settings WHERE server_settings_name = 'TokenEncryptionKey'")), claims),
			"", invalidToken, ""},
		"empty key":   {signed(t, jwt.SigningMethodHS256, []byte{}, claims), "", invalidToken, ""},
		"alg none":    {signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims), "", invalidToken, ""},
		"HS512":       {signed(t, jwt.SigningMethodHS512, key, claims), "", invalidToken, ""},
		"another one": {signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"participant_uuid": opentera.DemoOtherParticipantUUID}), "", invalidToken, ""},
		"no claim":    {signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{}), "", invalidToken, ""},
		"expired": {signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"participant_uuid": opentera.DemoParticipantUUID, "exp": time.Now().Add(-time.Hour).Unix()}), "",
			expiredToken, opentera.DemoParticipantUUID},
		// a bad token of a disabled participant does not tell whose it is
		"disabled, other key": {signed(t, jwt.SigningMethodHS256, []byte("x"), claims), "participant_enabled = false", invalidToken, ""},
	} {
		d.do("UPDATE t_participants SET participant_token = $1, participant_enabled = true, participant_token_enabled = true, deleted_at = NULL WHERE id_participant = 1", c.token)
		if c.sql != "" {
			d.do("UPDATE t_participants SET " + c.sql + " WHERE id_participant = 1")
		}
		login, err := d.participants.ByToken(t.Context(), c.token)
		if c.status != 0 {
			mustRefuse(t, name, err, c.status, c.who)
		} else if err != nil || login.IsFull || login.IsDynamic || login.ID != 1 || login.BaseToken == nil || *login.BaseToken != good {
			t.Errorf("%s: %+v, %v", name, login, err)
		}
	}
	d.do("UPDATE t_participants SET participant_token = $1, participant_enabled = true, participant_token_enabled = true, deleted_at = NULL WHERE id_participant = 1", good)
	signedEmpty := signed(t, jwt.SigningMethodHS256, []byte{}, claims)
	for _, sql := range []string{"UPDATE t_server_settings SET server_settings_value = '' WHERE server_settings_name = 'ParticipantTokenEncryptionKey'",
		"DELETE FROM t_server_settings WHERE server_settings_name = 'ParticipantTokenEncryptionKey'"} {
		d.do(sql)
		for _, token := range []string{good, signedEmpty} {
			d.do("UPDATE t_participants SET participant_token = $1 WHERE id_participant = 1", token)
			if login, err := d.participants.ByToken(t.Context(), token); err == nil || errors.Is(err, access.ErrUnauthorized) || login != (access.ParticipantLogin{}) {
				t.Errorf("%s: %+v, %v", sql, login, err)
			}
		}
	}
	// dynamic tokens do without that setting
	if _, err := d.byToken(access.Participant, d.tokenOf(access.Participant, opentera.DemoOtherParticipantID)); err != nil {
		t.Error(err)
	}
}
