package api

import (
	"net/http"
	"strings"
)

// participantLogin answers GET /api/participant/login[?with_websocket=true][&replace=true] of a participant (see participant;
// login.md, section 4.2).
//
//	200 participant_uuid, participant_name, base_token (its static token, or null), session_types_info; participant_token,
//	    valid for an hour, unless the static token was used; websocket_url unless it is online
//	400 with_websocket is not a boolean
//	403 with_websocket although it is online (unless replace)
//	429 too many failures of this username or address, or logins and logouts of this participant
func (a *API) participantLogin(w http.ResponseWriter, r *http.Request) {
	c, ok := a.participant(w, r, "participant login")
	if !ok || !a.mayVisit(w, c.visit, c.Principal) {
		return
	}
	wish, ok := a.wish(w, r.URL.Query())
	if !ok {
		return
	}
	refused := func(err error) { a.refused(w, r, c.visit, c.Identity, err, func() { unauthorized(w, r) }) }
	mayConnect, err := a.mayConnect(r, c.Identity, wish)
	switch {
	case err != nil:
		a.unavailable(w, c.op, err)
		return
	case !mayConnect && wish.wanted:
		a.record(r, c.visit, alreadyOnline, c.Identity)
		a.say(w, r, http.StatusForbidden, "Participant already logged in.")
		return
	}
	answer := map[string]any{"participant_name": c.Name, "participant_uuid": c.UUID, "base_token": c.BaseToken}
	if answer["session_types_info"], err = a.Door.Participants.SessionTypes(r.Context(), c.ID); err != nil {
		a.unavailable(w, c.op, err)
		return
	}
	if err := a.Door.Participants.Stamp(r.Context(), c.ID); err != nil {
		a.unavailable(w, c.op, err)
		return
	}
	if c.IsFull {
		if answer["participant_token"], err = a.Door.Participants.Token(r.Context(), c.ID, loginLifetime); err != nil {
			refused(err)
			return
		}
	}
	if mayConnect {
		if answer["websocket_url"], err = a.websocketURL(r, c.Identity, wish); err != nil {
			refused(err)
			return
		}
	}
	a.record(r, c.visit, succeeded, c.Identity)
	a.answer(w, http.StatusOK, answer)
}

// participantLogout answers GET /api/participant/logout of a participant: its sockets are closed with 4000 on every gateway,
// and its dynamic token and websocket URLs become invalid; a static token stays valid. 200 "Participant logged out."
func (a *API) participantLogout(w http.ResponseWriter, r *http.Request) {
	c, ok := a.participant(w, r, "participant logout")
	if !ok || !a.mayVisit(w, c.visit, c.Principal) {
		return
	}
	if err := a.Door.Participants.Logout(r.Context(), c.Identity, c.token); err != nil {
		a.unavailable(w, c.op, err)
		return
	}
	a.record(r, c.visit, neither, c.Identity)
	a.say(w, r, http.StatusOK, "Participant logged out.")
}

// participantRefresh answers GET /api/participant/refresh_token with Authorization: OpenTera <dynamic token>: 200
// refresh_token, valid for half an hour; the old token becomes invalid. 403 for a static token.
func (a *API) participantRefresh(w http.ResponseWriter, r *http.Request) {
	v := visit{"participant refresh", byToken}
	scheme, token, _ := authorization(r)
	if !strings.EqualFold(scheme, tokenScheme) {
		unauthorized(w, r)
		return
	}
	c, ok := a.participantByToken(w, r, v, token)
	switch {
	case !ok || !a.mayVisit(w, v, c.Principal):
		return
	case !c.IsDynamic:
		plainly(w, r, http.StatusForbidden)
		return
	}
	fresh, err := a.Door.Participants.Token(r.Context(), c.ID, refreshLifetime)
	if err == nil {
		err = a.Door.Participants.Disable(r.Context(), token)
	}
	a.refreshed(w, r, v, c.Identity, map[string]string{}, fresh, err)
}
