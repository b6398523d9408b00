package api

import (
	"net/http"
	"net/url"
	"strings"

	"terasocket/access"
)

// WebsocketURL puts a websocket URL together: base is wss://host:port.
func WebsocketURL(base string, kind access.Kind, token string) string {
	return strings.TrimSuffix(base, "/") + "/wss/" + kind.String() + "?id=" + url.QueryEscape(token)
}

// host is how a client calls this server, without the port; "" where the request names none, or something else in its place.
func (a *API) host(r *http.Request) string {
	base, err := url.Parse(a.base(r))
	if err != nil || a.PublicURL == "" && !isHost(base.Host) {
		return ""
	}
	return base.Hostname()
}

// base is what a client puts before /wss/...: --public-url, or what a trusted proxy says that it is called, or the host
// that the client asked for.
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
