package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"terasocket/access"
)

// Disconnector closes the sockets of a target on every gateway.
// Errors: access.ErrForbidden, access.ErrSelf (of a user), or the database's.
type Disconnector interface {
	ForUser(ctx context.Context, id int32, target access.Target) error
	ForService(ctx context.Context, id int32, target access.Target) error
}

// userDisconnect answers GET /api/user/disconnect of a user (see user). The target is the first non-empty argument of id_user,
// user_uuid, id_participant, participant_uuid, id_device, device_uuid.
//
//	200 "Success": the command was sent, whether or not anybody is connected
//	400 "Invalid request": no argument; "Use Logout instead to disconnect current user"; or an id that is not a number
//	403 "Forbidden": the caller may not disconnect this target
//	429 too many failures of this username or address, or disconnects, logins and logouts of this user
func (a *API) userDisconnect(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.user(w, r, "disconnect")
	if !ok || !a.mayVisit(w, caller.visit, caller.Principal) {
		return
	}
	if target, ok := a.target(w, r); ok {
		a.disconnected(w, r, target, caller.Principal.String(), a.Disconnector.ForUser(r.Context(), caller.ID, target))
	}
}

// serviceDisconnect answers GET /api/service/disconnect of a service (see service), like userDisconnect.
func (a *API) serviceDisconnect(w http.ResponseWriter, r *http.Request) {
	caller, ok := a.service(w, r, "disconnect")
	if !ok {
		return
	}
	if target, ok := a.target(w, r); ok {
		a.disconnected(w, r, target, caller.String(), a.Disconnector.ForService(r.Context(), caller.ID, target))
	}
}

// target parses the target. If none is given, the answer is written.
func (a *API) target(w http.ResponseWriter, r *http.Request) (access.Target, bool) {
	target, wrong := parseTarget(r.URL.Query())
	switch {
	case wrong != "":
		a.badArgument(w, wrong, "must be a whole number")
		return access.Target{}, false
	case target == access.Target{}:
		a.say(w, r, http.StatusBadRequest, "Invalid request")
		return access.Target{}, false
	}
	return target, true
}

// parseTarget returns the first non-empty argument; 0 counts as empty. wrong names an argument that should be a number.
func parseTarget(query url.Values) (target access.Target, wrong string) {
	for _, kind := range access.Kinds {
		name := "id_" + kind.String()
		var id int64
		if text := query.Get(name); text != "" {
			var err error
			// a number that is too large is nobody's id
			if id, err = strconv.ParseInt(text, 10, 64); errors.Is(err, strconv.ErrSyntax) {
				return access.Target{}, name
			}
		}
		if target != (access.Target{}) {
			continue // check all ids
		}
		if id != 0 {
			target = access.Target{Kind: kind, ID: id}
		} else if uuid := query.Get(kind.String() + "_uuid"); uuid != "" {
			target = access.Target{Kind: kind, UUID: uuid}
		}
	}
	return target, ""
}

// disconnected answers with the result.
func (a *API) disconnected(w http.ResponseWriter, r *http.Request, target access.Target, caller string, err error) {
	switch {
	case errors.Is(err, access.ErrSelf):
		a.say(w, r, http.StatusBadRequest, "Use Logout instead to disconnect current user")
	case errors.Is(err, access.ErrForbidden):
		a.say(w, r, http.StatusForbidden, "Forbidden")
	case err != nil:
		a.unavailable(w, "disconnect", err)
	default:
		a.Log.Info("disconnect", "op", "disconnect", "principal", caller, "kind", target.Kind.String(), "id", target.ID, "uuid", target.UUID)
		a.say(w, r, http.StatusOK, "Success")
	}
}
