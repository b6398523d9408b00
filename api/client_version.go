package api

import (
	"net/http"
	"strings"
)

// clientVersion compares the client program, where it says in X-Client-Name and X-Client-Version which it is, with what
// the installation knows of it, and adds to a login's answer what OpenTera does: version_latest, and version_error where
// they differ. isTooOld: their major versions differ; then answer is that of 426. What cannot be read is not known: nobody is
// refused for it.
func (a *API) clientVersion(r *http.Request, answer map[string]any) (isTooOld bool) {
	name, version := r.Header.Get("X-Client-Name"), r.Header.Get("X-Client-Version")
	if name == "" || version == "" {
		return false
	}
	latest, err := a.Door.Versions.Client(r.Context(), name)
	if err != nil {
		a.Log.Warn("client version not looked at", "op", "client version", "err", err)
	}
	if latest == nil {
		return false
	}
	answer["version_latest"] = latest
	if version == latest.Version {
		return false
	}
	answer["version_error"] = "Client version mismatch"
	parts := strings.Split(version, ".")
	if major, _, _ := strings.Cut(latest.Version, "."); parts[0] == major {
		return false
	}
	answer["current_version"] = parts
	answer["message"] = "Client major version too old, not accepting login"
	return true
}
