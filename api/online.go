package api

import (
	"context"
	"net/http"

	"terasocket/access"
)

// OnlineLister lists who is online or busy among those a user may see. No slice is nil, since nil would encode as null.
// Errors: the database's.
type OnlineLister interface {
	Users(ctx context.Context, viewer int32) ([]access.OnlineUser, error)
	Participants(ctx context.Context, viewer int32) ([]access.OnlineParticipant, error)
	Devices(ctx context.Context, viewer int32) ([]access.OnlineDevice, error)
}

// usersOnline answers GET /api/user/users/online of a user (see user): 200 and an array.
func (a *API) usersOnline(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r, "online users")
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

// participantsOnline answers GET /api/user/participants/online[?with_sites=true][&with_projects=true] like usersOnline; the
// objects have id_site and site_name, and project_name, if requested; 400 if an argument is not a boolean.
func (a *API) participantsOnline(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r, "online participants")
	if !ok {
		return
	}
	given := r.URL.Query()
	withSites, ok := a.boolean(w, given, "with_sites")
	if !ok {
		return
	}
	withProjects, ok := a.boolean(w, given, "with_projects")
	if !ok {
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

// devicesOnline answers GET /api/user/devices/online, like usersOnline.
func (a *API) devicesOnline(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r, "online devices")
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
