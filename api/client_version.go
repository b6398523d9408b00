package api

import (
	"net/http"
	"strings"
)

// clientVersion compares the client program named in X-Client-Name and X-Client-Version with the versions known to the
// installation. It adds what OpenTera does to the answer of a login: version_latest, and version_error if they differ. isTooOld
// means that the major versions differ; answer is then the body of the 426. Malformed headers refuse nobody.
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
