package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dbtest.Suite(m)) }

// house is an installation with its Door.
type house struct {
	testing.TB
	conn   *pgx.Conn
	api    *API
	router http.Handler
	log    *dbtest.Log

	mu   sync.Mutex
	away time.Duration // how far the clock of tokens and codes is ahead
}

// opened returns the demo installation with a Door.
func opened(t testing.TB) *house {
	t.Helper()
	url, conns := dbtest.Lend(t, dbtest.OpenTera("door", migrations.Up, dbtest.QuickPasswords), 1)
	h := &house{TB: t, conn: conns[0], log: &dbtest.Log{}}
	pool := dbtest.Pool(t, url)
	proxies, err := ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time {
		h.mu.Lock()
		defer h.mu.Unlock()
		return time.Now().Add(h.away)
	}
	keys, passwords := &access.Keys{Pool: pool}, access.NewPasswords(bcrypt.MinCost)
	users := &access.Users{Pool: pool, Passwords: passwords, Keys: keys, Now: now}
	devices, online := &access.Devices{Pool: pool}, &access.Online{Pool: pool}
	h.api = &API{
		Door: &Door{
			Users:        users,
			Participants: &access.Participants{Pool: pool, Passwords: passwords, Keys: keys, Now: now},
			Devices:      devices,
			Tokens:       &access.Tokens{Pool: pool},
			Online:       online,
			Versions:     &access.ClientVersions{Pool: pool},
		},
		Users: users, Devices: devices, Services: &access.Services{Pool: pool}, Addresses: &access.Addresses{Pool: pool},
		Audit: &access.Audit{Pool: pool}, Publisher: &access.Publisher{Pool: pool}, Online: online, DeviceStatus: devices,
		Disconnector: &access.Disconnector{Pool: pool}, Proxies: proxies, Strangers: NewStrangers(), PublicURL: "wss://tera.example:443",
		Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	h.reroute()
	t.Cleanup(func() { h.api.Recorded(context.Background()) })
	return h
}

// reroute rebuilds the routes after a setting was changed.
func (h *house) reroute() {
	router := chi.NewRouter()
	router.Use(described(h))
	h.api.Routes(router)
	h.router = router
}

func (h *house) exec(sql string, args ...any) {
	h.Helper()
	dbtest.Exec(h, h.conn, sql, args...)
}

func value[T any](h *house, sql string, args ...any) T {
	h.Helper()
	return dbtest.One[T](h, h.conn, sql, args...)
}

// logged queries the log after everything is announced.
func logged[T any](h *house, sql string, args ...any) T {
	h.Helper()
	h.announce()
	return value[T](h, sql, args...)
}

func (h *house) announce() {
	h.api.Recorded(h.Context())
	dbtest.Announce(h, h.conn, 2000)
}

// wait advances the clock of tokens and codes.
func (h *house) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away += d
}

// connect opens a socket of a principal on a gateway with this lease.
func (h *house) connect(kind string, id int, lease string) {
	h.Helper()
	h.exec("SELECT terasocket.connected(terasocket.gateway_register('test', $1::text::interval), $2, $3, '', '')", lease, kind, id)
}

// with changes a request.
type with func(*http.Request)

func basic(username, password string) with {
	return func(r *http.Request) { r.SetBasicAuth(username, password) }
}

func token(token string) with { return header("Authorization", "OpenTera "+token) }

func header(name, value string) with {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func from(addr string) with { return func(r *http.Request) { r.RemoteAddr = addr + ":5" } }

func cookie(value string) with {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: sessionCookie, Value: value}) }
}

func (h *house) get(path string, changes ...with) *reply {
	return h.ask(http.MethodGet, path, "", changes...)
}

func (h *house) post(path, body string, changes ...with) *reply {
	return h.ask(http.MethodPost, path, body, append([]with{header("Content-Type", "application/json")}, changes...)...)
}

func (h *house) ask(method, path, body string, changes ...with) *reply {
	h.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	h.router.ServeHTTP(w, r)
	response := w.Result()
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		h.Fatal(err)
	}
	headers := map[string]string{"WWW-Authenticate": "", "Vary": "Origin"}
	if len(h.api.AllowedOrigins) == 0 {
		headers = map[string]string{"WWW-Authenticate": "", "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "*",
			"Access-Control-Expose-Headers": "Retry-After", "Cross-Origin-Embedder-Policy": "require-corp", "Cache-Control": "no-store"}
	}
	for name, want := range headers {
		if got := response.Header.Get(name); got != want {
			h.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
		}
	}
	if (response.StatusCode == 429 || response.StatusCode == 503) != (response.Header.Get("Retry-After") != "") {
		h.Errorf("%s %s: %d with Retry-After %q", method, path, response.StatusCode, response.Header.Get("Retry-After"))
	}
	return &reply{house: h, status: response.StatusCode, body: strings.TrimSuffix(string(content), "\n"), header: response.Header, cookies: response.Cookies()}
}

type reply struct {
	*house
	status  int
	body    string
	header  http.Header
	cookies []*http.Cookie
}

// must checks the status and the body: JSON, or plain text.
func (r *reply) must(status int, body string) *reply {
	r.Helper()
	if r.status != status || !sameJSON(r, r.body, body) {
		r.Errorf("%d %s, want %d %s", r.status, r.body, status, body)
	}
	return r
}

// object returns the object of a 200 answer, which must have exactly these keys.
func (r *reply) object(keys ...string) map[string]any {
	r.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(r.body), &object); err != nil || r.status != 200 {
		r.Fatalf("%d %s", r.status, r.body)
	}
	var got []string
	for key := range object {
		got = append(got, key)
	}
	slices.Sort(got)
	slices.Sort(keys)
	if !slices.Equal(got, keys) {
		r.Errorf("keys %q, want %q", got, keys)
	}
	return object
}

// session returns the value of the cookie that was set.
func (r *reply) session() string {
	r.Helper()
	for _, c := range r.cookies {
		if c.Name == sessionCookie && c.Value != "" {
			if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || len(c.Value) < 43 {
				r.Errorf("cookie %+v", c)
			}
			return c.Value
		}
	}
	r.Fatalf("no session: %d %s", r.status, r.body)
	return ""
}

// hasEnded reports whether the answer deletes the cookie.
func (r *reply) hasEnded() bool {
	return slices.ContainsFunc(r.cookies, func(c *http.Cookie) bool { return c.Name == sessionCookie && c.MaxAge < 0 })
}

// redeemed returns the identity that a websocket URL admits.
func (h *house) redeemed(kind access.Kind, url any) access.Identity {
	h.Helper()
	text, _ := url.(string)
	secret, ok := strings.CutPrefix(text, "wss://tera.example:443/wss/"+kind.String()+"?id=")
	if !ok {
		h.Fatalf("websocket_url %v", url)
	}
	for _, other := range access.Kinds {
		if other != kind {
			if id, err := h.api.Door.Tokens.Redeem(h.Context(), other, secret); err == nil {
				h.Fatalf("opens as %s: %v", other, id)
			}
		}
	}
	id, err := h.api.Door.Tokens.Redeem(h.Context(), kind, secret)
	if err != nil {
		h.Fatal(err)
	}
	return id
}

// sameJSON compares parsed values, or texts that are not JSON.
func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	xs, _ := json.Marshal(x)
	ys, _ := json.Marshal(y)
	return string(xs) == string(ys)
}

const (
	unauthorizedText = "Unauthorized"
	password         = opentera.DemoPassword
)
