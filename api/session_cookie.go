package api

import (
	"net/http"
	"strconv"
	"strings"

	"terasocket/access"
)

// sessionCookie carries the second step of a user's login. Its value is new for each login; one chosen by a client is not
// accepted.
const sessionCookie = "session"

// startSession begins the second step of a login; withWebsocket: the first asked for a websocket URL.
func (a *API) startSession(w http.ResponseWriter, r *http.Request, id int32, withWebsocket bool) error {
	secret, err := a.Door.Users.StartSession(r.Context(), id, withWebsocket)
	if err == nil {
		a.setSession(w, r, secret, 0)
	}
	return err
}

// withWebsocketFrom reports whether the login of this session asked for a websocket URL.
func withWebsocketFrom(r *http.Request) bool {
	cookie, err := r.Cookie(sessionCookie)
	return err == nil && access.SessionWithWebsocket(cookie.Value)
}

// further returns the URL of the next step, as OpenTera does since 1.3.1.
func further(where string, withWebsocket bool) string {
	separator := "?"
	if strings.Contains(where, "?") {
		separator = "&"
	}
	return where + separator + "with_websocket=" + strconv.FormatBool(withWebsocket)
}

// endSession ends the request's session, if any.
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

// setSession sets the cookie for pages of this server's own site, or also of others for an allowed origin, since its browser
// would not send it otherwise (isForeign then decides who may use it).
func (a *API) setSession(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	sameSite := http.SameSiteStrictMode
	if a.isAllowed(r.Header.Get("Origin")) {
		sameSite = http.SameSiteNoneMode
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: true, SameSite: sameSite})
}
