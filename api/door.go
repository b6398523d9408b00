package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"terasocket/access"
	"terasocket/proto/opentera"
)

// Addresses counts failures by address, for all gateways.
// Errors: the database's.
type Addresses interface {
	Wait(ctx context.Context, addr string) (time.Duration, error) // 0: it may try
	Failed(ctx context.Context, addr string) error
}

// Audit keeps who came in, who was refused and who left. Errors: the database's.
type Audit interface {
	Record(ctx context.Context, r access.LoginRecord) error
}

// Door is what the endpoints of login, logout and refresh_token work with. All fields are needed.
type Door struct {
	Users        *access.Users
	Participants *access.Participants
	Devices      *access.Devices
	Tokens       *access.Tokens
	Online       *access.Online
	Versions     *access.ClientVersions
}

// Lifetimes of dynamic tokens (login.md, section 7).
const (
	loginLifetime   = time.Hour
	refreshLifetime = 30 * time.Minute
)

// visit is one call at the door, as the log and the audit tell of it. It never holds what was shown there.
type visit struct {
	op   string // "user login"
	with opentera.LoginEvent_LoginType
}

// The ways in.
const (
	byPassword    = opentera.LoginEvent_LOGIN_TYPE_PASSWORD
	byToken       = opentera.LoginEvent_LOGIN_TYPE_TOKEN
	byCertificate = opentera.LoginEvent_LOGIN_TYPE_CERTIFICATE
)

// What becomes of a visit.
const (
	succeeded     = opentera.LoginEvent_LOGIN_STATUS_SUCCESS
	neither       = opentera.LoginEvent_LOGIN_STATUS_UNKNOWN // a logout, or a refusal that OpenTera has no status for
	tooOften      = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_MAX_ATTEMPTS_REACHED
	alreadyOnline = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_ALREADY_LOGGED_IN
	wrongCode     = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD // OpenTera has none for codes
	badToken      = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_INVALID_TOKEN
	isDisabled    = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_DISABLED_ACCOUNT
)

// auditWait bounds the writing of an audit record: the login does not fail for it.
const auditWait = 5 * time.Second

// mayTry says whether this address may show credentials. Where it may not, the answer is written: 429, or 503 when the
// database cannot say. What is refused here leaves no row: whoever hammers must not push events out of the log.
func (a *API) mayTry(w http.ResponseWriter, r *http.Request, op string) bool {
	wait, err := a.Addresses.Wait(r.Context(), a.Proxies.ClientAddr(r))
	switch {
	case err != nil:
		a.unavailable(w, op, err)
		return false
	case wait > 0:
		a.Log.Info("address refused: too many failures", "op", op, "addr", a.Proxies.ClientAddr(r))
		a.tooMany(w, wait, "failed attempts")
		return false
	}
	return true
}

// refused answers credentials that opened nothing: deny for those that are wrong, whatever was wrong with them; 429 after
// too many; 503 when nobody could say. It counts and records them.
func (a *API) refused(w http.ResponseWriter, r *http.Request, v visit, who access.Identity, err error, deny func()) {
	var refusal *access.Refusal
	var tooMany *access.TooMany
	switch {
	case errors.As(err, &tooMany):
		a.failed(r, v, tooOften, tooMany.Who)
		a.tooMany(w, tooMany.Wait, "failed attempts")
	case errors.As(err, &refusal):
		a.failed(r, v, refusal.Status, refusal.Who)
		deny()
	case errors.Is(err, access.ErrDisabled):
		a.failed(r, v, isDisabled, who)
		deny()
	case errors.Is(err, access.ErrUnauthorized), errors.Is(err, access.ErrUnknown): // gone a moment ago
		a.failed(r, v, badToken, who)
		deny()
	case errors.Is(err, errNoHost):
		a.refuse(w, http.StatusBadRequest, errNoHost.Error(), -1)
	default:
		a.unavailable(w, v.op, err)
	}
}

// failed counts a failure against its address, and records it.
func (a *API) failed(r *http.Request, v visit, status opentera.LoginEvent_LoginStatus, who access.Identity) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditWait)
	defer cancel()
	if err := a.Addresses.Failed(ctx, a.Proxies.ClientAddr(r)); err != nil {
		a.Log.Error("failure not counted", "op", v.op, "err", err)
	}
	a.record(r, v, status, who)
}

// record says what became of a visit: a line of the log, and a LoginEvent in the event log, which no client hears. Refusals that any
// stranger brings about, from however many addresses, write strangerRate rows a second at most: the others are a line only.
func (a *API) record(r *http.Request, v visit, status opentera.LoginEvent_LoginStatus, who access.Identity) {
	principal := "unknown"
	if who.UUID != "" {
		principal = who.Principal.String()
	}
	addr := a.Proxies.ClientAddr(r)
	isStrange := status > succeeded && (who.UUID == "" || status == tooOften)
	isLeftOut := isStrange && a.strangers.wait(access.Principal{}, strangerRate, strangerBurst, time.Now()) > 0
	a.Log.Info("door", "op", v.op, "principal", principal, "addr", addr, "status", strings.ToLower(strings.TrimPrefix(status.String(), "LOGIN_STATUS_")), "recorded", !isLeftOut)
	if isLeftOut {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditWait)
	defer cancel()
	if err := a.Audit.Record(ctx, access.LoginRecord{
		Status: status, Type: v.with, Who: who, Message: v.op, ClientIP: addr, Endpoint: r.URL.Path,
		ClientName: r.Header.Get("X-Client-Name"), ClientVersion: r.Header.Get("X-Client-Version"),
		OSName: r.Header.Get("X-OS-Name"), OSVersion: r.Header.Get("X-OS-Version"),
	}); err != nil {
		a.Log.Error("not recorded in the event log", "op", v.op, "principal", principal, "err", err)
	}
}

// websocketURL mints a connect token for a principal and says where it opens a socket.
// Errors: access.ErrUnknown for one that may not connect any more; errNoHost; or the database's.
func (a *API) websocketURL(r *http.Request, who access.Identity, wish socketWish) (string, error) {
	if a.host(r) == "" {
		return "", errNoHost
	}
	token, err := a.Door.Tokens.Create(r.Context(), who.Kind, who.UUID)
	if err != nil {
		return "", err
	}
	address := WebsocketURL(a.base(r), who.Kind, token)
	if wish.isReplace {
		address += "&replace=true"
	}
	return address, nil
}

// mayConnect says whether a principal holds no socket on any gateway that is alive, or is to replace those that it holds.
func (a *API) mayConnect(r *http.Request, who access.Identity, wish socketWish) (bool, error) {
	if wish.isReplace {
		return true, nil
	}
	isConnected, err := a.Door.Online.IsConnected(r.Context(), who.Principal)
	return !isConnected, err
}

// errNoHost says that no websocket URL can be made.
var errNoHost = errors.New("the Host header is missing, or is no host[:port], and there is no --public-url")
