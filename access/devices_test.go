package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"terasocket/access"
)

func TestDeviceTokens(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	devices := &access.Devices{Pool: f.pool}
	key := []byte("tokens of devices")
	f.do(row("t_server_settings", 1, "server_settings_name='TokenEncryptionKey'", "server_settings_value='"+string(key)+"'"))
	claims := jwt.MapClaims{"iss": "TeraServer", "jti": "1", "device_uuid": "de000000-41", "id_device": 41}
	good := signed(t, jwt.SigningMethodHS256, key, claims)
	parts := strings.Split(good, ".")
	for name, test := range map[string]struct {
		token string // the token sent
		row   string // the token stored for device 41; "": the same
		sql   string
		err   error
	}{
		"good":           {token: good},
		"disabled":       {token: good, sql: "device_enabled = false", err: access.ErrDisabled},
		"deleted":        {token: good, sql: "deleted_at = now()", err: access.ErrUnauthorized},
		"replaced":       {token: good, row: "another", err: access.ErrUnauthorized},
		"none":           {token: good, sql: "device_token = NULL", err: access.ErrUnauthorized},
		"empty":          {token: "", row: "", err: access.ErrUnauthorized},
		"no token":       {token: "abc", err: access.ErrUnauthorized},
		"zero byte":      {token: "a\x00", row: "a", err: access.ErrUnauthorized},
		"no UTF-8":       {token: "\xff", row: "a", err: access.ErrUnauthorized},
		"long":           {token: strings.Repeat("x", 5000), row: "a", err: access.ErrUnauthorized},
		"other key":      {token: signed(t, jwt.SigningMethodHS256, []byte("x"), claims), err: access.ErrUnauthorized},
		"empty key":      {token: signed(t, jwt.SigningMethodHS256, []byte{}, claims), err: access.ErrUnauthorized},
		"alg none":       {token: signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims), err: access.ErrUnauthorized},
		"HS512":          {token: signed(t, jwt.SigningMethodHS512, key, claims), err: access.ErrUnauthorized},
		"no signature":   {token: parts[0] + "." + parts[1] + ".", err: access.ErrUnauthorized},
		"another device": {token: signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"device_uuid": "de000000-42"}), err: access.ErrUnauthorized},
		"no claim":       {token: signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{}), err: access.ErrUnauthorized},
		"expired":        {token: signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"device_uuid": "de000000-41", "exp": time.Now().Add(-time.Hour).Unix()}), err: access.ErrUnauthorized},
		// a bad token does not reveal that its device is disabled
		"disabled, other key": {token: signed(t, jwt.SigningMethodHS256, []byte("x"), claims), sql: "device_enabled = false", err: access.ErrUnauthorized},
	} {
		has := test.row
		if has == "" {
			has = test.token
		}
		f.do(update("t_devices", 41, "device_token = '"+strings.ToValidUTF8(strings.ReplaceAll(has, "\x00", ""), "")+"', device_enabled = true, deleted_at = NULL"))
		if test.sql != "" {
			f.do(update("t_devices", 41, test.sql))
		}
		device, err := devices.Device(t.Context(), test.token)
		want := access.Identity{}
		if test.err == nil || errors.Is(test.err, access.ErrDisabled) { // the audit names the device
			want = access.Identity{Principal: access.Principal{Kind: access.Device, ID: 41}, UUID: "de000000-41", Name: "device 41"}
		}
		if device != want || !errors.Is(err, test.err) || err != nil && test.err == nil {
			t.Errorf("%s: %+v, %v; want %v", name, device, err, test.err)
		}
	}
	f.do(update("t_devices", 41, "device_token = '"+good+"', device_enabled = true, deleted_at = NULL"))
	if _, err := devices.Device(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"UPDATE t_server_settings SET server_settings_value = '' WHERE id_server_settings = 1", "DELETE FROM t_server_settings WHERE id_server_settings = 1"} {
		f.do(sql)
		if _, err := devices.Device(t.Context(), good); err == nil || errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := devices.Device(ended, good); err == nil || errors.Is(err, access.ErrUnauthorized) || strings.Contains(err.Error(), good) {
		t.Errorf("no database: %v", err)
	}
}

func TestSetStatus(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	devices := &access.Devices{Pool: f.pool}
	f.skip()
	if isOnline, err := devices.SetStatus(t.Context(), 41, "{}", 1); err != nil || isOnline {
		t.Errorf("offline: %t, %v", isOnline, err)
	}
	f.do(everybodyOnline)
	const status = `{"battery": 0.5, "x": "\u0000 é"}`
	for at, text := range map[float64]string{1732345678.123456: "1732345678.123456", 1e22: "10000000000000000000000", -1: "-1", 0.1: "0.1"} {
		if isOnline, err := devices.SetStatus(t.Context(), 41, status, at); err != nil || !isOnline {
			t.Errorf("online: %t, %v", isOnline, err)
		}
		list, err := f.online().Devices(t.Context(), siteUser)
		if err != nil || len(list) != 1 || list[0].Status.Status == nil || *list[0].Status.Status != (access.DeviceStatus{Text: status, At: json.Number(text)}) {
			t.Errorf("listed %+v, %v", list, err)
		}
	}
	f.announce()
	if n := one[int](f, "SELECT count(*) FROM terasocket.events WHERE seq > $1 AND body ->> 'type' = 'DEVICE_STATUS_CHANGED'", f.mark); n != 4 {
		t.Errorf("announced %d times", n)
	}
}
