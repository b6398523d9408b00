package api

import (
	"context"
	"net/http"

	"terasocket/access"
)

// OnlineLister says who is online or busy, of those that a user may see. No slice is nil, else the answer would be null.
// Errors: the database's.
type OnlineLister interface {
	Users(ctx context.Context, viewer int32) ([]access.OnlineUser, error)
	Participants(ctx context.Context, viewer int32) ([]access.OnlineParticipant, error)
	Devices(ctx context.Context, viewer int32) ([]access.OnlineDevice, error)
}

// usersOnline answers GET /api/user/users/online of a user (see user): 200 and an array.
func (a *API) usersOnline(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r)
	if !ok {
		return
	}
	users, err := a.Online.Users(r.Context(), caller.ID)
	if err != nil {
		a.unavailable(w, "online users", err)
		return
	}
	a.answer(w, http.StatusOK, users)
}

// participantsOnline answers GET /api/user/participants/online[?with_sites=true][&with_projects=true]: the same, the
// objects with id_site and site_name, and with project_name, where asked for; 400 for what is no boolean.
func (a *API) participantsOnline(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r)
	if !ok {
		return
	}
	withSites, ok := boolean(r, "with_sites")
	if !ok {
		a.badArgument(w, "with_sites", mustBeBoolean)
		return
	}
	withProjects, ok := boolean(r, "with_projects")
	if !ok {
		a.badArgument(w, "with_projects", mustBeBoolean)
		return
	}
	participants, err := a.Online.Participants(r.Context(), caller.ID)
	if err != nil {
		a.unavailable(w, "online participants", err)
		return
	}
	for i := range participants {
		if !withProjects {
			participants[i].ProjectName = nil
		}
		if !withSites {
			participants[i].SiteID, participants[i].SiteName = nil, nil
		}
	}
	a.answer(w, http.StatusOK, participants)
}

// devicesOnline answers GET /api/user/devices/online: as usersOnline.
func (a *API) devicesOnline(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r)
	if !ok {
		return
	}
	devices, err := a.Online.Devices(r.Context(), caller.ID)
	if err != nil {
		a.unavailable(w, "online devices", err)
		return
	}
	a.answer(w, http.StatusOK, devices)
}

// user says which user calls, by HTTP Basic; user tokens come later. Where there is none that may, the answer is written:
//
//	401 Unauthorized: no credentials, unknown name, wrong password, disabled account
//	401 {"message": "Unauthorized - ..."}: the password is right but must be changed first, or is not enough (2FA)
//	503 too many logins at once, or no database
func (a *API) user(w http.ResponseWriter, r *http.Request) (access.Login, bool) {
	login, ok := a.basic(w, r, "user")
	switch {
	case !ok:
	case login.MustChangePassword:
		a.refuse(w, http.StatusUnauthorized, "Unauthorized - User must login first to change password", -1)
	case login.Needs2FA:
		a.refuse(w, http.StatusUnauthorized, "Unauthorized - 2FA is enabled, must login first and use token", -1)
	default:
		return login, true
	}
	return access.Login{}, false
}

const mustBeBoolean = "must be true or false"

// badArgument is OpenTera's answer to an argument of another type than it must be of.
func (a *API) badArgument(w http.ResponseWriter, name, problem string) {
	a.answer(w, http.StatusBadRequest, map[string]any{
		"errors":  map[string]string{name: problem},
		"message": "Input payload validation failed",
	})
}
