package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"terasocket/access"
	"terasocket/db/opentera"
)

// Every failure counts against the address; refusals for that reason leave no row.
func TestAddressLimit(t *testing.T) {
	t.Parallel()
	h := opened(t)
	const bad, good = "192.0.2.1", "192.0.2.2"
	static := h.staticToken("device", opentera.DemoDeviceID)
	refused := 0
	for ; value[float64](h, "SELECT terasocket.address_wait($1)", bad) == 0; refused++ {
		switch refused % 5 {
		case 0:
			h.get(userLogin, from(bad), basic(fmt.Sprint("nobody", refused), password)).must(401, unauthorizedText)
		case 1:
			h.get("/api/user/refresh_token", from(bad), token("x")).must(401, unauthorizedText)
		case 2:
			h.get(participantLogin, from(bad), token("x.y.z")).must(401, unauthorizedText)
		case 3:
			h.get(deviceLogin+"?token=x", from(bad)).must(401, `"Unauthorized"`)
		case 4:
			h.get("/api/service/disconnect?token=x", from(bad)).must(401, `"Unauthorized"`)
		}
	}
	h.exec("UPDATE terasocket.address_failures SET until = until + interval '10 s'") // the rest of this test takes its time
	rows := logged[int](h, "SELECT count(*) FROM terasocket.events WHERE type = 'opentera.protobuf.LoginEvent'")
	if rows != refused || refused < 60 {
		t.Errorf("%d LoginEvents of %d refusals", rows, refused)
	}
	for _, path := range []string{userLogin, "/api/user/logout", "/api/user/users/online", participantLogin, "/api/participant/logout"} {
		h.get(path, from(bad), basic(user, password)).must(429, tooManyBody)
	}
	h.get(deviceLogin, from(bad), token(static)).must(429, tooManyBody)
	h.get("/api/user/login/2fa?otp_code=1", from(bad), cookie("x")).must(429, tooManyBody)
	h.get("/api/service/disconnect?id_user=1", from(bad), token("x")).must(429, tooManyBody)
	if n := logged[int](h, "SELECT count(*) FROM terasocket.events WHERE type = 'opentera.protobuf.LoginEvent'"); n != rows {
		t.Errorf("%d rows of refusals by the limit", n-rows)
	}
	h.get(userLogin, from(bad)).must(401, unauthorizedText) // no credentials
	h.get(userLogin, from(good), basic(user, password)).object("user_uuid", "user_fullname", "user_token")
	// Behind a proxy the client's address counts, not what the client claims.
	h.get(userLogin, from("10.0.0.1"), header("X-Forwarded-For", good+", "+bad), basic(user, password)).must(429, tooManyBody)
	h.get(userLogin, from("10.0.0.1"), header("X-Forwarded-For", bad+", "+good), basic(user, password)).object("user_uuid", "user_fullname", "user_token")
	h.get(userLogin, from(bad), header("X-Forwarded-For", good), basic(user, password)).must(429, tooManyBody)
	h.exec("UPDATE terasocket.address_failures SET until = until - interval '60 s'") // of 60 failures, one is forgotten
	h.get(userLogin, from(bad), basic(user, password)).object("user_uuid", "user_fullname", "user_token")
}

// What is audited, and what is not.
func TestAudit(t *testing.T) {
	t.Parallel()
	h := opened(t)
	device := h.staticToken("device", opentera.DemoDeviceID)
	client := func(r *http.Request) {
		from("192.0.2.9")(r)
		r.Header.Set("X-Client-Name", "OpenTeraPlus")
		r.Header.Set("X-Client-Version", "1.2.3")
		r.Header.Set("X-OS-Name", "Linux")
		r.Header.Set("X-OS-Version", "6.1")
	}
	last := func(want string) {
		t.Helper()
		got := logged[string](h, `SELECT concat_ws(' ', topic, body ->> 'loginStatus', body ->> 'loginType', body ->> 'userUuid', body ->> 'participantUuid', body ->> 'deviceUuid',
			body ->> 'clientIp', body ->> 'clientName', body ->> 'clientVersion', body ->> 'osName', body ->> 'osVersion', body ->> 'serverEndpoint')
			FROM terasocket.events WHERE type = 'opentera.protobuf.LoginEvent' ORDER BY seq DESC LIMIT 1`)
		if got != want {
			t.Errorf("recorded %s\nwant     %s", got, want)
		}
	}
	const by, status = " 192.0.2.9 OpenTeraPlus 1.2.3 Linux 6.1 ", "LOGIN_STATUS_"
	h.get(userLogin, client, basic("My.Password.By.Mistake", password))
	last("log.error " + status + "FAILED_WITH_WRONG_USERNAME LOGIN_TYPE_PASSWORD" + by + userLogin)
	h.get(userLogin, client, basic(user, "Falsch-1"))
	last("log.error " + status + "FAILED_WITH_WRONG_PASSWORD LOGIN_TYPE_PASSWORD " + opentera.DemoProjectUserUUID + by + userLogin)
	h.get(userLogin, client, basic(opentera.DemoDisabled, password))
	last("log.error " + status + "FAILED_WITH_DISABLED_ACCOUNT LOGIN_TYPE_PASSWORD " + opentera.DemoDisabledUUID + by + userLogin)
	o := h.get(userLogin+"?with_websocket=1", client, basic(user, password)).object("user_uuid", "user_fullname", "user_token", "websocket_url")
	last("log.info " + status + "SUCCESS LOGIN_TYPE_PASSWORD " + opentera.DemoProjectUserUUID + by + userLogin)
	before := logged[int](h, "SELECT count(*) FROM terasocket.events WHERE type = 'opentera.protobuf.LoginEvent'")
	h.get("/api/user/users/online", client, token(o["user_token"].(string)))
	h.get("/api/user/users/online", client, basic(user, password))
	if n := logged[int](h, "SELECT count(*) FROM terasocket.events WHERE type = 'opentera.protobuf.LoginEvent'"); n != before {
		t.Error("a call other than a login is recorded as one")
	}
	h.get("/api/user/logout", client, token(o["user_token"].(string)))
	last("log.info LOGIN_TYPE_TOKEN " + opentera.DemoProjectUserUUID + by + "/api/user/logout")
	h.get("/api/user/users/online", client, token(o["user_token"].(string)))
	last("log.error " + status + "FAILED_WITH_INVALID_TOKEN LOGIN_TYPE_TOKEN" + by + "/api/user/users/online")
	session := h.get(userLogin, client, basic(opentera.DemoOTP, password)).session()
	h.get("/api/user/login/2fa?otp_code=918273", client, cookie(session))
	last("log.error " + status + "FAILED_WITH_WRONG_PASSWORD LOGIN_TYPE_PASSWORD " + opentera.DemoOTPUUID + by + "/api/user/login/2fa")
	h.get(deviceLogin+"?token="+device, client)
	last("log.info " + status + "SUCCESS LOGIN_TYPE_TOKEN " + opentera.DemoDeviceUUID + by + deviceLogin)
	h.connect("device", opentera.DemoDeviceID, "1 min")
	h.get(deviceLogin+"?token="+device, client)
	last("log.error " + status + "FAILED_WITH_ALREADY_LOGGED_IN LOGIN_TYPE_TOKEN " + opentera.DemoDeviceUUID + by + deviceLogin)
	h.get(participantLogin, client, basic(patient, password))
	last("log.info " + status + "SUCCESS LOGIN_TYPE_PASSWORD " + opentera.DemoParticipantUUID + by + participantLogin)
	for range 6 {
		h.get(userLogin, client, basic(opentera.DemoSiteAdmin, "Falsch-1"))
		h.api.Recorded(t.Context()) // in this order
	}
	last("log.error " + status + "FAILED_WITH_MAX_ATTEMPTS_REACHED LOGIN_TYPE_PASSWORD " + opentera.DemoSiteAdminUUID + by + userLogin)

	// never a secret, nor a user name that does not exist
	events := logged[string](h, "SELECT string_agg(topic || body::text, ' ') FROM terasocket.events")
	for _, secret := range []string{password, "Falsch-1", "My.Password", o["user_token"].(string), device, session, o["websocket_url"].(string), "918273",
		strings.TrimPrefix(o["websocket_url"].(string), "wss://tera.example:443/wss/user?id=")} {
		if strings.Contains(h.log.String(), secret) || strings.Contains(events, secret) {
			t.Errorf("a secret in the log or an event")
		}
	}
	if !strings.Contains(h.log.String(), `op="user login" principal=user:9 addr=192.0.2.9 status=success`) {
		t.Errorf("no line of the login: %s", h.log)
	}
}

// With the database away no call succeeds, and no secret is logged.
func TestDoorWithoutDatabase(t *testing.T) {
	t.Parallel()
	h := opened(t)
	static := h.staticToken("participant", patientID)
	device := h.staticToken("device", opentera.DemoDeviceID)
	userToken := h.get(userLogin, basic(user, password)).object("user_uuid", "user_fullname", "user_token")["user_token"].(string)
	session := h.get(userLogin, basic(opentera.DemoOTP, password)).session()
	h.api.Door.Tokens.Pool.Close()
	ask := func() {
		t.Helper()
		for _, show := range []with{basic(user, password), token(userToken), token(device), token(static), cookie(session)} {
			for _, path := range []string{userLogin, "/api/user/logout", "/api/user/refresh_token", "/api/user/login/2fa?otp_code=1", "/api/user/login/setup_2fa",
				participantLogin, "/api/participant/logout", "/api/participant/refresh_token", deviceLogin, "/api/device/logout"} {
				if r := h.get(path, show); r.status != 503 && r.status != 401 {
					t.Errorf("%s: %d %s", path, r.status, r.body)
				}
			}
		}
		h.get(userLogin, basic(user, password)).must(503, unavailableBody)
		h.get(deviceLogin, token(device)).must(503, unavailableBody)
		h.get(participantLogin, token(static)).must(503, unavailableBody)
		h.post("/api/user/login/change_password", "{}", cookie(session)).must(503, unavailableBody)
	}
	ask() // the limits cannot be checked
	h.api.Addresses = &doorstep{}
	ask() // nor can anything else
	if text := h.log.String(); strings.Contains(text, userToken) || strings.Contains(text, password) || strings.Contains(text, session) {
		t.Error("a secret in the log")
	}
}

// A login succeeds even if it cannot be recorded.
func TestLoginWithoutAudit(t *testing.T) {
	t.Parallel()
	h := opened(t)
	step := &doorstep{err: errors.New("log is full")}
	h.api.Audit, h.api.Addresses = step, step
	h.get(userLogin, basic(user, password)).object("user_uuid", "user_fullname", "user_token")
	h.get(userLogin, basic(user, "wrong")).must(401, unauthorizedText)
	h.api.Recorded(t.Context())
	if len(step.records) != 2 || !strings.Contains(h.log.String(), "not recorded in the event log") || !strings.Contains(h.log.String(), "failure not counted") {
		t.Errorf("%v %s", step.records, h.log)
	}
}

// heldAudit holds every record back until letGo is closed.
type heldAudit struct{ letGo chan struct{} }

func (a heldAudit) Record(ctx context.Context, r access.LoginRecord) error {
	select {
	case <-a.letGo:
		if r.At.IsZero() {
			return errors.New("no time: it would be that of the writing")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Beyond the limit of unknown callers, failures of unknown names are not recorded and those of known ones are: no answer waits for that.
func TestNoAnswerWaitsForTheRecordOfARefusal(t *testing.T) {
	t.Parallel()
	h := opened(t)
	h.api.Strangers = rate.NewLimiter(0, 0)
	audit := heldAudit{make(chan struct{})}
	h.api.Audit = audit
	for _, name := range []string{user, opentera.DemoDisabled, "nobody"} {
		h.get(userLogin, basic(name, "Falsch-1")).must(401, unauthorizedText)
	}
	h.get(participantLogin, basic(patient, "Falsch-1")).must(401, unauthorizedText)
	close(audit.letGo)
	h.api.Recorded(t.Context())
	if h.log.Count("not recorded in the event log") != 0 {
		t.Errorf("an answer has waited: %s", h.log)
	}
	if h.log.Count("recorded=false") != 1 || h.log.Count("recorded=true") != 3 {
		t.Errorf("%s", h.log)
	}
}

// In OpenTera, two people behind one address with one browser share the id of their websocket URL within a minute.
func TestTwoPeopleBehindOneAddress(t *testing.T) {
	t.Parallel()
	h := opened(t)
	same := func(r *http.Request) {
		from("10.0.0.1")(r)
		r.Header.Set("X-Forwarded-For", "203.0.113.5")
		r.Header.Set("User-Agent", "One Browser/1.0")
	}
	seen := map[string]bool{}
	who := map[string]string{opentera.DemoSiteAdmin: opentera.DemoSiteAdminUUID, user: opentera.DemoProjectUserUUID}
	for range 3 {
		urls := map[string]string{}
		for name := range who {
			urls[name] = h.get(userLogin+"?with_websocket=1", same, basic(name, password)).object("user_uuid", "user_fullname", "user_token", "websocket_url")["websocket_url"].(string)
		}
		for name, address := range urls {
			if seen[address] {
				t.Error("both got the same URL")
			}
			seen[address] = true
			if id := h.redeemed(access.User, address); id.UUID != who[name] {
				t.Errorf("the URL of %s lets %s in", name, id.Principal)
			}
		}
	}
}

// 200 logins and handshakes of 20 principals at once: each token works once, for its owner only, and never after 60 s.
func TestConcurrentLogins(t *testing.T) {
	t.Parallel()
	h := opened(t)
	type guest struct {
		kind access.Kind
		uuid string
		path string
		show with
	}
	var guests []guest
	for id := 1; len(guests) < 20; id++ {
		var uuid, secret string
		if h.conn.QueryRow(t.Context(), `SELECT participant_uuid, participant_token FROM t_participants
			WHERE id_participant = $1 AND participant_enabled AND participant_token_enabled AND deleted_at IS NULL`, id).Scan(&uuid, &secret) == nil {
			guests = append(guests, guest{access.Participant, uuid, participantLogin, token(secret)})
		}
		if h.conn.QueryRow(t.Context(), `SELECT device_uuid, device_token FROM t_devices WHERE id_device = $1 AND device_enabled AND device_onlineable AND deleted_at IS NULL`, id).Scan(&uuid, &secret) == nil && len(guests) < 16 {
			guests = append(guests, guest{access.Device, uuid, deviceLogin, token(secret)})
		}
		if len(guests) >= 16 && len(guests) < 20 {
			for name, uuid := range map[string]string{opentera.DemoSiteAdmin: opentera.DemoSiteAdminUUID, user: opentera.DemoProjectUserUUID,
				opentera.DemoNoRole: opentera.DemoNoRoleUUID, opentera.DemoTwoGroups: opentera.DemoTwoGroupsUUID} {
				guests = append(guests, guest{access.User, uuid, userLogin + "?with_websocket=1", basic(name, password)})
			}
		}
	}
	guests = guests[:20]
	var all sync.WaitGroup
	var mu sync.Mutex
	var late []string // unused tokens
	for i := range 200 {
		g := guests[i%20]
		all.Go(func() {
			r := h.get(g.path, g.show)
			for r.status == 503 { // too many passwords at once: try again
				time.Sleep(10 * time.Millisecond)
				r = h.get(g.path, g.show)
			}
			var answer struct {
				URL string `json:"websocket_url"`
			}
			if err := json.Unmarshal([]byte(r.body), &answer); err != nil || r.status != 200 || answer.URL == "" {
				t.Errorf("%d %s", r.status, r.body)
				return
			}
			parsed, err := url.Parse(answer.URL)
			if err != nil || parsed.Path != "/wss/"+g.kind.String() {
				t.Errorf("%s, %v", answer.URL, err)
				return
			}
			secret := parsed.Query().Get("id")
			if i%10 == 0 {
				mu.Lock()
				late = append(late, secret)
				mu.Unlock()
				return
			}
			var once sync.WaitGroup
			var opened int
			for range 3 {
				once.Go(func() {
					for _, kind := range access.Kinds {
						id, err := h.api.Door.Tokens.Redeem(t.Context(), kind, secret)
						if errors.Is(err, access.ErrRefused) {
							continue
						}
						mu.Lock()
						opened++
						mu.Unlock()
						if err != nil || id.UUID != g.uuid || kind != g.kind || id.Kind != g.kind {
							t.Errorf("%s %s got %v, %v", g.kind, g.uuid, id, err)
						}
					}
				})
			}
			once.Wait()
			if opened != 1 {
				t.Errorf("a token opened %d times", opened)
			}
		})
	}
	all.Wait()
	h.exec("UPDATE terasocket.connect_tokens SET expires_at = expires_at - interval '60 s'") // the minute is over
	if len(late) != 20 {
		t.Errorf("%d left", len(late))
	}
	for _, secret := range late {
		for _, kind := range access.Kinds {
			if id, err := h.api.Door.Tokens.Redeem(t.Context(), kind, secret); !errors.Is(err, access.ErrRefused) {
				t.Errorf("after 60 s: %v, %v", id, err)
			}
		}
	}
}

func TestTranslated(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"": "Success", "fr": "Succès", "en": "Success", "fr-CA,en;q=0.5": "Succès", "en,fr;q=0.9": "Success", "de, fr;q=0.3": "Succès",
		"de": "Success", "*": "Success", "rubbish;q=x": "Success", "fr;q=0": "Success", strings.Repeat("fr,", 400): "Success",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Language", accept)
		if got := translated(r, "Success"); got != want {
			t.Errorf("%.40s: %s, want %s", accept, got, want)
		}
		if got := translated(r, "no such text"); got != "no such text" {
			t.Error(got)
		}
	}
}

// FuzzHeader parses a text as Accept-Language, as Authorization and as the subject of a certificate.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"fr-CA,fr;q=0.9,en;q=0.8", "*;q=0.x", "OpenTera abc", " \tBasic",
		"UID=d4745145-f361-593f-bafd-a4f7fd28214e,CN=Device,O=A\\, B", `CN=Device\2CUID=x+UID=\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prefersFrench(text)
		scheme, token, hasBlank := authorization(&http.Request{Header: http.Header{"Authorization": {text}}})
		if strings.Contains(scheme, " ") || !hasBlank && token != "" {
			t.Errorf("%q: %q %q %t", text, scheme, token, hasBlank)
		}
		subject, ok := parseSubject(text)
		uuid, isDevice := deviceOf(subject)
		if !ok && subject != nil || isDevice && (len(uuid) != 36 || !ok) {
			t.Errorf("%q: %v %q", text, subject, uuid)
		}
		if isDevice && strings.Count(strings.ToUpper(text), "UID") == 0 {
			t.Errorf("%q has no UID", text)
		}
	})
}

func FuzzArguments(f *testing.F) {
	f.Add("application/json", []byte(`{"otp_code": 12, "with_websocket": true, "x": null}`))
	f.Add("application/x-www-form-urlencoded", []byte("a=%20&b=1"))
	f.Add("text/plain; charset=x", []byte("{}{}"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		given, ok := parseArguments(contentType, body)
		if !ok && given != nil {
			t.Errorf("%q: %v", body, given)
		}
	})
}

func FuzzExternal(f *testing.F) {
	f.Add("tera.example", "443")
	f.Add("evil/?x=", "443@evil")
	f.Fuzz(func(t *testing.T, server, port string) {
		proxies, err := ParseProxies([]string{"10.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{RemoteAddr: "10.0.0.1:5", Header: http.Header{"X-Externalserver": {server}, "X-Externalport": {port}}, Host: "h"}
		address := WebsocketURL((&API{Proxies: proxies}).base(r), access.User, "secret")
		parsed, err := url.Parse(address)
		if err != nil || parsed.Path != "/wss/user" || parsed.Query().Get("id") != "secret" || parsed.User != nil {
			t.Errorf("%q %q: %s, %v", server, port, address, err)
		}
	})
}
