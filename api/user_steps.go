package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image/png"
	"net/http"
	"net/url"
	"strings"

	"github.com/pquerna/otp/totp"

	"terasocket/access"
)

// The second steps of a user's login (login.md, sections 3.4 and 3.5), identified by the cookie "session".

const tooManyCodes = "Too many 2FA attempts. Please wait and try again."

// inSession returns the account of the session; without one, it answers 401, 429 or 503.
func (a *API) inSession(w http.ResponseWriter, r *http.Request, v visit) (access.Account, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || a.isForeign(r) {
		unauthorized(w, r)
		return access.Account{}, false
	}
	if !a.mayTry(w, r, v.op) {
		return access.Account{}, false
	}
	account, err := a.Door.Users.BySession(r.Context(), cookie.Value)
	if err != nil {
		a.refused(w, r, v, access.Identity{}, err, func() { unauthorized(w, r) })
		return access.Account{}, false
	}
	return account, true
}

// userSecondFactor answers GET or POST /api/user/login/2fa: otp_code, with_websocket, replace. As userLogin, but without a
// websocket URL if the login began without one, and:
//
//	401 no session; "Invalid OTP code"
//	403 two-factor authentication is not enabled or not set up; too many wrong codes: the login must begin anew
func (a *API) userSecondFactor(w http.ResponseWriter, r *http.Request) {
	v := visit{"user login with code", byPassword}
	account, ok := a.inSession(w, r, v)
	if !ok {
		return
	}
	given, ok := a.arguments(w, r)
	if !ok || !a.onlyKnown(w, given, "otp_code", "with_websocket", "with_websockets", "replace") {
		return
	}
	needed, ok := a.required(w, given, "otp_code")
	if !ok {
		return
	}
	wish, ok := a.wish(w, given)
	if !ok {
		return
	}
	wish.wanted = wish.wanted && withWebsocketFrom(r) // a login begun without a socket ends without one
	switch {
	case !account.Needs2FA:
		a.endSession(w, r)
		a.say(w, r, http.StatusForbidden, "User does not have 2FA enabled")
		return
	case !account.HasOTP:
		a.endSession(w, r)
		a.say(w, r, http.StatusForbidden, "User does not have 2FA OTP enabled or secret set")
		return
	}
	err := a.Door.Users.CheckOTP(r.Context(), account.ID, needed[0])
	var tooMany *access.TooMany
	switch {
	case errors.Is(err, access.ErrWrongCode):
		a.failed(r, v, wrongCode, account.Identity)
		a.say(w, r, http.StatusUnauthorized, "Invalid OTP code")
		return
	case errors.As(err, &tooMany):
		a.endSession(w, r)
		a.failed(r, v, tooOften, account.Identity)
		a.say(w, r, http.StatusForbidden, tooManyCodes)
		return
	case err != nil:
		a.unavailable(w, v.op, err)
		return
	}
	answer := map[string]any{}
	if !a.clientMayGoOn(w, r, v, account, answer) {
		return
	}
	if account.MustChangePassword { // OpenTera forgets to ask here
		a.goOn(w, r, v, account, answer, mustChange, "password_change", further(changeURL, withWebsocketFrom(r)))
		return
	}
	a.letIn(w, r, v, account, wish, answer)
}

// userOfferOTP answers GET /api/user/login/setup_2fa: 200 {"qr_code": PNG as base64, "otp_secret": base-32}. The secret is
// stored only once it comes back with a correct code. 401 no session; 403 not enabled, or already set up.
func (a *API) userOfferOTP(w http.ResponseWriter, r *http.Request) {
	v := visit{"user sets 2FA up", byPassword}
	account, ok := a.toSetUp(w, r, v)
	if !ok {
		return
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "OpenTera-" + a.host(r), AccountName: account.Username, SecretSize: 20})
	if err != nil {
		a.unavailable(w, v.op, err)
		return
	}
	image, err := key.Image(qrSize, qrSize)
	if err != nil {
		a.unavailable(w, v.op, err)
		return
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image); err != nil {
		a.unavailable(w, v.op, err)
		return
	}
	a.answer(w, http.StatusOK, map[string]string{"qr_code": base64.StdEncoding.EncodeToString(picture.Bytes()), "otp_secret": key.Secret()})
}

// qrSize is the width of the QR code, in pixels.
const qrSize = 300

// userSetUpOTP answers POST /api/user/login/setup_2fa: otp_secret, otp_code, with_email_enabled. 200 message and redirect_url,
// the next step of the login; 400 a parameter is missing, or the secret is not base32; 401 "Invalid OTP code"; otherwise as
// userOfferOTP.
func (a *API) userSetUpOTP(w http.ResponseWriter, r *http.Request) {
	v := visit{"user sets 2FA up", byPassword}
	account, ok := a.toSetUp(w, r, v)
	if !ok {
		return
	}
	given, ok := a.arguments(w, r)
	if !ok {
		return
	}
	needed, ok := a.required(w, given, "otp_secret", "otp_code")
	if !ok {
		return
	}
	withEmail, ok := a.boolean(w, given, "with_email_enabled")
	if !ok {
		return
	}
	secret, code := needed[0], needed[1]
	if !a.Door.Users.CheckNewOTP(secret, code) {
		a.failed(r, v, wrongCode, account.Identity)
		a.say(w, r, http.StatusUnauthorized, "Invalid OTP code")
		return
	}
	switch err := a.Door.Users.SetOTP(r.Context(), account.ID, secret, withEmail); {
	case errors.Is(err, access.ErrHasOTP): // a moment ago
		a.endSession(w, r)
		a.say(w, r, http.StatusForbidden, hasOTP)
	case err != nil:
		a.unavailable(w, v.op, err)
	default:
		a.record(r, v, neither, account.Identity)
		a.answer(w, http.StatusOK, map[string]string{"message": "2FA enabled for this user.",
			"redirect_url": further("/login_validate_2fa?code="+url.QueryEscape(code), withWebsocketFrom(r))})
	}
}

const hasOTP = "User already has 2FA OTP set up"

// toSetUp returns the account of the session if it may set up two-factor authentication.
func (a *API) toSetUp(w http.ResponseWriter, r *http.Request, v visit) (access.Account, bool) {
	account, ok := a.inSession(w, r, v)
	switch {
	case !ok:
		return account, false
	case !account.Needs2FA:
		a.endSession(w, r)
		a.say(w, r, http.StatusForbidden, "User does not have 2FA enabled")
		return account, false
	case account.HasOTP:
		a.endSession(w, r)
		a.say(w, r, http.StatusForbidden, hasOTP)
		return account, false
	}
	return account, true
}

// userChangePassword answers POST /api/user/login/change_password: new_password, confirm_password. 200 "Password changed": the
// client logs in again; 400 what is wrong; 401 no session; 503 too many passwords at once, or no database.
func (a *API) userChangePassword(w http.ResponseWriter, r *http.Request) {
	v := visit{"user changes password", byPassword}
	account, ok := a.inSession(w, r, v)
	if !ok {
		return
	}
	given, ok := a.arguments(w, r)
	if !ok {
		return
	}
	needed, ok := a.required(w, given, "new_password", "confirm_password")
	if !ok {
		return
	}
	password := needed[0]
	weaknesses := access.PasswordWeaknesses(password)
	refuse := func(text string) { a.say(w, r, http.StatusBadRequest, text) }
	switch {
	case password != needed[1]:
		refuse("New password and confirm password do not match")
		return
	case !account.MustChangePassword:
		refuse("User not required to change password")
		return
	case len(weaknesses) > 0:
		refuse(strings.Join(weaknesses, "<br>"))
		return
	}
	switch err := a.Door.Users.ChangePassword(r.Context(), account.ID, password); {
	case errors.Is(err, access.ErrNotRequired): // a moment ago
		refuse("User not required to change password")
	case errors.Is(err, access.ErrSamePassword):
		refuse("New password same as old password")
	case err != nil:
		a.unavailable(w, v.op, err)
	default:
		a.record(r, v, neither, account.Identity)
		a.endSession(w, r)
		a.say(w, r, http.StatusOK, "Password changed")
	}
}
