package api

import (
	"net/http"
	"strconv"
	"strings"

	"terasocket/access"
)

// sessionCookie carries the second step of a user's login. It is made anew for each, and what a client brings of its own
// opens nothing.
const sessionCookie = "session"

// startSession begins the second step of a login, which asked for a websocket URL or did not.
func (a *API) startSession(w http.ResponseWriter, r *http.Request, id int32, withWebsocket bool) error {
	secret, err := a.Door.Users.StartSession(r.Context(), id, withWebsocket)
	if err == nil {
		a.setSession(w, r, secret, 0)
	}
	return err
}

// withWebsocketFrom says whether the login of this session asked for a websocket URL.
func withWebsocketFrom(r *http.Request) bool {
	cookie, err := r.Cookie(sessionCookie)
	return err == nil && access.SessionWithWebsocket(cookie.Value)
}

// further is where a client goes on, as OpenTera says it since 1.3.1.
func further(where string, withWebsocket bool) string {
	separator := "?"
	if strings.Contains(where, "?") {
		separator = "&"
	}
	return where + separator + "with_websocket=" + strconv.FormatBool(withWebsocket)
}

// endSession ends the one that a client has brought, if any.
func (a *API) endSession(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return
	}
	a.setSession(w, r, "", -1)
	if err := a.Door.Users.EndSession(r.Context(), cookie.Value); err != nil {
		a.Log.Warn("login session not ended: it ends by itself", "op", "end session", "err", err)
	}
}

// setSession keeps the cookie to pages of this server's own site, but for those of an allowed origin: their own browser
// would not send it (see isForeign for who may use it then).
func (a *API) setSession(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	sameSite := http.SameSiteStrictMode
	if a.isAllowed(r.Header.Get("Origin")) {
		sameSite = http.SameSiteNoneMode
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: true, SameSite: sameSite})
}
