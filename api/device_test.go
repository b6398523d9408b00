package api

import (
	"net/http"
	"strings"
	"testing"

	"terasocket/access"
	"terasocket/db/opentera"
)

const deviceLogin = "/api/device/login"

// proxied is a request passed on by a trusted proxy for a client with a verified certificate of this subject.
func proxied(subject string) with {
	return func(r *http.Request) {
		from("10.0.0.1")(r)
		r.Header.Set("X-SSL-CLIENT-DN", subject)
		r.Header.Set("X-SSL-VERIFIED", "SUCCESS")
	}
}

// Section 5.1, in its order.
func TestDeviceCredentials(t *testing.T) {
	t.Parallel()
	h := opened(t)
	good, other := h.staticToken("device", opentera.DemoDeviceID), h.staticToken("device", opentera.DemoOtherDeviceID)
	disabled := h.staticToken("device", opentera.DemoDisabledDeviceID)
	const uuid, disabledUUID = opentera.DemoDeviceUUID, opentera.DemoDisabledDeviceUUID
	const nobody, isDisabled, wrong = `"Unauthorized"`, `"Disabled device"`, `"Invalid token"`
	h.get(deviceLogin, proxied("UID="+uuid+",CN=Device")).must(401, nobody) // no --proxy-certificates
	h.api.Proxies.Certificates = true
	spoofed := func(r *http.Request) {
		proxied("UID=" + uuid + ",CN=Device")(r)
		from("192.0.2.7")(r)
	}
	for name, c := range map[string]struct {
		query string
		show  []with
		body  string
	}{
		"nothing":                               {"", nil, nobody},
		"Basic":                                 {"", []with{basic(user, password)}, nobody},
		"a bad token":                           {"", []with{token("x")}, nobody},
		"another scheme":                        {"", []with{header("Authorization", "opentera "+good)}, nobody},
		"a header without a blank":              {"?token=" + good, []with{header("Authorization", good)}, wrong},
		"a participant's token":                 {"", []with{token(h.staticToken("participant", patientID))}, nobody},
		"disabled, by the header":               {"?token=" + good, []with{token(disabled)}, isDisabled},
		"disabled, by the argument":             {"?token=" + disabled, nil, nobody},
		"disabled, by certificate":              {"?token=" + good, []with{proxied("UID=" + disabledUUID + ",CN=Device")}, isDisabled},
		"X-Device-UUID":                         {"", []with{header("X-Device-UUID", uuid)}, nobody},
		"X-Device-UUID through the proxy":       {"", []with{from("10.0.0.1"), header("X-Device-UUID", uuid)}, nobody},
		"a subject that no proxy has sent":      {"", []with{spoofed}, nobody},
		"a subject that is not verified":        {"", []with{proxied("UID=" + uuid + ",CN=Device"), header("X-SSL-VERIFIED", "FAILED:expired")}, nobody},
		"a subject without a verdict":           {"", []with{proxied("UID=" + uuid + ",CN=Device"), header("X-SSL-VERIFIED", "")}, nobody},
		"a participant's certificate":           {"", []with{proxied("UID=" + uuid + ",CN=Participant")}, nobody},
		"a UID within another value":            {"", []with{proxied(`CN=Device\,UID=` + uuid)}, nobody},
		"two UIDs":                              {"", []with{proxied("UID=" + uuid + ",UID=" + uuid + ",CN=Device")}, nobody},
		"two subjects":                          {"", []with{proxied("UID=" + uuid + ",CN=Device"), func(r *http.Request) { r.Header.Add("X-SSL-CLIENT-DN", "CN=x") }}, nobody},
		"an unknown certificate":                {"", []with{proxied("UID=00000000-0000-4000-8000-000000000000,CN=Device")}, nobody},
		"a device of that name, its UUID short": {"", []with{proxied("UID=" + uuid[1:] + ",CN=Device")}, nobody},
	} {
		if r := h.get(deviceLogin+c.query, c.show...).must(401, c.body); r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", name, r.header)
		}
	}
	h.get(deviceLogin, token(disabled), header("Accept-Language", "fr")).must(401, `"Appareil désactivé"`)
	h.get(deviceLogin, header("Authorization", "x"), header("Accept-Language", "fr")).must(401, `"Jeton invalide"`)

	for name, c := range map[string]struct {
		query string
		show  []with
		uuid  string
	}{
		"the header":                          {"", []with{token(good)}, uuid},
		"the argument":                        {"?token=" + good, nil, uuid},
		"the header first":                    {"?token=" + other, []with{token(good)}, uuid},
		"the argument, after a bad header":    {"?token=" + other, []with{token("x")}, opentera.DemoOtherDeviceUUID},
		"certificate":                         {"", []with{proxied("UID=" + uuid + ",CN=Device,O=Clinic\\, Inc.")}, uuid},
		"certificate, as OpenSSL turns it":    {"", []with{proxied("C=CA,CN=Device,UID=" + uuid)}, uuid},
		"certificate first":                   {"", []with{proxied("UID=" + uuid + ",CN=Device"), token(other)}, uuid},
		"the header, after an unknown device": {"", []with{proxied("UID=00000000-0000-4000-8000-000000000000,CN=Device"), token(good)}, uuid},
	} {
		o := h.get(deviceLogin+c.query, c.show...).object("device_info", "participants_info", "session_types_info", "websocket_url")
		if got := o["device_info"].(map[string]any)["device_uuid"]; got != c.uuid {
			t.Errorf("%s is %v", name, got)
		}
	}
}

// Section 5.2.
func TestDeviceLogin(t *testing.T) {
	t.Parallel()
	h := opened(t)
	good := token(h.staticToken("device", opentera.DemoDeviceID))
	h.get(deviceLogin+"?with_websocket=true", good).must(400, `{"message": "Unknown arguments: with_websocket"}`)
	const others = "SELECT (to_jsonb(d) - 'device_lastonline')::text FROM t_devices d WHERE id_device = $1"
	before := value[string](h, others, opentera.DemoDeviceID)
	o := h.get(deviceLogin, good).object("device_info", "participants_info", "session_types_info", "websocket_url")
	if id := h.redeemed(access.Device, o["websocket_url"]); id.ID != opentera.DemoDeviceID {
		t.Errorf("%v", id)
	}
	info := o["device_info"].(map[string]any)
	for _, key := range []string{"device_config", "device_enabled", "device_infos", "device_lastonline", "device_name", "device_notes", "device_onlineable", "device_token",
		"device_uuid", "id_device", "id_device_subtype", "id_device_type", "device_type"} {
		if _, ok := info[key]; !ok {
			t.Errorf("no %s in %v", key, info)
		}
	}
	people := o["participants_info"].([]any)
	if len(people) != 2 || people[0].(map[string]any)["participant_uuid"] != opentera.DemoParticipantUUID || len(people[0].(map[string]any)) != 2 {
		t.Errorf("%v", people)
	}
	if len(o["session_types_info"].([]any)) == 0 {
		t.Error("no session types")
	}
	if !value[bool](h, "SELECT device_lastonline > now() - interval '1 min' FROM t_devices WHERE id_device = $1", opentera.DemoDeviceID) {
		t.Error("device_lastonline is not stamped")
	}
	if after := value[string](h, others, opentera.DemoDeviceID); after != before {
		t.Errorf("another column changed: %s, was %s", after, before)
	}
	h.connect("device", opentera.DemoDeviceID, "1 min")
	h.get(deviceLogin, good).must(403, `"Device already logged in."`)
	h.get(deviceLogin, good, header("Accept-Language", "fr;q=0.5, de")).must(403, `"L'appareil est déjà connecté."`)
	h.exec("UPDATE t_devices SET device_onlineable = false WHERE id_device = $1", opentera.DemoDeviceID)
	h.get(deviceLogin, good).object("device_info", "participants_info", "session_types_info")
}

func TestDeviceLogout(t *testing.T) {
	t.Parallel()
	h := opened(t)
	good := token(h.staticToken("device", opentera.DemoDeviceID))
	h.get("/api/device/logout").must(401, `"Unauthorized"`)
	url := h.get(deviceLogin, good).object("device_info", "participants_info", "session_types_info", "websocket_url")["websocket_url"].(string)
	h.get("/api/device/logout?anything=1", good).must(200, `"Device logged out."`)
	if id, err := h.api.Door.Tokens.Redeem(t.Context(), access.Device, strings.TrimPrefix(url, "wss://tera.example:443/wss/device?id=")); err == nil {
		t.Errorf("a URL from before the logout lets %v in", id)
	}
	h.get(deviceLogin, good).object("device_info", "participants_info", "session_types_info", "websocket_url") // no token was disabled
	if n := logged[int](h, "SELECT count(*) FROM terasocket.events WHERE type = 'terasocket.Kick' AND object_type = 'device' AND object_id = $1", opentera.DemoDeviceID); n != 1 {
		t.Errorf("%d kicks", n)
	}
}

func TestParseSubject(t *testing.T) {
	t.Parallel()
	for dn, want := range map[string][]attribute{
		"":                          nil,
		"CN":                        nil,
		"=x":                        nil,
		"CN=a,":                     nil,
		`CN=a\`:                     nil,
		`CN="a,UID=b"`:              nil,
		"/C=CA/CN=Device":           nil, // nginx's legacy form has no escapes
		"CN=a;UID=b":                nil,
		"CN=":                       {{"CN", ""}},
		"cn=a, uid = b":             {{"CN", "a"}, {"UID", " b"}},
		`CN=a\,UID=b`:               {{"CN", "a,UID=b"}},
		`CN=a\2CUID\3Db+OU=\C3\A9`:  {{"CN", "a,UID=b"}, {"OU", "é"}},
		"UID=u,CN=Device,O=x=y":     {{"UID", "u"}, {"CN", "Device"}, {"O", "x=y"}},
		`CN=\ a\\,1.2.840=\#0500`:   {{"CN", ` a\`}, {"1.2.840", "#0500"}},
		"CN=Device,UID=u,CN=Device": {{"CN", "Device"}, {"UID", "u"}, {"CN", "Device"}},
	} {
		got, ok := parseSubject(dn)
		if ok != (want != nil) || len(got) != len(want) {
			t.Errorf("%s: %v, %t", dn, got, ok)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", dn, got, want)
			}
		}
	}
}
