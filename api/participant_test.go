package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"terasocket/access"
	"terasocket/db/opentera"
)

const (
	participantLogin = "/api/participant/login"
	patient          = opentera.DemoParticipant
	patientID        = opentera.DemoParticipantID
)

func (h *house) staticToken(kind string, id int) string {
	h.Helper()
	return value[string](h, "SELECT "+kind+"_token FROM t_"+kind+"s WHERE id_"+kind+" = $1", id)
}

// Section 4.1, failures.
func TestParticipantLoginRefused(t *testing.T) {
	t.Parallel()
	h := opened(t)
	static := h.staticToken("participant", patientID)
	h.exec("UPDATE t_participants SET participant_password = NULL WHERE id_participant = $1", opentera.DemoOtherParticipantID)
	for _, show := range []with{
		func(*http.Request) {},
		basic("nobody", password),
		basic(patient, "wrong"),
		basic(opentera.DemoDisabledParticipant, password),
		basic(opentera.DemoOtherParticipant, password), // no password: OpenTera answers 500
		basic(user, password),
		token("x"),
		token(static[:len(static)-2]),
		token(h.staticToken("device", opentera.DemoDeviceID)),
		header("Authorization", "opentera "+static),
		header("Authorization", static),
	} {
		if r := h.get(participantLogin, show).must(401, unauthorizedText); r.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%v", r.header)
		}
	}
	h.get(participantLogin+"?token="+static).must(401, unauthorizedText)
	for change, back := range map[string]string{
		"participant_token_enabled = false": "participant_token_enabled = true",
		"participant_enabled = false":       "participant_enabled = true",
		"deleted_at = now()":                "deleted_at = NULL",
	} {
		h.exec("UPDATE t_participants SET "+change+" WHERE id_participant = $1", patientID)
		h.get(participantLogin, token(static)).must(401, unauthorizedText)
		h.exec("UPDATE t_participants SET "+back+" WHERE id_participant = $1", patientID)
	}
	h.exec("UPDATE t_participants SET participant_login_enabled = false WHERE id_participant = $1", patientID)
	h.get(participantLogin, basic(patient, password)).must(401, unauthorizedText)
	h.exec("UPDATE t_server_settings SET server_settings_value = 'another key, thirty-two characters' WHERE server_settings_name = 'ParticipantTokenEncryptionKey'")
	h.get(participantLogin, token(static)).must(401, unauthorizedText) // OpenTera: 500
}

func TestParticipantLoginAttempts(t *testing.T) {
	t.Parallel()
	h := opened(t)
	for range 5 {
		h.get(participantLogin, basic(patient, "wrong")).must(401, unauthorizedText)
	}
	h.get(participantLogin, basic(patient, password)).must(429, tooManyBody)
	if r := h.get(participantLogin, token(h.staticToken("participant", patientID))); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Section 4.2.
func TestParticipantLogin(t *testing.T) {
	t.Parallel()
	h := opened(t)
	static := h.staticToken("participant", patientID)
	const others = "SELECT (to_jsonb(p) - 'participant_lastonline')::text FROM t_participants p WHERE id_participant = $1"
	before := value[string](h, others, patientID)
	limited := []string{"participant_name", "participant_uuid", "base_token", "session_types_info"}
	url := []string{"websocket_url"}
	full := slices.Concat(limited, []string{"participant_token"})

	h.get(participantLogin+"?with_websocket=x", basic(patient, password)).must(400, `{"errors": {"with_websocket": "must be true or false"}, "message": "Input payload validation failed"}`)
	o := h.get(participantLogin+"?unknown=1", basic(patient, password)).object(slices.Concat(full, url)...) // asked for or not
	if o["participant_uuid"] != opentera.DemoParticipantUUID || o["base_token"] != static {
		t.Errorf("%v", o)
	}
	types := o["session_types_info"].([]any)
	if len(types) == 0 {
		t.Error("no session types")
	}
	for _, each := range types {
		keys := each.(map[string]any)
		for _, key := range []string{"id_service", "id_session_type", "session_type_category", "session_type_color", "session_type_name"} {
			if _, ok := keys[key]; !ok || len(keys) != 5 {
				t.Errorf("%v", keys)
			}
		}
	}
	if id := h.redeemed(access.Participant, o["websocket_url"]); id.ID != patientID {
		t.Errorf("%v", id)
	}
	dynamic := o["participant_token"].(string)
	var claims jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(dynamic, &claims); err != nil || claims["participant_uuid"] != opentera.DemoParticipantUUID || claims["exp"].(float64)-claims["iat"].(float64) != 3600 {
		t.Errorf("%v, %v", claims, err)
	}
	h.get(participantLogin, token(dynamic)).object(slices.Concat(full, url)...)
	h.get(participantLogin, token(static)).object(slices.Concat(limited, url)...)
	if !value[bool](h, "SELECT participant_lastonline > now() - interval '1 min' FROM t_participants WHERE id_participant = $1", patientID) {
		t.Error("participant_lastonline is not stamped")
	}
	if after := value[string](h, others, patientID); after != before {
		t.Errorf("another column changed: %s, was %s", after, before)
	}
	h.get("/api/user/users/online", token(dynamic)).must(401, unauthorizedText)

	h.connect("participant", patientID, "1 min")
	const already = `"Participant already logged in."`
	h.get(participantLogin+"?with_websockets=true", token(static)).must(403, already)
	h.get(participantLogin+"?with_websocket=true", basic(patient, password), header("Accept-Language", "fr")).must(403, `"Le participant est déjà connecté."`)
	h.get(participantLogin, token(static)).object(limited...)
	h.get(participantLogin+"?with_websocket=false", basic(patient, password)).object(full...)
	h.exec("UPDATE terasocket.gateways SET lease_until = now()")
	h.get(participantLogin, token(static)).object(slices.Concat(limited, url)...)

	h.exec("UPDATE t_participants SET participant_token = NULL WHERE id_participant = $1", patientID)
	if o := h.get(participantLogin, basic(patient, password)).object(slices.Concat(full, url)...); o["base_token"] != nil {
		t.Errorf("%v", o)
	}
	h.get(participantLogin, token(static)).must(401, unauthorizedText)
}

// Section 4.3.
func TestParticipantLogoutAndRefresh(t *testing.T) {
	t.Parallel()
	h := opened(t)
	const logout, refresh = "/api/participant/logout", "/api/participant/refresh_token"
	static := h.staticToken("participant", patientID)
	h.get(logout).must(401, unauthorizedText)
	h.get(refresh).must(401, unauthorizedText)
	h.get(refresh, basic(patient, password)).must(401, unauthorizedText)
	if r := h.get(refresh, token(static)).must(403, unauthorizedText); r.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%v", r.header)
	}
	login := func() map[string]any {
		return h.get(participantLogin, basic(patient, password)).object("participant_name", "participant_uuid", "base_token", "session_types_info", "participant_token", "websocket_url")
	}
	first := login()
	fresh := h.get(refresh, header("Authorization", "opentera "+first["participant_token"].(string))).object("refresh_token")["refresh_token"].(string)
	h.get(refresh, token(first["participant_token"].(string))).must(401, unauthorizedText)
	h.get(logout, token(fresh), header("Accept-Language", "fr")).must(200, `"Participant hors ligne."`)
	h.get(participantLogin, token(fresh)).must(401, unauthorizedText)
	secret := strings.TrimPrefix(first["websocket_url"].(string), "wss://tera.example:443/wss/participant?id=")
	if id, err := h.api.Door.Tokens.Redeem(t.Context(), access.Participant, secret); err == nil {
		t.Errorf("a URL from before the logout lets %v in", id)
	}
	h.get(logout, token(static)).must(200, `"Participant logged out."`)
	h.get(logout, token(static)).must(200, `"Participant logged out."`) // a static token stays valid
	if n := logged[int](h, "SELECT count(*) FROM terasocket.events WHERE type = 'terasocket.Kick' AND object_type = 'participant' AND object_id = $1", patientID); n != 3 {
		t.Errorf("%d kicks", n)
	}
	last := login()["participant_token"].(string)
	h.wait(time.Hour + time.Minute)
	h.get(refresh, token(last)).must(401, unauthorizedText)
}
