// Package console is the web page for those who run a gateway: is it well, who is here, why did she not get this event; and a
// client to try. It is served on the admin address, below /console/.
//
// # Who may
//
// On a loopback address whoever is on the machine may look, unless there is a password; elsewhere nobody may without one. The
// page itself holds nothing, so anybody may load it. What it asks for is below /console/api/, by a token that a password buys, in
// a header: there is no cookie, so another page cannot use it, and another server on the same host does not get it.
//
// What OpenTera decides, OpenTera's own credentials decide here too: below /console/client/ are the gateway's own login, disconnect
// and sockets, with their limits and their audit. So a kick has the rights of the user or service that signs in, and what is
// in an event is for superadmins alone, each time with a record in the event log.
//
// # Concurrency
//
// All methods may be called at once. Run has one goroutine, which samples the metrics.
package console

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"terasocket/access"
	"terasocket/doctor"
)

// Config says what the console shows. All fields but Degraded and PasswordFile are needed.
type Config struct {
	Version, Gateway string
	Loopback         bool   // it is served on a loopback address alone
	PasswordFile     string // "": no password; read at each use, so that another counts at once
	Pool             *pgxpool.Pool
	Metrics          prometheus.Gatherer
	Ready            func(*http.Request) error                       // why clients cannot be taken now, or nil
	Degraded         func() string                                   // what else does not work; nil: nothing
	Examine          func(context.Context) ([]doctor.Finding, error) // what terasocket doctor says
	Users            Users
	Audit            Audit
	Client           http.Handler                 // the gateway's own sockets and REST
	ClientAddr       func(r *http.Request) string // without port, "" = not known
	Log              *slog.Logger
}

// Users knows users by their tokens. Errors: *access.Refusal, or the database's.
type Users interface {
	ByToken(ctx context.Context, token string) (access.Account, error)
}

// Audit keeps who came in, and who read what is in an event. Errors: the database's.
type Audit interface {
	Record(ctx context.Context, r access.LoginRecord) error
}

// Console is the handler of /console and what is below.
type Console struct {
	Config
	mux      *http.ServeMux
	door     door
	samples  samples
	checkup  checkup
	cuttable cuttable
}

//go:embed static
var static embed.FS

// apiLimit is for questions to the database.
const apiLimit = 10 * time.Second

// New makes a console.
func New(cfg Config) *Console {
	c := &Console{Config: cfg, mux: http.NewServeMux(), checkup: checkup{turn: make(chan struct{}, 1)}}
	c.mux.HandleFunc("GET /console", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/console/", http.StatusPermanentRedirect)
	})
	c.mux.HandleFunc("GET /console/{$}", serveFile)
	c.mux.HandleFunc("GET /console/{file}", serveFile)
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /status":         c.status,
		"GET /doctor":         c.doctor,
		"POST /doctor":        c.doctor,
		"GET /people":         c.people,
		"GET /find":           c.find,
		"GET /log":            c.log,
		"GET /log/{seq}/body": c.body,
		"GET /explain":        c.explain,
		"POST /cut":           c.cut,
		"DELETE /session":     c.endSession,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		c.mux.Handle(method+" /console/api"+path, c.forOperators(handler))
	}
	c.mux.HandleFunc("GET /console/api/session", c.session)
	c.mux.HandleFunc("POST /console/api/session", c.newSession)
	c.mux.HandleFunc("/console/api/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "unknown", "there is nothing here")
	})
	c.mux.HandleFunc("/console/client/", c.client)
	return c
}

// Run samples until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	if c.isOff() {
		return nil
	}
	return c.samples.run(ctx, c.Metrics)
}

// policy allows nothing but what is served here: no script, style or request from elsewhere, none inline, and no string that
// becomes markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range map[string]string{
		"Content-Security-Policy":      policy,
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
		"Cache-Control":                "no-store",
	} {
		w.Header().Set(name, value)
	}
	if why := c.isStrange(r); why != "" {
		c.Log.Warn("console refused", "op", "console", "addr", c.ClientAddr(r), "err", why)
		refuse(w, http.StatusForbidden, "strange", why)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// serveFile serves the page and what it is made of.
func serveFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if name == "" {
		name = "index.html"
	}
	kind := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}[path.Ext(name)]
	if kind == "" {
		kind = "text/plain"
	}
	content, err := static.ReadFile("static/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	_, _ = w.Write(content)
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// refuse answers {"error": code, "text": for people}; the page knows the codes in its languages.
func refuse(w http.ResponseWriter, status int, code, text string) {
	answer(w, status, map[string]string{"error": code, "text": text})
}

// Grants says what a role that is not the owner of OpenTera's tables needs for the console.
const Grants = "the role of --database-url may not read this: as the owner of OpenTera's tables run: GRANT EXECUTE ON FUNCTION terasocket.console_gateways(), " +
	"terasocket.console_people(text, integer), terasocket.console_find(text), terasocket.console_log(bigint, bigint, text, boolean, integer), " +
	"terasocket.console_body(bigint, integer), terasocket.explain(bigint, text, text) TO that role;"

// unavailable answers what the database did not say.
func (c *Console) unavailable(w http.ResponseWriter, op string, err error) {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
		refuse(w, http.StatusForbidden, "grant", Grants)
		return
	}
	if !errors.Is(err, context.Canceled) { // who asked has left
		c.Log.Warn("console not answered", "op", op, "err", err)
	}
	refuse(w, http.StatusServiceUnavailable, "database", "the database does not answer: see Is it well?")
}
