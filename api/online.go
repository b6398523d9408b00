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

// participantsOnline answers GET /api/user/participants/online[?with_sites=true][&with_projects=true]: the same, the
// objects with id_site and site_name, and with project_name, where asked for; 400 for what is no boolean.
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

// devicesOnline answers GET /api/user/devices/online: as usersOnline.
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
