package access_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"terasocket/access"
	"terasocket/db/opentera"
	protocol "terasocket/proto/opentera"
)

// tokenOf signs a dynamic token for a principal.
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

// byToken logs in by a token of the given kind.
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

// dynamic are the kinds with dynamic tokens, and one identity of each.
var dynamic = map[access.Kind]access.Identity{
	access.User:        {Principal: access.Principal{Kind: access.User, ID: opentera.DemoProjectUserID}, UUID: opentera.DemoProjectUserUUID},
	access.Participant: {Principal: access.Principal{Kind: access.Participant, ID: opentera.DemoParticipantID}, UUID: opentera.DemoParticipantUUID},
}

// Invalid dynamic tokens are refused.
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
			// nor can an invalid token be disabled, which would fill the table
			if c.status == invalidToken && name != "no UUID" && !strings.HasPrefix(name, "UUID") {
				mustRefuse(t, kind.String()+" "+name+", disabled", d.disable(kind, c.token), invalidToken, "")
			}
		}
		if n := asked[int](d, "SELECT count(*) FROM terasocket.disabled_tokens"); n != 0 {
			t.Errorf("%s: %d invalid tokens were disabled", kind, n)
		}
		// the gateway's clock
		d.clock.Store(int64(59 * time.Minute))
		if _, err := d.byToken(kind, good); err != nil {
			t.Errorf("%s: after 59 minutes: %v", kind, err)
		}
		d.clock.Store(int64(61 * time.Minute))
		_, err := d.byToken(kind, good)
		mustRefuse(t, kind.String()+" after 61 minutes", err, expiredToken, who.UUID)
		d.clock.Store(0)
		// disabled or deleted since
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
	// the token of every kind, used as every other kind
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
