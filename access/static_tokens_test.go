package access_test

import (
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"terasocket/access"
	"terasocket/db/opentera"
	protocol "terasocket/proto/opentera"
)

// The row "token, static" of the sheet's table 4.1.
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
		// a bad token of a disabled participant does not reveal its owner
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
	// dynamic tokens do not need that setting
	if _, err := d.byToken(access.Participant, d.tokenOf(access.Participant, opentera.DemoOtherParticipantID)); err != nil {
		t.Error(err)
	}
}
