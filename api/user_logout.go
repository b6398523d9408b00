package api

import (
	"net/http"
	"strings"

	"terasocket/access"
)

// userLogout answers GET /api/user/logout of a user (see user): its sockets are closed with 4000 on every gateway, and its
// token and websocket URLs become invalid. 200 "User logged out."
func (a *API) userLogout(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r, "user logout")
	if !ok || !a.mayVisit(w, caller.visit, caller.Principal) {
		return
	}
	if err := a.Door.Users.Logout(r.Context(), caller.Identity, caller.token); err != nil {
		a.unavailable(w, caller.op, err)
		return
	}
	a.endSession(w, r)
	a.record(r, caller.visit, neither, caller.Identity)
	a.say(w, r, http.StatusOK, "User logged out.")
}

// userRefresh answers GET /api/user/refresh_token[?with_websocket=true][&replace=true] with Authorization: OpenTera <token>:
// 200 refresh_token, valid for half an hour, and websocket_url if requested and the user is not online. The old token becomes
// invalid. 400, 401, 429, 503 as in userLogin.
func (a *API) userRefresh(w http.ResponseWriter, r *http.Request) {
	v := visit{"user refresh", byToken}
	scheme, token, _ := authorization(r)
	if !strings.EqualFold(scheme, tokenScheme) {
		unauthorized(w, r)
		return
	}
	caller, ok := a.userByToken(w, r, v, token)
	if !ok || !a.mayVisit(w, v, caller.Principal) {
		return
	}
	wish, ok := a.wish(w, r.URL.Query())
	if !ok {
		return
	}
	answer := map[string]string{}
	if wish.wanted {
		mayConnect, err := a.mayConnect(r, caller.Identity, wish)
		if err == nil && mayConnect {
			answer["websocket_url"], err = a.websocketURL(r, caller.Identity, wish)
		}
		if err != nil {
			a.refused(w, r, v, caller.Identity, err, func() { unauthorized(w, r) })
			return
		}
	}
	fresh, err := a.Door.Users.Token(r.Context(), caller.ID, refreshLifetime)
	if err == nil {
		err = a.Door.Users.Disable(r.Context(), token) // of concurrent calls with one token, one gets here
	}
	a.refreshed(w, r, v, caller.Identity, answer, fresh, err)
}

// refreshed answers with the new token, or handles the error.
func (a *API) refreshed(w http.ResponseWriter, r *http.Request, v visit, who access.Identity, answer map[string]string, fresh string, err error) {
	if err != nil {
		a.refused(w, r, v, who, err, func() { unauthorized(w, r) })
		return
	}
	a.record(r, v, succeeded, who)
	answer["refresh_token"] = fresh
	a.answer(w, http.StatusOK, answer)
}
