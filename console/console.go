// Package console is the operators' web page of a gateway: is it healthy, who is here, why did she not get this event; and a
// client to try it with. It is served on the admin address, under /console/.
//
//	# Access
//
// On a loopback address everybody on the machine may look, unless there is a password; elsewhere a password is required. The
// page itself holds no data, so anybody may load it. Its data is under /console/api/, with a token in a header that the
// password buys: without a cookie no other page can use it, and no other server on the same host receives it.
//
// What OpenTera decides, OpenTera's own credentials decide here too: under /console/client/ are the gateway's own login,
// disconnect and sockets, with their limits and their audit. So a kick has the rights of the user or service that signs in, and
// only superadmins see what is in an event, each time with a record in the event log.
//
// # Concurrency
//
// All methods are safe for concurrent use. Run has one goroutine, which samples the metrics.
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
	"golang.org/x/time/rate"

	"terasocket/access"
	"terasocket/doctor"
)

// Config configures the console. All fields but Degraded, Deliveries and PasswordFile are required.
type Config struct {
	Version, Gateway string
	Loopback         bool   // served on loopback addresses only
	PasswordFile     string // "": no password; read at each use, so that a change counts at once
	Pool             *pgxpool.Pool
	Metrics          prometheus.Gatherer
	Ready            func(*http.Request) error                       // why clients cannot connect now, or nil
	Degraded         func() string                                   // what else is degraded; nil: nothing
	Examine          func(context.Context) ([]doctor.Finding, error) // the checks of terasocket doctor
	Users            Users
	Audit            Audit
	Deliveries       Deliveries                   // nil: deliveries are not recorded
	Strangers        *rate.Limiter                // limits recorded wrong passwords; shared with the REST
	Client           http.Handler                 // the gateway's own sockets and REST
	ClientAddr       func(r *http.Request) string // without port, "" = not known
	Log              *slog.Logger
}

// Users authenticates users by token. Errors: *access.Refusal, or the database's.
type Users interface {
	ByToken(ctx context.Context, token string) (access.Account, error)
}

// Audit records sign-ins, and who read what is in an event. Errors: the database's.
type Audit interface {
	Record(ctx context.Context, r access.LoginRecord) error
}

// Deliveries records that the console shows the contents of an event to somebody. Errors: the database's.
type Deliveries interface {
	Shown(ctx context.Context, who access.Identity, seq uint64, addr string) error
}

// Console serves /console and everything below it.
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

// apiLimit bounds a database query.
const apiLimit = 10 * time.Second

// New returns a Console.
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

// policy allows only what is served here: no script, style or request from elsewhere, nothing inline, and no string as markup.
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

// serveFile serves the page and its files.
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

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// refuse answers {"error": code, "text": for people}; the page translates the codes.
func refuse(w http.ResponseWriter, status int, code, text string) {
	answer(w, status, map[string]string{"error": code, "text": text})
}

// lacksRights is for a role other than the owner of OpenTera's tables.
const lacksRights = "the role of --database-url may not read this: `terasocket migrate grants ROLE --console` prints what to grant, for the owner of OpenTera's tables"

func isRefused(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "42501" // insufficient_privilege
}

// unavailable answers after an error of the database.
func (c *Console) unavailable(w http.ResponseWriter, op string, err error) {
	if isRefused(err) {
		refuse(w, http.StatusForbidden, "grant", lacksRights)
		return
	}
	if !errors.Is(err, context.Canceled) { // the client has gone
		c.Log.Warn("console not answered", "op", op, "err", err)
	}
	refuse(w, http.StatusServiceUnavailable, "database", "the database does not answer: see Is it well?")
}
