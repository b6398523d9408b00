package api

import "net/http"

// sessionCookie carries the second step of a user's login. It is made anew for each, and what a client brings of its own
// opens nothing.
const sessionCookie = "session"

// startSession begins the second step of a login.
func (a *API) startSession(w http.ResponseWriter, r *http.Request, id int32) error {
	secret, err := a.Door.Users.StartSession(r.Context(), id)
	if err == nil {
		setSession(w, secret, 0)
	}
	return err
}

// endSession ends the one that a client has brought, if any.
func (a *API) endSession(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return
	}
	setSession(w, "", -1)
	if err := a.Door.Users.EndSession(r.Context(), cookie.Value); err != nil {
		a.Log.Warn("login session not ended: it ends by itself", "op", "end session", "err", err)
	}
}

func setSession(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
}
