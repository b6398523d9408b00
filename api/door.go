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

// Addresses counts failures by address, across all gateways. Errors: the database's.
type Addresses interface {
	Wait(ctx context.Context, addr string) (time.Duration, error) // 0: it may try
	Failed(ctx context.Context, addr string) error
}

// Audit records logins, refusals and logouts. Errors: the database's.
type Audit interface {
	Record(ctx context.Context, r access.LoginRecord) error
}

// Door holds the dependencies of the login, logout and refresh_token endpoints. All fields are required.
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

// visit describes one call for the log and the audit. It never holds credentials.
type visit struct {
	op   string // "user login"
	with opentera.LoginEvent_LoginType
}

// Login types.
const (
	byPassword    = opentera.LoginEvent_LOGIN_TYPE_PASSWORD
	byToken       = opentera.LoginEvent_LOGIN_TYPE_TOKEN
	byCertificate = opentera.LoginEvent_LOGIN_TYPE_CERTIFICATE
)

// Outcomes of a visit.
const (
	succeeded     = opentera.LoginEvent_LOGIN_STATUS_SUCCESS
	neither       = opentera.LoginEvent_LOGIN_STATUS_UNKNOWN // a logout, or a refusal for which OpenTera has no status
	tooOften      = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_MAX_ATTEMPTS_REACHED
	alreadyOnline = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_ALREADY_LOGGED_IN
	wrongCode     = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD // OpenTera has no status for codes
	badToken      = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_INVALID_TOKEN
	isDisabled    = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_DISABLED_ACCOUNT
)

// auditWait bounds the writing of an audit record; the login does not fail with it.
const auditWait = 5 * time.Second

// mayTry reports whether this address may try credentials. If not, the answer is written: 429, or 503 if the database fails.
// Such refusals leave no row: a flood of them must not push events out of the log.
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

// refused answers credentials that failed: deny writes the answer for wrong ones, whatever was wrong; 429 after too many; 503
// if they could not be checked. It counts and records the failure.
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
	case errors.Is(err, access.ErrUnauthorized), errors.Is(err, access.ErrUnknown): // deleted a moment ago
		a.failed(r, v, badToken, who)
		deny()
	case errors.Is(err, errNoHost):
		a.refuse(w, http.StatusBadRequest, errNoHost.Error(), -1)
	default:
		a.unavailable(w, v.op, err)
	}
}

// failed counts a failure against its address, and records it in the background: if the answer waited, its time would tell
// known names, whose failures are always recorded, from unknown ones.
func (a *API) failed(r *http.Request, v visit, status opentera.LoginEvent_LoginStatus, who access.Identity) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditWait)
	defer cancel()
	if err := a.Addresses.Failed(ctx, a.Proxies.ClientAddr(r)); err != nil {
		a.Log.Error("failure not counted", "op", v.op, "err", err)
	}
	write := a.note(r, v, status, who)
	if !a.late.TryAcquire(1) {
		write()
		return
	}
	go func() {
		defer a.late.Release(1)
		write()
	}()
}

// lateRecords is how many records are written in the background at once.
const lateRecords = 64

// Recorded waits until the records of all answers given so far are written, or ctx ends.
func (a *API) Recorded(ctx context.Context) {
	if a.late.Acquire(ctx, lateRecords) == nil {
		a.late.Release(lateRecords)
	}
}

// record writes the outcome of a visit to the log, and as a LoginEvent to the event log, which no client receives.
func (a *API) record(r *http.Request, v visit, status opentera.LoginEvent_LoginStatus, who access.Identity) {
	a.note(r, v, status, who)()
}

// note does the same, and leaves the LoginEvent to write. Refusals of unknown callers, from any number of addresses, write at most
// strangerRate rows a second; beyond that only a log line.
func (a *API) note(r *http.Request, v visit, status opentera.LoginEvent_LoginStatus, who access.Identity) (write func()) {
	principal := "unknown"
	if who.UUID != "" {
		principal = who.Principal.String()
	}
	addr := a.Proxies.ClientAddr(r)
	isStrange := status > succeeded && (who.UUID == "" || status == tooOften)
	isLeftOut := isStrange && !a.Strangers.Allow()
	a.Log.Info("door", "op", v.op, "principal", principal, "addr", addr, "status", strings.ToLower(strings.TrimPrefix(status.String(), "LOGIN_STATUS_")), "recorded", !isLeftOut)
	if isLeftOut {
		return func() {}
	}
	record := access.LoginRecord{
		At: time.Now(), Status: status, Type: v.with, Who: who, Message: v.op, ClientIP: addr, Endpoint: r.URL.Path,
		ClientName: r.Header.Get("X-Client-Name"), ClientVersion: r.Header.Get("X-Client-Version"),
		OSName: r.Header.Get("X-OS-Name"), OSVersion: r.Header.Get("X-OS-Version"),
	}
	ctx := context.WithoutCancel(r.Context())
	return func() {
		ctx, cancel := context.WithTimeout(ctx, auditWait)
		defer cancel()
		if err := a.Audit.Record(ctx, record); err != nil {
			a.Log.Error("not recorded in the event log", "op", v.op, "principal", principal, "err", err)
		}
	}
}

// websocketURL creates a connect token for a principal and returns the URL for it. Errors: access.ErrUnknown if it may no
// longer connect; errNoHost; or the database's.
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

// mayConnect reports whether a principal has no socket on any live gateway, or wants to replace its sockets.
func (a *API) mayConnect(r *http.Request, who access.Identity, wish socketWish) (bool, error) {
	if wish.isReplace {
		return true, nil
	}
	isConnected, err := a.Door.Online.IsConnected(r.Context(), who.Principal)
	return !isConnected, err
}

// errNoHost means that no websocket URL can be built.
var errNoHost = errors.New("the Host header is missing, or is no host[:port], and there is no --public-url")
