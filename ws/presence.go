package ws

import (
	"net/http"
	"strings"

	"terasocket/access"
)

// Presence records which principals have a socket open. Its methods are called by the connections' goroutines and do not block.
type Presence interface {
	// Connected is called when a socket is open: the 101 is written, and the hub delivers to it. The caller calls left once,
	// after the socket has ended and before the hub forgets it; onPurpose: it was kicked, so its client will not return.
	Connected(who access.Principal, clientName, addr string) (left func(onPurpose bool))
}

// arrive reports an open socket to Presence, if there is one.
func (c *Conn) arrive(clientName, addr string) (left func(onPurpose bool)) {
	if c.presence == nil {
		return func(bool) {}
	}
	return c.presence.Connected(c.Identity.Principal, clientName, addr)
}

// clientNameSize limits a client name, in bytes.
const clientNameSize = 200

// clientName returns the name of the client program: X-Client-Name, as OpenTera's clients send it, else User-Agent; "" if
// neither is given. Any database accepts the text.
func clientName(h http.Header) string {
	name := h.Get("X-Client-Name")
	if name == "" {
		name = h.Get("User-Agent")
	}
	name = name[:min(len(name), clientNameSize)]
	return strings.ToValidUTF8(strings.ReplaceAll(name, "\x00", ""), "")
}
