package api

import (
	"net/http"

	"terasocket/access"
)

// userLogin answers GET /api/user/login[?with_websocket=true][&replace=true] with HTTP Basic (login.md, section 3.1).
//
//	200 user_uuid, user_fullname, user_token (valid for an hour); websocket_url if requested; version_latest and
//	    version_error for a known client program
//	200 message, reason, redirect_url: another step comes first, with the cookie "session". reason is password_change,
//	    2fa or 2fa_setup
//	400 with_websocket or replace is not a boolean, an unknown argument, or a Host that is not valid in a URL
//	401 unknown name, wrong password, disabled account
//	403 already online (unless replace), or too many wrong codes of two-factor authentication
//	426 the client program is too old
//	429 too many failures of this username or address, or logins and logouts of this user
//	503 too many logins at once, or no database
func (a *API) userLogin(w http.ResponseWriter, r *http.Request) {
	v := visit{"user login", byPassword}
	account, ok := a.userByPassword(w, r, v)
	if !ok || !a.mayVisit(w, v, account.Principal) {
		return
	}
	given := r.URL.Query()
	if !a.onlyKnown(w, given, "with_websocket", "with_websockets", "replace") {
		return
	}
	wish, ok := a.wish(w, given)
	if !ok {
		return
	}
	answer := map[string]any{}
	if !a.clientMayGoOn(w, r, v, account, answer) {
		return
	}
	if account.MustChangePassword {
		a.furtherStep(w, r, v, account, wish, answer, mustChange, "password_change", changeURL)
		return
	}
	if account.Needs2FA {
		isBlocked, err := a.Door.Users.OTPBlocked(r.Context(), account.ID)
		switch {
		case err != nil:
			a.unavailable(w, v.op, err)
		case isBlocked:
			a.record(r, v, tooOften, account.Identity)
			a.say(w, r, http.StatusForbidden, tooManyCodes)
		case account.HasOTP:
			a.furtherStep(w, r, v, account, wish, answer, "2FA required for this user.", "2fa", "/login_validate_2fa")
		default:
			a.furtherStep(w, r, v, account, wish, answer, "2FA enabled but not set up for this user.", "2fa_setup", "/login_setup_2fa")
		}
		return
	}
	a.letIn(w, r, v, account, wish, answer)
}

const (
	mustChange = "Password change required for this user."
	changeURL  = "/login_change_password"
)

// clientMayGoOn refuses a client program that is too old, and adds OpenTera's version fields to the answer.
func (a *API) clientMayGoOn(w http.ResponseWriter, r *http.Request, v visit, account access.Account, answer map[string]any) bool {
	if !a.clientVersion(r, answer) {
		return true
	}
	a.endSession(w, r)
	a.record(r, visit{v.op + ": client too old", v.with}, neither, account.Identity)
	a.answer(w, http.StatusUpgradeRequired, answer)
	return false
}

// furtherStep begins a session and answers that the password was right and which step is next.
func (a *API) furtherStep(w http.ResponseWriter, r *http.Request, v visit, account access.Account, wish socketWish, answer map[string]any, message, reason, where string) {
	if err := a.startSession(w, r, account.ID, wish.wanted); err != nil {
		a.unavailable(w, v.op, err)
		return
	}
	a.goOn(w, r, v, account, answer, message, reason, further(where, wish.wanted))
}

// goOn answers with the next step of a session.
func (a *API) goOn(w http.ResponseWriter, r *http.Request, v visit, account access.Account, answer map[string]any, message, reason, where string) {
	a.record(r, visit{v.op + ": " + reason, v.with}, neither, account.Identity)
	answer["message"], answer["reason"], answer["redirect_url"] = message, reason, where
	a.answer(w, http.StatusOK, answer)
}

// letIn answers a user that has completed all steps, and ends the session of the second step, if there was one.
func (a *API) letIn(w http.ResponseWriter, r *http.Request, v visit, account access.Account, wish socketWish, answer map[string]any) {
	a.endSession(w, r)
	if wish.wanted {
		mayConnect, err := a.mayConnect(r, account.Identity, wish)
		switch {
		case err != nil:
			a.unavailable(w, v.op, err)
			return
		case !mayConnect:
			a.record(r, v, alreadyOnline, account.Identity)
			a.say(w, r, http.StatusForbidden, "User already logged in.")
			return
		}
		if answer["websocket_url"], err = a.websocketURL(r, account.Identity, wish); err != nil {
			a.refused(w, r, v, account.Identity, err, func() { unauthorized(w, r) })
			return
		}
	}
	token, err := a.Door.Users.Token(r.Context(), account.ID, loginLifetime)
	if err != nil {
		a.refused(w, r, v, account.Identity, err, func() { unauthorized(w, r) })
		return
	}
	a.record(r, v, succeeded, account.Identity)
	answer["user_uuid"], answer["user_fullname"], answer["user_token"] = account.UUID, account.Name, token
	a.answer(w, http.StatusOK, answer)
}
