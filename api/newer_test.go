package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"terasocket/access"
	"terasocket/db/opentera"
)

// A login begun without a socket ends without one, whatever its second step asks for.
func TestASecondStepWithoutASocket(t *testing.T) {
	t.Parallel()
	h := opened(t)
	h.exec("UPDATE t_users SET user_2fa_enabled = true, user_2fa_otp_enabled = true, user_2fa_otp_secret = 'JBSWY3DPEHPK3PXP' WHERE id_user = $1", userID)
	second := func(query string) *reply {
		t.Helper()
		login := h.get(userLogin+query, basic(user, password))
		want := "/login_validate_2fa?with_websocket=" + map[bool]string{true: "true", false: "false"}[strings.Contains(query, "=true")]
		if o := login.object("message", "reason", "redirect_url"); o["redirect_url"] != want {
			t.Errorf("%v, want %s", o["redirect_url"], want)
		}
		h.wait(time.Minute) // a code is good once
		return h.get("/api/user/login/2fa?with_websocket=true&otp_code="+h.code("JBSWY3DPEHPK3PXP"), cookie(login.session()))
	}
	second("").object("user_uuid", "user_fullname", "user_token")
	second("?with_websocket=false").object("user_uuid", "user_fullname", "user_token")
	second("?with_websocket=true").object("user_uuid", "user_fullname", "user_token", "websocket_url")

	// changing the letter that marks it invalidates the cookie
	session := h.get(userLogin, basic(user, password)).session()
	h.get("/api/user/login/2fa?otp_code=1", cookie(strings.TrimSuffix(session, "n")+"w")).must(401, unauthorizedText)
}

func TestAPasswordOver72Bytes(t *testing.T) {
	t.Parallel()
	h := opened(t)
	session := h.get(userLogin, basic(opentera.DemoForcedChange, password)).session()
	change := func(fresh string) *reply {
		t.Helper()
		return h.post("/api/user/login/change_password", `{"new_password": "`+fresh+`", "confirm_password": "`+fresh+`"}`, cookie(session))
	}
	fits := "Aa1!" + strings.Repeat("é", 34)
	change(fits+"x").must(400, `"Password must be at most 72 bytes long"`)
	change(fits).must(200, `"Password changed"`)
	h.get(userLogin, basic(opentera.DemoForcedChange, fits)).object("user_uuid", "user_fullname", "user_token")
}

// A caller that is online gets a URL all the same with replace.
func TestALoginThatReplaces(t *testing.T) {
	t.Parallel()
	h := opened(t)
	h.connect("user", userID, "1 minute")
	h.connect("participant", opentera.DemoParticipantID, "1 minute")
	h.connect("device", opentera.DemoDeviceID, "1 minute")
	deviceToken := value[string](h, "SELECT device_token FROM t_devices WHERE id_device = $1", opentera.DemoDeviceID)
	for _, call := range []struct {
		kind, url string
		with      with
	}{
		{"user", userLogin + "?with_websocket=true", basic(user, password)},
		{"participant", "/api/participant/login?with_websocket=true", basic(opentera.DemoParticipant, password)},
		{"device", "/api/device/login?", token(deviceToken)},
	} {
		h.get(call.url, call.with).must(403, map[string]string{
			"user": alreadyUser, "participant": `"Participant already logged in."`, "device": `"Device already logged in."`}[call.kind])
		h.get(call.url+"&replace=maybe", call.with).must(400, `{"errors": {"replace": "must be true or false"}, "message": "Input payload validation failed"}`)
		r := h.get(call.url+"&replace=true", call.with)
		if r.status != 200 || !strings.Contains(r.body, `/wss/`+call.kind+`?id=`) || !strings.Contains(r.body, `\u0026replace=true"`) {
			t.Errorf("%s: %d %s", call.kind, r.status, r.body)
		}
	}
}

// The Host header becomes a URL that the client connects to. Without a valid host there is no URL: "ws:///wss" would send the token to
// a host named wss.
func TestTheHostOfAWebsocketURL(t *testing.T) {
	t.Parallel()
	h := opened(t)
	h.api.PublicURL = ""
	for _, host := range []string{"", "evil.example/x?", "u:p@evil.example", "a b", "a%zz", "evil.example#", ":4050", "x:port"} {
		for path, who := range map[string]with{userLogin + "?with_websocket=true": basic(user, password), participantLogin: basic(patient, password)} {
			h.get(path, who, func(r *http.Request) { r.Host = host }).
				must(400, `{"message": "the Host header is missing, or is no host[:port], and there is no --public-url"}`)
		}
	}
	if n := value[int](h, "SELECT count(*) FROM terasocket.connect_tokens"); n != 0 {
		t.Errorf("%d connect tokens", n)
	}
	for host, want := range map[string]string{
		"tera.example":      "ws://tera.example/wss/user?id=",
		"tera.example:4050": "ws://tera.example:4050/wss/user?id=",
		"[2001:db8::1]:1":   "ws://[2001:db8::1]:1/wss/user?id=",
	} {
		o := h.get(userLogin+"?with_websocket=true", basic(user, password), func(r *http.Request) { r.Host = host }).
			object("user_uuid", "user_fullname", "user_token", "websocket_url")
		if url := o["websocket_url"].(string); !strings.HasPrefix(url, want) {
			t.Errorf("%s: %s", host, url)
		}
	}
	if log := h.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("a client's mistake is logged as an error: %s", log)
	}
}

func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	h := opened(t)
	h.api.AllowedOrigins = []string{"https://clinic.example/", "https://other.example:8443"}
	origin := func(o string) with { return header("Origin", o) }

	r := h.get(userLogin, basic(opentera.DemoForcedChange, password), origin("https://clinic.example"))
	if r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "https://clinic.example" || r.header.Get("Access-Control-Allow-Credentials") != "true" ||
		r.header.Get("Access-Control-Expose-Headers") != "Retry-After" || strings.Contains(r.header.Get("Access-Control-Allow-Headers"), "*") {
		t.Errorf("%d %v", r.status, r.header)
	}
	session := r.cookies[0]
	if session.SameSite != http.SameSiteNoneMode || !session.Secure || !session.HttpOnly {
		t.Errorf("a page of an allowed origin cannot use the cookie %+v", session)
	}
	asks := h.ask(http.MethodOptions, "/api/user/login/change_password", "", origin("https://other.example:8443"))
	if asks.status != 200 || asks.header.Get("Access-Control-Allow-Origin") != "https://other.example:8443" ||
		!strings.Contains(asks.header.Get("Access-Control-Allow-Headers"), "Authorization") || !strings.Contains(asks.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight %d %v", asks.status, asks.header)
	}
	// a page that may not read the answer may not use the cookie either
	foreign := h.get(userLogin, basic(opentera.DemoForcedChange, password), origin("https://evil.example"))
	if foreign.header.Get("Access-Control-Allow-Origin") != "" || foreign.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%v", foreign.header)
	}
	const change = "/api/user/login/change_password"
	for _, page := range []string{"https://evil.example", "null", "https://clinic.example.evil", "http://clinic.example"} {
		h.post(change, "{}", cookie(session.Value), origin(page)).must(401, unauthorizedText)
	}
	for _, page := range []string{"https://clinic.example", "https://tera.example"} { // the second is this server's own
		if r := h.post(change, "{}", cookie(session.Value), origin(page)); r.status != 400 {
			t.Errorf("%s: %d %s", page, r.status, r.body)
		}
	}
	if plain := h.get(userLogin, basic(opentera.DemoForcedChange, password)); plain.session() == "" || plain.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v", plain.header)
	}
}

// A database that does not answer delays a client up to the limit, not for ever.
func TestARequestHasALimit(t *testing.T) {
	t.Parallel()
	h := opened(t)
	h.api.Limit = 200 * time.Millisecond
	h.reroute()
	h.exec("BEGIN")
	h.exec("LOCK TABLE terasocket.address_failures IN ACCESS EXCLUSIVE MODE")
	if r := h.get("/api/device/login?token=x"); r.status != 503 {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.exec("ROLLBACK")

	// a client that leaves is not logged as an error
	gone, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequest(http.MethodGet, "/api/device/login?token=x", nil).WithContext(gone)
	before := strings.Count(h.log.String(), "level=ERROR")
	h.router.ServeHTTP(httptest.NewRecorder(), r)
	if log := h.log.String(); strings.Count(log, "level=ERROR") != before || !strings.Contains(log, "given up by its client") {
		t.Error(log)
	}
}

func TestStatusPostsHaveALimit(t *testing.T) {
	t.Parallel()
	h := opened(t)
	h.connect("device", opentera.DemoDeviceID, "1 minute")
	deviceToken := value[string](h, "SELECT device_token FROM t_devices WHERE id_device = $1", opentera.DemoDeviceID)
	const body = `{"status": {}, "timestamp": 1}`
	taken := 0
	var last *reply
	for last == nil || last.status == 200 {
		if taken++; taken > 1000 {
			t.Fatal("there is no limit")
		}
		last = h.post("/api/device/status", body, token(deviceToken))
	}
	last.must(429, `"Too many status updates. Please wait and try again."`)
	if taken < 10 {
		t.Errorf("only %d at once", taken)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	var posts rates
	now := time.Now()
	wait := func(id int32, now time.Time) time.Duration {
		return posts.wait(access.Principal{Kind: access.Device, ID: id}, 2, 10, now)
	}
	for i := range 11 {
		if wait := wait(1, now); (wait > 0) != (i == 10) || wait > time.Second {
			t.Errorf("post %d waits %v", i, wait)
		}
	}
	if wait(2, now) > 0 {
		t.Error("another device waits")
	}
	if wait(1, now.Add(time.Second)) > 0 {
		t.Error("a device that pauses is not let in again")
	}
	for i := range int32(2 * whoKept) {
		wait(i, now)
	}
	if len(posts.of) > whoKept {
		t.Errorf("%d devices are remembered", len(posts.of))
	}
}

// A client with many addresses cannot push everybody's events out of the log with anonymous refusals.
func TestRefusalsOfStrangersHaveALimit(t *testing.T) {
	t.Parallel()
	h := opened(t)
	const rows = "SELECT count(*) FROM terasocket.events WHERE type = 'opentera.protobuf.LoginEvent'"
	refuse := func(n int) {
		t.Helper()
		h.get(participantLogin, from(fmt.Sprintf("[2001:db8:%x::1]", n)), token("a.b.c")).must(401, unauthorizedText)
	}
	refuse(0)
	if n := logged[int](h, rows); n != 1 {
		t.Errorf("%d rows for one refusal", n)
	}
	h.api.Strangers = rate.NewLimiter(0, 2)
	for i := range 5 {
		refuse(i + 1)
	}
	if n := logged[int](h, rows); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	if n := h.log.Count("recorded=false"); n != 3 {
		t.Errorf("%d log lines of unrecorded refusals, want 3", n)
	}
	h.get(userLogin, basic(user, "Falsch-1")).must(401, unauthorizedText) // names an existing user
	h.get(userLogin, basic(user, password)).object("user_uuid", "user_fullname", "user_token")
	if n := logged[int](h, rows); n != 5 {
		t.Errorf("%d rows, want those of known users too", n)
	}
}

// Nor can a client with good credentials.
func TestVisitsHaveALimit(t *testing.T) {
	t.Parallel()
	h := opened(t)
	device, participant := h.staticToken("device", opentera.DemoDeviceID), h.staticToken("participant", patientID)
	refreshed := h.get(userLogin, basic(user, password)).object("user_uuid", "user_fullname", "user_token")["user_token"].(string)
	for name, again := range map[string]func() *reply{
		"device":      func() *reply { return h.get("/api/device/logout", token(device)) },
		"participant": func() *reply { return h.get("/api/participant/logout", token(participant)) },
		"user": func() *reply {
			return h.get("/api/user/disconnect?participant_uuid="+opentera.DemoParticipantUUID, basic(opentera.DemoSiteAdmin, password))
		},
		"refreshes": func() *reply {
			r := h.get("/api/user/refresh_token", token(refreshed))
			if r.status == 200 {
				refreshed = r.object("refresh_token")["refresh_token"].(string)
			}
			return r
		},
	} {
		taken := 0
		r := again()
		for ; r.status == 200 && taken < 200; r = again() {
			taken++
		}
		r.must(429, `"Too many logins and logouts. Please wait and try again."`)
		if taken < visitBurst-1 {
			t.Errorf("%s: only %d at once", name, taken)
		}
	}
	const rows = "SELECT count(*) FROM terasocket.events WHERE type IN ('opentera.protobuf.LoginEvent', 'terasocket.Kick')"
	before := logged[int](h, rows)
	h.api.visits.of = map[access.Principal]*rate.Limiter{} // the rest of this test takes its time
	for _, who := range []access.Principal{{Kind: access.Device, ID: opentera.DemoDeviceID}, {Kind: access.Participant, ID: patientID}, {Kind: access.User, ID: userID}} {
		h.api.visits.of[who] = rate.NewLimiter(0, 0)
	}
	for path, with := range map[string]with{
		deviceLogin: token(device), "/api/device/logout": token(device), participantLogin: token(participant), "/api/participant/logout": token(participant),
		"/api/participant/refresh_token": token(participant), userLogin: basic(user, password), "/api/user/logout": basic(user, password),
		"/api/user/disconnect?id_user=1": basic(user, password),
	} {
		if r := h.get(path, with); r.status != 429 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if n := logged[int](h, rows); n != before {
		t.Errorf("%d rows of refusals by the limit", n-before)
	}
	h.get("/api/user/users/online", basic(user, password)).must(200, `[]`)
	h.get(userLogin, basic(opentera.DemoOtherProjectUser, password)).object("user_uuid", "user_fullname", "user_token")
}
