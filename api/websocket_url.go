package api

import (
	"net/http"
	"net/url"
	"strings"

	"terasocket/access"
)

// WebsocketURL builds a websocket URL; base is wss://host:port.
func WebsocketURL(base string, kind access.Kind, token string) string {
	return strings.TrimSuffix(base, "/") + "/wss/" + kind.String() + "?id=" + url.QueryEscape(token)
}

// host returns the name by which a client reaches this server, without the port; "" if the request has no valid one.
func (a *API) host(r *http.Request) string {
	base, err := url.Parse(a.base(r))
	if err != nil || a.PublicURL == "" && !isHost(base.Host) {
		return ""
	}
	return base.Hostname()
}

// base returns what precedes /wss/... in URLs: --public-url, or the name that a trusted proxy reports, or the host that the
// client requested.
func (a *API) base(r *http.Request) string {
	if a.PublicURL != "" {
		return a.PublicURL
	}
	if host, ok := a.Proxies.External(r); ok {
		return "wss://" + host
	}
	host := r.Host
	if !isHost(host) {
		host = ""
	}
	if r.TLS == nil {
		return "ws://" + host
	}
	return "wss://" + host
}
