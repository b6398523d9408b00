package api

import "net/http"

// deviceLogin answers GET /api/device/login of a device (see device; login.md, section 5.2).
//
//	200 device_info, participants_info, session_types_info; websocket_url if the device may be online
//	400 an argument other than token and replace
//	401 as JSON text
//	403 "Device already logged in." (unless replace=true)
//	429 too many failures of this address, or logins and logouts of this device
func (a *API) deviceLogin(w http.ResponseWriter, r *http.Request) {
	device, v, ok := a.device(w, r, "device login")
	if !ok || !a.mayVisit(w, v, device.Principal) || !a.onlyKnown(w, r.URL.Query(), "token", "replace") {
		return
	}
	wish := socketWish{wanted: true}
	if wish.isReplace, ok = a.boolean(w, r.URL.Query(), "replace"); !ok {
		return
	}
	refused := func(err error) {
		a.refused(w, r, v, device, err, func() { a.say(w, r, http.StatusUnauthorized, "Unauthorized") })
	}
	if err := a.Door.Devices.Stamp(r.Context(), device.ID); err != nil {
		a.unavailable(w, v.op, err)
		return
	}
	info, err := a.Door.Devices.Info(r.Context(), device.ID)
	if err != nil {
		refused(err)
		return
	}
	answer := map[string]any{"device_info": info.Device, "participants_info": info.Participants, "session_types_info": info.SessionTypes}
	if info.IsOnlineable {
		mayConnect, err := a.mayConnect(r, device, wish)
		switch {
		case err != nil:
			a.unavailable(w, v.op, err)
			return
		case !mayConnect:
			a.record(r, v, alreadyOnline, device)
			a.say(w, r, http.StatusForbidden, "Device already logged in.")
			return
		}
		if answer["websocket_url"], err = a.websocketURL(r, device, wish); err != nil {
			refused(err)
			return
		}
	}
	a.record(r, v, succeeded, device)
	a.answer(w, http.StatusOK, answer)
}

// deviceLogout answers GET /api/device/logout of a device: its sockets are closed with 4000 on every gateway, and its websocket
// URLs become invalid; its token stays valid. 200 "Device logged out."
func (a *API) deviceLogout(w http.ResponseWriter, r *http.Request) {
	device, v, ok := a.device(w, r, "device logout")
	if !ok || !a.mayVisit(w, v, device.Principal) {
		return
	}
	if err := a.Door.Devices.Logout(r.Context(), device); err != nil {
		a.unavailable(w, v.op, err)
		return
	}
	a.record(r, v, neither, device)
	a.say(w, r, http.StatusOK, "Device logged out.")
}
