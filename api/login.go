package api

import (
	"errors"
	"net/http"
	"strings"

	"terasocket/access"
)

// userLogin answers GET /api/user/login[?with_websocket=true] with HTTP Basic.
//
//	200 {"user_uuid": "...", "user_fullname": "...", "websocket_url": "wss://host:port/wss/user?id=..."}
//	200 {"message": "...", "reason": "password_change" | "2fa", "redirect_url": "..."}: more is needed first, no URL
//	400 with_websocket is not a boolean
//	401 unknown name, wrong password, disabled account
//	503 too many logins at once, or no database
func (a *API) userLogin(w http.ResponseWriter, r *http.Request) {
	withWebsocket, ok := boolean(r, "with_websocket", "with_websockets")
	if !ok {
		a.badArgument(w, "with_websocket", mustBeBoolean)
		return
	}
	login, ok := a.basic(w, r, "user login")
	switch {
	case !ok:
		return
	case login.MustChangePassword:
		a.answer(w, http.StatusOK, map[string]string{"message": "Password change required for this user.",
			"reason": "password_change", "redirect_url": "/login_change_password"})
		return
	case login.Needs2FA:
		a.answer(w, http.StatusOK, map[string]string{"message": "2FA required for this user.",
			"reason": "2fa", "redirect_url": "/login_validate_2fa"})
		return
	}
	answer := map[string]string{"user_uuid": login.UUID, "user_fullname": login.Name}
	if withWebsocket {
		token, err := a.Minter.Create(r.Context(), access.User, login.UUID)
		switch {
		case errors.Is(err, access.ErrUnknown): // disabled or deleted a moment ago
			unauthorized(w)
			return
		case err != nil:
			a.unavailable(w, "user login", err)
			return
		}
		answer["websocket_url"] = WebsocketURL(a.base(r), access.User, token)
	}
	a.Log.Info("login", "op", "user login", "principal", login.Principal.String(), "addr", a.Proxies.ClientAddr(r))
	a.answer(w, http.StatusOK, answer)
}

// basic checks a user's name and password, from HTTP Basic. Where they are not good, the answer is written.
func (a *API) basic(w http.ResponseWriter, r *http.Request, op string) (access.Login, bool) {
	username, password, ok := r.BasicAuth()
	if !ok {
		unauthorized(w)
		return access.Login{}, false
	}
	login, err := a.Credentials.User(r.Context(), username, password)
	switch {
	case errors.Is(err, access.ErrUnauthorized):
		a.Log.Info("user refused", "op", op, "addr", a.Proxies.ClientAddr(r))
		unauthorized(w)
		return access.Login{}, false
	case err != nil:
		a.unavailable(w, op, err)
		return access.Login{}, false
	}
	return login, true
}

// unauthorized is OpenTera's 401: no WWW-Authenticate, so that browsers do not prompt.
func unauthorized(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte("Unauthorized"))
}

func (a *API) unavailable(w http.ResponseWriter, op string, err error) {
	if !errors.Is(err, access.ErrBusy) {
		a.Log.Error("request failed", "op", op, "err", err)
	}
	w.Header().Set("Retry-After", "5")
	a.answer(w, http.StatusServiceUnavailable, "Service unavailable, please try again.")
}

// boolean reads the first of these query parameters that is there. Absent is false; ok is false for what is no boolean.
func boolean(r *http.Request, names ...string) (value, ok bool) {
	query := r.URL.Query()
	for _, name := range names {
		if !query.Has(name) {
			continue
		}
		switch strings.ToLower(query.Get(name)) {
		case "true", "1", "on":
			return true, true
		case "false", "0":
			return false, true
		}
		return false, false
	}
	return false, true
}
