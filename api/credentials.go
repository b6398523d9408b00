package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"terasocket/access"
)

// Users authenticates users. Errors: *access.Refusal, *access.TooMany, access.ErrBusy (passwords only), or the database's.
type Users interface {
	ByPassword(ctx context.Context, username, password string) (access.Account, error)
	ByToken(ctx context.Context, token string) (access.Account, error)
}

// Devices authenticates devices by token, or by the UUID of their certificate. Errors: *access.Refusal, access.ErrDisabled, or
// the database's.
type Devices interface {
	Device(ctx context.Context, token string) (access.Identity, error)
	ByUUID(ctx context.Context, uuid string) (access.Identity, error)
}

// Services authenticates services. Errors: access.ErrUnauthorized, or the database's.
type Services interface {
	Service(ctx context.Context, token string) (access.Service, error)
}

// authorization parses the header Authorization, "OpenTera <token>". hasBlank is false if the header does not have two parts.
func authorization(r *http.Request) (scheme, token string, hasBlank bool) {
	header := strings.TrimSpace(r.Header.Get("Authorization"))
	if header == "" {
		return "", "", true
	}
	scheme, token, hasBlank = strings.Cut(header, " ")
	return scheme, strings.TrimSpace(token), hasBlank
}

// tokenScheme is OpenTera's authorization scheme, in this exact spelling.
const tokenScheme = "OpenTera"

// caller is an authenticated user, with the token it presented, "" after a password.
type caller struct {
	access.Account
	token string
	visit
}

// user authenticates a user, by HTTP Basic or Authorization: OpenTera <token>. If it cannot, the answer is written:
//
//	401 Unauthorized: no credentials, unknown name, wrong password, bad token, disabled account
//	401 {"message": "Unauthorized - ..."}: the password is right but must be changed first, or is not enough (2FA)
//	429 too many failures of this username or address
//	503 too many logins at once, or no database
func (a *API) user(w http.ResponseWriter, r *http.Request, op string) (caller, bool) {
	if scheme, token, _ := authorization(r); scheme == tokenScheme {
		return a.userByToken(w, r, visit{op, byToken}, token)
	}
	account, ok := a.userByPassword(w, r, visit{op, byPassword})
	switch {
	case !ok:
	case account.MustChangePassword:
		a.refuse(w, http.StatusUnauthorized, "Unauthorized - User must login first to change password", -1)
	case account.Needs2FA:
		a.refuse(w, http.StatusUnauthorized, "Unauthorized - 2FA is enabled, must login first and use token", -1)
	default:
		return caller{account, "", visit{op, byPassword}}, true
	}
	return caller{}, false
}

func (a *API) userByToken(w http.ResponseWriter, r *http.Request, v visit, token string) (caller, bool) {
	if !a.mayTry(w, r, v.op) {
		return caller{}, false
	}
	account, err := a.Users.ByToken(r.Context(), token)
	if err != nil {
		a.refused(w, r, v, access.Identity{}, err, func() { unauthorized(w, r) })
		return caller{}, false
	}
	return caller{account, token, v}, true
}

// basic returns the name and password of HTTP Basic. If there are none, or this address may not try, the answer is written.
func (a *API) basic(w http.ResponseWriter, r *http.Request, op string) (username, password string, ok bool) {
	if username, password, ok = r.BasicAuth(); !ok {
		unauthorized(w, r)
		return "", "", false
	}
	return username, password, a.mayTry(w, r, op)
}

// userByPassword checks a user's name and password, from HTTP Basic.
func (a *API) userByPassword(w http.ResponseWriter, r *http.Request, v visit) (access.Account, bool) {
	username, password, ok := a.basic(w, r, v.op)
	if !ok {
		return access.Account{}, false
	}
	account, err := a.Users.ByPassword(r.Context(), username, password)
	if err != nil {
		a.refused(w, r, v, access.Identity{}, err, func() { unauthorized(w, r) })
		return access.Account{}, false
	}
	return account, true
}

// participantCaller is an authenticated participant, with the token it presented.
type participantCaller struct {
	access.ParticipantLogin
	token string
	visit
}

// participant authenticates a participant, by HTTP Basic or Authorization: OpenTera <token>, a static or a dynamic one. It
// answers as user does.
func (a *API) participant(w http.ResponseWriter, r *http.Request, op string) (participantCaller, bool) {
	if scheme, token, _ := authorization(r); scheme == tokenScheme {
		return a.participantByToken(w, r, visit{op, byToken}, token)
	}
	v := visit{op, byPassword}
	username, password, ok := a.basic(w, r, op)
	if !ok {
		return participantCaller{}, false
	}
	login, err := a.Door.Participants.ByPassword(r.Context(), username, password)
	if err != nil {
		a.refused(w, r, v, access.Identity{}, err, func() { unauthorized(w, r) })
		return participantCaller{}, false
	}
	return participantCaller{login, "", v}, true
}

func (a *API) participantByToken(w http.ResponseWriter, r *http.Request, v visit, token string) (participantCaller, bool) {
	if !a.mayTry(w, r, v.op) {
		return participantCaller{}, false
	}
	login, err := a.Door.Participants.ByToken(r.Context(), token)
	if err != nil {
		a.refused(w, r, v, access.Identity{}, err, func() { unauthorized(w, r) })
		return participantCaller{}, false
	}
	return participantCaller{login, token, v}, true
}

// device authenticates a device (login.md, section 5.1): by certificate, else by its static token, in Authorization: OpenTera
// <token> or ?token=<token>. Credentials that name no device fall through to the next. If none is left, the answer is written:
//
//	401 "Unauthorized"; "Disabled device" for a disabled one's certificate, or token in the header; "Invalid token" for a
//	    header without a blank
//	429 too many failures of this address
//	503 no database
func (a *API) device(w http.ResponseWriter, r *http.Request, op string) (access.Identity, visit, bool) {
	scheme, headerToken, hasBlank := authorization(r)
	type key struct {
		with     visit
		ask      func() (access.Identity, error)
		disabled string // text for a disabled device
	}
	var keys []key
	if uuid, ok := a.Proxies.certificateUUID(r); ok {
		keys = append(keys, key{visit{op, byCertificate}, func() (access.Identity, error) { return a.Devices.ByUUID(r.Context(), uuid) }, "Disabled device"})
	}
	byHeader := func() (access.Identity, error) { return a.Devices.Device(r.Context(), headerToken) }
	byArgument := func() (access.Identity, error) { return a.Devices.Device(r.Context(), r.URL.Query().Get("token")) }
	if hasBlank && scheme == tokenScheme {
		keys = append(keys, key{visit{op, byToken}, byHeader, "Disabled device"})
	}
	if hasBlank && r.URL.Query().Get("token") != "" {
		keys = append(keys, key{visit{op, byToken}, byArgument, "Unauthorized"})
	}
	refusal, last := "Unauthorized", visit{op, byToken}
	if !hasBlank {
		refusal = "Invalid token"
	}
	if len(keys) == 0 {
		a.say(w, r, http.StatusUnauthorized, refusal)
		return access.Identity{}, last, false
	}
	if !a.mayTry(w, r, op) {
		return access.Identity{}, last, false
	}
	var who access.Identity
	var err error
	for _, k := range keys {
		last = k.with
		if who, err = k.ask(); err == nil {
			return who, k.with, true
		}
		if errors.Is(err, access.ErrUnauthorized) {
			continue
		}
		if errors.Is(err, access.ErrDisabled) {
			refusal = k.disabled
		}
		break
	}
	a.refused(w, r, last, who, err, func() { a.say(w, r, http.StatusUnauthorized, refusal) })
	return access.Identity{}, last, false
}

// service authenticates a service, by Authorization: OpenTera <token> or ?token=<token>. If it cannot, the answer is written:
// 401 "Unauthorized", or "Invalid Token" for a header without a blank; 429; 503.
func (a *API) service(w http.ResponseWriter, r *http.Request, op string) (access.Service, bool) {
	token := r.URL.Query().Get("token")
	scheme, headerToken, hasBlank := authorization(r)
	switch {
	case !hasBlank:
		a.say(w, r, http.StatusUnauthorized, "Invalid Token")
		return access.Service{}, false
	case scheme == tokenScheme:
		token = headerToken
	}
	if token == "" {
		a.say(w, r, http.StatusUnauthorized, "Unauthorized")
		return access.Service{}, false
	}
	if !a.mayTry(w, r, op) {
		return access.Service{}, false
	}
	service, err := a.Services.Service(r.Context(), token)
	if err != nil {
		a.refused(w, r, visit{op, byToken}, access.Identity{}, err, func() { a.say(w, r, http.StatusUnauthorized, "Unauthorized") })
		return access.Service{}, false
	}
	return service, true
}

// unauthorized is OpenTera's 401 for users and participants: no WWW-Authenticate, so that browsers do not prompt.
func unauthorized(w http.ResponseWriter, r *http.Request) { plainly(w, r, http.StatusUnauthorized) }

// plainly is OpenTera's answer for its Basic and token schemes: plain text, labelled HTML.
func plainly(w http.ResponseWriter, r *http.Request, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(translated(r, "Unauthorized")))
}
