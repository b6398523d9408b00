package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"terasocket/access"
	"terasocket/console"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/doctor"
	"terasocket/migrations"
	pb "terasocket/proto/opentera"
)

// desk is a console without a browser.
type desk struct {
	*console.Console
	t       *testing.T
	pool    *pgxpool.Pool
	cfg     console.Config
	log     dbtest.Log
	records []access.LoginRecord
	users   map[string]int32 // by token
	deaf    bool             // nothing can be recorded
	shown   []string
	blind   bool          // Shown fails
	passed  *http.Request // the last request that reached the gateway
}

func (d *desk) ByToken(_ context.Context, token string) (access.Account, error) {
	if token == "broken" {
		return access.Account{}, errors.New("the database is away")
	}
	id, ok := d.users[token]
	if !ok {
		return access.Account{}, &access.Refusal{}
	}
	return access.Account{Identity: access.Identity{Principal: access.Principal{Kind: access.User, ID: id}}}, nil
}

func (d *desk) Record(_ context.Context, r access.LoginRecord) error {
	if d.deaf {
		return errors.New("the database is away")
	}
	d.records = append(d.records, r)
	return nil
}

func (d *desk) Shown(_ context.Context, who access.Identity, seq uint64, addr string) error {
	if d.blind {
		return errors.New("the database is away")
	}
	d.shown = append(d.shown, fmt.Sprint(who.Principal, " ", seq, " ", addr))
	return nil
}

func (d *desk) ServeClient(w http.ResponseWriter, r *http.Request) {
	d.passed = r
	w.WriteHeader(http.StatusTeapot)
}

// set starts one; change modifies its settings.
func set(t *testing.T, change func(*console.Config)) *desk {
	t.Helper()
	d := &desk{t: t, users: map[string]int32{"superadmin": opentera.DemoSuperadminID, "clinician": opentera.DemoProjectUserID}}
	url, _ := dbtest.Lend(t, dbtest.OpenTera("migrated", migrations.Up, dbtest.QuickPasswords), 0)
	d.pool = dbtest.Pool(t, url)
	d.cfg = console.Config{Version: "v", Gateway: "g", Loopback: true, Pool: d.pool, Metrics: prometheus.NewRegistry(), Ready: func(*http.Request) error { return nil },
		Examine: func(context.Context) ([]doctor.Finding, error) {
			return []doctor.Finding{{Name: "a", Status: doctor.OK}}, nil
		},
		Users: d, Audit: d, Deliveries: d, Strangers: rate.NewLimiter(10, 600), Client: http.HandlerFunc(d.ServeClient), ClientAddr: func(r *http.Request) string { return strings.Split(r.RemoteAddr, ":")[0] },
		Log: slog.New(slog.NewTextHandler(&d.log, nil))}
	if change != nil {
		change(&d.cfg)
	}
	d.Console = console.New(d.cfg)
	return d
}

// withPassword starts one with a password.
func withPassword(t *testing.T, password string) *desk {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return set(t, func(cfg *console.Config) { cfg.Loopback, cfg.PasswordFile = false, file })
}

// ask sends a request, "METHOD /path"; headers alternate name and value.
func (d *desk) ask(what, body string, headers ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	method, path, _ := strings.Cut(what, " ")
	r := httptest.NewRequest(method, "http://127.0.0.1:4051/console"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// must compares the status and the error code of an answer.
func must(t *testing.T, w *httptest.ResponseRecorder, status int, code string) map[string]any {
	t.Helper()
	var answer map[string]any
	text, _ := io.ReadAll(w.Body)
	_ = json.Unmarshal(text, &answer)
	if got, _ := answer["error"].(string); w.Code != status || got != code {
		t.Errorf("%d %q, want %d %q: %s", w.Code, got, status, code, text)
	}
	return answer
}

func TestNobodyWithoutAPassword(t *testing.T) {
	t.Parallel()
	d := set(t, func(cfg *console.Config) { cfg.Loopback = false })
	for _, path := range []string{"GET /", "GET /app.js", "GET /api/people", "GET /client/api/user/login", "GET /client/wss/user", "POST /api/session"} {
		must(t, d.ask(path, "{}"), 403, "strange")
	}
}

// Without a password, only programs and pages of this machine are answered.
func TestStrangers(t *testing.T) {
	t.Parallel()
	d := set(t, nil)
	for _, host := range []string{"evil.example:4051", "192.0.2.1:4051", "localhost.evil.example", "127.0.0.1.evil.example", ""} {
		must(t, d.ask("GET /api/people", "", "Host", host), 403, "strange")
		must(t, d.ask("GET /", "", "Host", host), 403, "strange")
	}
	for _, host := range []string{"localhost:4051", "LOCALHOST", "127.0.0.1", "[::1]:4051", "[::1]", "127.0.0.2:1"} {
		must(t, d.ask("GET /api/people", "", "Host", host), 200, "")
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		must(t, d.ask("GET /api/people", "", name, "x"), 403, "strange")
	}
	old := httptest.NewRequest("GET", "http://127.0.0.1:4051/console/api/people", nil)
	old.Proto, old.ProtoMinor = "HTTP/1.0", 0 // nginx, with proxy_pass alone
	w := httptest.NewRecorder()
	d.ServeHTTP(w, old)
	must(t, w, 403, "strange")
	for _, origin := range []string{"https://evil.example", "null", "http://127.0.0.1:8080", "::"} {
		must(t, d.ask("GET /client/wss/user", "", "Origin", origin), 403, "strange")
		must(t, d.ask("POST /api/doctor", "", "Origin", origin), 403, "strange")
	}
	for _, site := range []string{"cross-site", "same-site"} {
		must(t, d.ask("GET /api/people", "", "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "no-cors"), 403, "strange")
		must(t, d.ask("POST /api/cut", "{}", "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "navigate"), 403, "strange")
	}
	must(t, d.ask("GET /", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), 200, "") // a link
	must(t, d.ask("POST /api/doctor", "", "Origin", "http://127.0.0.1:4051", "Sec-Fetch-Site", "same-origin"), 200, "")
	must(t, d.ask("POST /api/session", `{"password": "x"}`), 400, "no_password")
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	d := set(t, nil)
	for path, kind := range map[string]string{"GET /": "text/html", "GET /app.js": "text/javascript", "GET /console.css": "text/css", "GET /icon.svg": "image/svg+xml", "GET /uPlot.LICENSE": "text/plain",
		"GET /api/people": "application/json", "GET /nothing.js": "text/plain", "GET /api/nothing": "application/json", "GET /..%2fconsole.go": "text/plain"} {
		w := d.ask(path, "")
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(w.Header().Get("Content-Type"), kind) || !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") ||
			w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if strings.Contains(path, "nothing") != (w.Code == 404) && !strings.Contains(path, "..") {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := d.ask("GET ", ""); w.Code != 308 || w.Header().Get("Location") != "/console/" {
		t.Errorf("/console: %d %v", w.Code, w.Header())
	}
	page, _ := os.ReadFile("static/index.html")
	if strings.Contains(string(page), "style=") || strings.Contains(string(page), "<script>") {
		t.Error("the page has inline script or style")
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	const right = "correct horse battery"
	d := withPassword(t, right)
	for _, path := range []string{"GET /api/status", "GET /api/doctor", "GET /api/people", "GET /api/find?part=lu", "GET /api/log", "GET /api/log/1/body", "GET /api/explain", "POST /api/cut", "DELETE /api/session", "POST /api/doctor",
		"GET /client/api/user/login", "GET /client/api/user/disconnect?id_user=1"} {
		must(t, d.ask(path, "{}"), 401, "password")
		must(t, d.ask(path, "{}", "X-Console-Token", "made-up"), 401, "password")
	}
	if d.passed != nil {
		t.Error("the gateway was asked without a password")
	}
	if open := must(t, d.ask("GET /api/session", ""), 200, "")["open"]; open != false {
		t.Error("the console is open")
	}
	must(t, d.ask("POST /api/session", `{`), 400, "malformed")
	must(t, d.ask("POST /api/session", strings.Repeat("x", 5000)), 400, "malformed")
	must(t, d.ask("POST /api/session", `{"password": ""}`), 401, "wrong_password")
	must(t, d.ask("POST /api/session", `{"password": "correct horse"}`), 401, "wrong_password")
	token, _ := must(t, d.ask("POST /api/session", `{"password": "`+right+`"}`), 200, "")["token"].(string)
	must(t, d.ask("GET /api/people", "", "X-Console-Token", token), 200, "")
	if open := must(t, d.ask("GET /api/session", "", "X-Console-Token", token), 200, "")["open"]; open != true {
		t.Error("the console is not open")
	}
	must(t, d.ask("GET /client/api/user/login", "", "X-Console-Token", token, "Authorization", "Basic eDp5"), 418, "")
	basic := httptest.NewRequest("GET", "/", nil)
	basic.SetBasicAuth("anybody", right)
	for range 3 { // recorded once
		must(t, d.ask("GET /api/people", "", "Authorization", basic.Header.Get("Authorization")), 200, "")
	}
	must(t, d.ask("GET /client/api/user/login", "", "Authorization", basic.Header.Get("Authorization")), 401, "password") // it is OpenTera's credential there

	// through a proxy with its own name, but not for foreign pages
	must(t, d.ask("GET /api/people", "", "X-Console-Token", token, "Host", "console.example", "Origin", "https://console.example", "X-Forwarded-For", "192.0.2.7"), 200, "")
	must(t, d.ask("GET /api/people", "", "X-Console-Token", token, "Host", "console.example", "Origin", "https://evil.example"), 403, "strange")

	if len(d.records) != 4 || d.log.Count("status=success") != 2 || d.records[0].Status != pb.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD || d.records[2].Status != pb.LoginEvent_LOGIN_STATUS_SUCCESS || d.records[2].ClientIP == "" || d.records[3].Status != d.records[2].Status || d.records[3].Endpoint != "/console/api/people" {
		t.Errorf("records: %+v", d.records)
	}
	if strings.Contains(d.log.String(), "horse") || strings.Contains(d.log.String(), token) {
		t.Errorf("a secret in the log: %s", &d.log)
	}
	d.ask("DELETE /api/session", "", "X-Console-Token", token)
	must(t, d.ask("GET /api/people", "", "X-Console-Token", token), 401, "password")

	// a new password ends sessions; an unreadable one admits nobody
	token, _ = must(t, d.ask("POST /api/session", `{"password": "`+right+`"}`), 200, "")["token"].(string)
	for content, want := range map[string]int{"quite another one": 401, "short": 503} {
		if err := os.WriteFile(d.cfg.PasswordFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if w := d.ask("GET /api/people", "", "X-Console-Token", token); w.Code != want {
			t.Errorf("%s: %d", content, w.Code)
		}
	}
	_ = os.Remove(d.cfg.PasswordFile)
	must(t, d.ask("GET /api/session", ""), 503, "password_file")
	must(t, d.ask("POST /api/session", `{"password": "`+right+`"}`), 503, "password_file")
	must(t, d.ask("GET /api/people", "", "Authorization", basic.Header.Get("Authorization")), 503, "password_file")
}

// Of concurrent guesses five are compared; wrong guesses delay neither another address nor a correct password.
func TestGuesses(t *testing.T) {
	t.Parallel()
	d := withPassword(t, "correct horse battery")
	var compared, held atomic.Int32
	var wg sync.WaitGroup
	guess := func(addr, password string) int {
		r := httptest.NewRequest("POST", "/console/api/session", strings.NewReader(`{"password": "`+password+`"}`))
		r.RemoteAddr = addr + ":1"
		w := httptest.NewRecorder()
		console.New(d.cfg) // another console counts separately
		d.ServeHTTP(w, r)
		if w.Code == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		return w.Code
	}
	d.deaf = true
	for range 40 {
		wg.Go(func() {
			switch guess("192.0.2.1", "wrong") {
			case 401:
				compared.Add(1)
			case 429:
				held.Add(1)
			}
		})
	}
	wg.Wait()
	if compared.Load() != 5 || held.Load() != 35 {
		t.Errorf("%d compared, %d held up", compared.Load(), held.Load())
	}
	if code := guess("192.0.2.1", "correct horse battery"); code != 429 {
		t.Errorf("the correct password after too many wrong ones: %d", code)
	}
	for range 20 {
		if code := guess("192.0.2.2", "correct horse battery"); code != 200 {
			t.Fatalf("another address: %d", code)
		}
	}
	if d.log.Count("not recorded") != 25 {
		t.Errorf("%d failures to record were logged", d.log.Count("not recorded"))
	}
	if n := d.log.Count("too many wrong passwords"); n != 36 {
		t.Errorf("%d lines of 36 refusals", n)
	}
}

// Guesses from many addresses do not push everybody's events out of the log.
func TestGuessesFromManyAddresses(t *testing.T) {
	t.Parallel()
	d := withPassword(t, "correct horse battery")
	began := time.Now()
	for n := range 2000 {
		r := httptest.NewRequest("POST", "/console/api/session", strings.NewReader(`{"password": "wrong"}`))
		r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", n/250, n%250)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code != 401 && w.Code != 429 {
			t.Fatalf("%d", w.Code)
		}
	}
	most := 600 + 10*int(time.Since(began).Seconds()+1)
	if n := len(d.records); n < 600 || n > most {
		t.Errorf("%d rows, want 600 to %d", n, most)
	}
	lines := d.log.Count("recorded=true") + d.log.Count("recorded=false") + d.log.Count("too many wrong passwords")
	if lines != 2000 || d.log.Count("recorded=true") != len(d.records) {
		t.Errorf("%d lines", lines)
	}
}

func TestReadPassword(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p")
	for content, want := range map[string]string{"\n  twelve chars \n": "", "elevenchars\n": "12 characters", "": "12 characters"} {
		_ = os.WriteFile(file, []byte(content), 0o600)
		password, err := console.ReadPassword(file)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && password != "twelve chars" {
			t.Errorf("%q: %q, %v", content, password, err)
		}
	}
	if _, err := console.ReadPassword(file + "x"); err == nil || !strings.Contains(err.Error(), "--console-password-file") {
		t.Errorf("%v", err)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	d := set(t, nil)
	long := strings.Repeat("a", 201)
	for path, code := range map[string]string{
		"GET /api/log?before=x":                   "malformed",
		"GET /api/log?behind=9999999999999999999": "malformed",
		"GET /api/log?part=%00":                   "malformed",
		"GET /api/log?part=%ff":                   "malformed",
		"GET /api/people?part=" + long:            "malformed",
		"GET /api/find?part=" + long:              "malformed",
		"GET /api/find?part=a":                    "too_short",
		"GET /api/find":                           "too_short",
		"GET /api/explain":                        "malformed",
		"GET /api/explain?seq=1&kind=robot":       "malformed",
		"GET /api/explain?seq=x&kind=user":        "malformed",
		"GET /api/log/x/body":                     "malformed",
		"POST /api/cut":                           "malformed",
	} {
		must(t, d.ask(path, "x"), 400, code)
	}
	must(t, d.ask("GET /api/explain?seq=1&kind=user&uuid="+opentera.DemoProjectUserUUID, ""), 404, "missing_event")
	must(t, d.ask("POST /api/cut", `{"secret": "0123456789abcdef"}`), 404, "no_socket")
	must(t, d.ask("PUT /api/people", ""), 404, "unknown")
	must(t, d.ask("GET /client/api/user/logout", ""), 404, "unknown")
	must(t, d.ask("GET /client/metrics", ""), 404, "unknown")
	must(t, d.ask("GET /client/api/service/events", ""), 404, "unknown")
}

// Headers that only a proxy may set do not pass through the console.
func TestWhatIsPassedOn(t *testing.T) {
	t.Parallel()
	d := withPassword(t, "correct horse battery")
	token, _ := must(t, d.ask("POST /api/session", `{"password": "correct horse battery"}`), 200, "")["token"].(string)
	must(t, d.ask("GET /client/api/device/login?a=b", "", "X-Console-Token", token, "X-SSL-Client-DN", "UID=x", "X-SSL-Verified", "SUCCESS", "X-Forwarded-For", "1.2.3.4",
		"X-ExternalServer", "evil", "X-ExternalPort", "1", "X_ExternalServer", "evil", "Authorization", "OpenTera x", "Origin", "http://127.0.0.1:4051"), 418, "")
	if got := d.passed; got.URL.Path != "/api/device/login" || got.URL.RawQuery != "a=b" || got.Header.Get("Authorization") != "OpenTera x" || got.Header.Get("Origin") != "" {
		t.Errorf("%v %v", got.URL, got.Header)
	}
	for name := range d.passed.Header {
		if strings.HasPrefix(name, "X-") && name != "X-Console-Token" || strings.HasPrefix(name, "X_") {
			t.Errorf("%s is passed on", name)
		}
	}
}

func TestLogOfTheConsole(t *testing.T) {
	t.Parallel()
	d := set(t, nil)
	conn := dbtest.Conn(t, d.pool.Config().ConnString())
	for _, sql := range []string{"UPDATE t_participants SET participant_name = 'Secret Name' WHERE id_participant = 1", "UPDATE t_users_groups SET user_group_name = 'x' WHERE id_user_group = 1",
		"DELETE FROM t_users_users_groups WHERE id_user = 9", `SELECT terasocket.record_login('log.info', '{"@type": "x"}')`} {
		if _, err := conn.Exec(t.Context(), sql); err == nil {
			dbtest.Announce(t, conn, 2000)
		}
	}
	type row struct {
		Seq        int64
		Type       string
		ObjectType *string `json:"object_type"`
	}
	list := func(query string) (rows []row) {
		t.Helper()
		w := d.ask("GET /api/log?"+query, "")
		text := w.Body.String()
		if err := json.Unmarshal([]byte(text), &rows); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", query, w.Code, text)
		}
		if strings.Contains(text, "Secret") || strings.Contains(text, "body") {
			t.Errorf("%s shows what is in an event: %s", query, text)
		}
		return rows
	}
	all, outside := list("internal=true"), list("")
	if len(outside) < 2 || len(all) <= len(outside) {
		t.Fatalf("%d rows, %d for clients", len(all), len(outside))
	}
	for i, r := range all {
		if i > 0 && r.Seq >= all[i-1].Seq {
			t.Error("not newest first")
		}
	}
	for _, r := range outside {
		if strings.HasPrefix(r.Type, "terasocket.") {
			t.Errorf("%s is shown, which no client receives", r.Type)
		}
	}
	if rows := list("part=PARTICIPANT"); len(rows) != 1 || *rows[0].ObjectType != "participant" {
		t.Errorf("search: %+v", rows)
	}
	newest, oldest := outside[0].Seq, outside[len(outside)-1].Seq
	if rows := list("before=" + jsonNumber(newest)); len(rows) != len(outside)-1 {
		t.Errorf("before: %+v", rows)
	}
	if rows := list("behind=" + jsonNumber(oldest)); len(rows) != len(outside)-1 {
		t.Errorf("behind: %+v", rows)
	}
	if rows := list("part=%25"); len(rows) != 0 {
		t.Errorf("%% is a pattern: %+v", rows)
	}

	// what is in it
	seq := list("part=participant")[0].Seq
	path := "GET /api/log/" + jsonNumber(seq) + "/body"
	must(t, d.ask(path, ""), 401, "sign_in")
	must(t, d.ask(path, "", "Authorization", "Basic x"), 401, "sign_in")
	must(t, d.ask(path, "", "Authorization", "OpenTera rubbish"), 401, "sign_in")
	must(t, d.ask(path, "", "Authorization", "OpenTera broken"), 503, "database")
	must(t, d.ask(path, "", "Authorization", "OpenTera clinician"), 403, "superadmin")
	must(t, d.ask("GET /api/log/1/body", "", "Authorization", "OpenTera superadmin"), 403, "superadmin")
	d.deaf = true
	if w := d.ask(path, "", "Authorization", "OpenTera superadmin"); w.Code != 503 || strings.Contains(w.Body.String(), "Secret") {
		t.Errorf("shown without a record: %d %s", w.Code, w.Body)
	}
	d.deaf = false
	if len(d.records) != 0 {
		t.Errorf("%+v", d.records)
	}
	d.blind = true
	if w := d.ask(path, "", "Authorization", "OpenTera superadmin"); w.Code != 503 || strings.Contains(w.Body.String(), "Secret") {
		t.Errorf("shown without a record: %d %s", w.Code, w.Body)
	}
	d.blind, d.records = false, nil
	if w := d.ask(path, "", "Authorization", "OpenTera superadmin"); w.Code != 200 || !strings.Contains(w.Body.String(), "Secret Name") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(d.records) != 1 || d.records[0].Message != "console body of event "+jsonNumber(seq) || d.records[0].Who.ID != opentera.DemoSuperadminID {
		t.Errorf("%+v", d.records)
	}
	if want := []string{"user:1 " + jsonNumber(seq) + " 192.0.2.1"}; !slices.Equal(d.shown, want) {
		t.Errorf("%q are shown, want %q", d.shown, want)
	}
	for _, sql := range []string{"user_enabled = false", "user_enabled = true, deleted_at = now()", "deleted_at = NULL, user_superadmin = false"} {
		dbtest.Exec(t, conn, "UPDATE t_users SET "+sql+" WHERE id_user = 1")
		must(t, d.ask(path, "", "Authorization", "OpenTera superadmin"), 403, "superadmin")
	}

	explained := must(t, d.ask("GET /api/explain?seq="+jsonNumber(seq)+"&kind=user&uuid="+opentera.DemoOtherProjectUserUUID, ""), 200, "")
	if explained["may_see"] != false {
		t.Errorf("%v", explained)
	}
	must(t, d.ask("GET /api/explain?seq="+jsonNumber(seq)+"&kind=user&uuid=x", ""), 404, "unknown_person")
}

func jsonNumber(n int64) string { text, _ := json.Marshal(n); return string(text) }

// A role other than the owner is told what to grant; a database that is down is reported.
func TestWithoutRights(t *testing.T) {
	t.Parallel()
	d := set(t, nil)
	questions := []string{"GET /api/people", "GET /api/find?part=lu", "GET /api/log", "GET /api/explain?seq=1&kind=user&uuid=x", "GET /api/log/1/body"}
	for _, name := range []string{"console_people", "console_find", "console_log", "console_body", "explain", "console_gateways"} {
		dbtest.Exec(t, dbtest.Conn(t, d.pool.Config().ConnString()), `DO $$ BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION ' || (SELECT format('terasocket.%I(%s) RETURNS jsonb', proname, pg_get_function_arguments(oid))
			FROM pg_proc WHERE proname = '`+name+`' AND pronamespace = 'terasocket'::regnamespace) || ' LANGUAGE plpgsql AS ''BEGIN RAISE insufficient_privilege; END'''; END $$`)
	}
	for _, what := range questions {
		answer := must(t, d.ask(what, "", "Authorization", "OpenTera superadmin"), 403, "grant")
		if text, _ := answer["text"].(string); !strings.Contains(text, "`terasocket migrate grants ROLE --console`") {
			t.Errorf("%s", text)
		}
	}
	if answer := must(t, d.ask("GET /api/status", ""), 200, ""); answer["gateways"] != nil || !strings.Contains(answer["lacks"].(string), "migrate grants") {
		t.Errorf("%v", answer)
	}
	d.pool.Close()
	for _, what := range questions {
		must(t, d.ask(what, "", "Authorization", "OpenTera superadmin"), 503, "database")
	}
	if answer := must(t, d.ask("GET /api/status", ""), 200, ""); answer["gateways"] != nil || answer["lacks"] != "" {
		t.Errorf("%v", answer)
	}
}

func TestStatusAndDoctor(t *testing.T) {
	t.Parallel()
	examined, ready := 0, error(nil)
	var examineErr error
	d := set(t, func(cfg *console.Config) {
		cfg.Ready = func(*http.Request) error { return ready }
		cfg.Degraded = func() string { return "Redis" }
		cfg.Examine = func(context.Context) ([]doctor.Finding, error) {
			examined++
			return []doctor.Finding{{Name: "a", Status: doctor.Fail, Found: "b", Todo: "c"}}, examineErr
		}
	})
	if answer := must(t, d.ask("GET /api/status", ""), 200, ""); answer["not_ready"] != "" || answer["degraded"] != "Redis" || answer["points"] == nil || answer["gateways"] == nil {
		t.Errorf("%v", answer)
	}
	ready = errors.New("draining")
	if answer := must(t, d.ask("GET /api/status", ""), 200, ""); answer["not_ready"] != "draining" {
		t.Errorf("%v", answer)
	}
	examineErr = errors.New("away")
	must(t, d.ask("GET /api/doctor", ""), 503, "database")
	examineErr = nil
	for range 2 { // the second is too soon
		must(t, d.ask("GET /api/doctor", ""), 200, "")
		must(t, d.ask("POST /api/doctor", ""), 200, "")
	}
	if examined != 2 {
		t.Errorf("examined %d times", examined)
	}
}

func TestPeopleOfTheConsole(t *testing.T) {
	t.Parallel()
	d := set(t, nil)
	conn := dbtest.Conn(t, d.pool.Config().ConnString())
	gateway := dbtest.One[string](t, conn, "SELECT terasocket.gateway_register('g', '1 hour')::text")
	for n, who := range []struct {
		kind string
		id   int
	}{{"user", opentera.DemoSuperadminID}, {"user", opentera.DemoProjectAdminID}, {"participant", opentera.DemoParticipantID}, {"participant", opentera.DemoParticipantID}, {"device", opentera.DemoDeviceID}} {
		dbtest.Exec(t, conn, "SELECT terasocket.connected_many($1::text::uuid, $2, $3, $4, $5, $6)", gateway, []int64{int64(n)}, []string{who.kind}, []int{who.id}, []string{"c"}, []string{"192.0.2.99"})
	}
	dbtest.Exec(t, conn, "SELECT terasocket.device_status($1, '{\"battery\": 73}', 1)", opentera.DemoDeviceID)
	dbtest.Exec(t, conn, "INSERT INTO terasocket.busy (kind, principal, session_uuid) SELECT 'participant', $1, session_uuid FROM t_sessions ORDER BY id_session LIMIT 1", opentera.DemoOtherParticipantID)
	type person struct {
		Kind, UUID, Name string
		OnlineSince      *string `json:"online_since"`
		Superadmin       bool
		Status           *string
		Sockets          int
		Session          *struct{ UUID, Name string }
		Places           []struct{ Site, Project *string }
	}
	people := func(part string) (total int, by map[string]person) {
		t.Helper()
		w := d.ask("GET /api/people?part="+part, "")
		if strings.Contains(w.Body.String(), "192.0.2.99") {
			t.Error("addresses are shown")
		}
		var answer struct {
			Total  int
			People []person
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		by = map[string]person{}
		for _, p := range answer.People {
			by[p.UUID] = p
		}
		return answer.Total, by
	}
	total, by := people("")
	lucie, rene, kit, paul := by[opentera.DemoParticipantUUID], by[opentera.DemoOtherParticipantUUID], by[opentera.DemoDeviceUUID], by[opentera.DemoProjectAdminUUID]
	switch {
	case total != 5 || len(by) != 5:
		t.Errorf("%d people, %v", total, by)
	case lucie.Sockets != 2 || lucie.OnlineSince == nil || lucie.Session != nil || len(lucie.Places) != 1 || *lucie.Places[0].Project != "Télé-AVC":
		t.Errorf("%+v", lucie)
	case rene.OnlineSince != nil || rene.Session == nil || rene.Session.Name == "":
		t.Errorf("%+v", rene)
	case *kit.Status != `{"battery": 73}` || len(kit.Places) < 2:
		t.Errorf("%+v", kit)
	case len(paul.Places) == 0 || paul.Superadmin || !by[opentera.DemoSuperadminUUID].Superadmin:
		t.Errorf("%+v", paul)
	}
	if total, by = people("PAUL"); total != 1 || by[opentera.DemoProjectAdminUUID].Name != "Paul Lavoie" {
		t.Errorf("%d %v", total, by)
	}
	if total, _ = people("%25"); total != 0 {
		t.Errorf("%% is a pattern: %d", total)
	}
	var found []person
	if err := json.Unmarshal(d.ask("GET /api/find?part=an", "").Body.Bytes(), &found); err != nil || len(found) != 20 {
		t.Errorf("%v %v", found, err)
	}
	if err := json.Unmarshal(d.ask("GET /api/find?part=gaston", "").Body.Bytes(), &found); err != nil {
		t.Error(err)
	}
	for _, p := range found {
		if p.UUID == opentera.DemoDeletedUUID {
			t.Errorf("a deleted person is found: %+v", p)
		}
	}
}

// A socket of the page is cut without a close frame, once.
func TestCut(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{})
	d := set(t, func(cfg *console.Config) {
		cfg.Client = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(waiting)
			<-r.Context().Done()
		})
	})
	server := httptest.NewUnstartedServer(d.Console)
	server.Config.ConnContext = console.ConnContext
	server.Start()
	t.Cleanup(server.Close)
	ended := make(chan error, 1)
	go func() {
		response, err := http.Get(server.URL + "/console/client/wss/user?cut=0123456789abcdef0123")
		if err == nil {
			_ = response.Body.Close()
		}
		ended <- err
	}()
	<-waiting
	must(t, d.ask("POST /api/cut", `{"secret": "0123456789abcdef0124"}`), 404, "no_socket")
	must(t, d.ask("POST /api/cut", `{"secret": "0123456789abcdef0123"}`), 204, "")
	if err := <-ended; err == nil {
		t.Error("the cut socket was answered")
	}
	must(t, d.ask("POST /api/cut", `{"secret": "0123456789abcdef0123"}`), 404, "no_socket")
	must(t, d.ask("POST /api/cut", `{"secret": ""}`), 404, "no_socket")
}
