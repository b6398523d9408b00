package ws

import (
	"net/http"
	"strings"

	"terasocket/access"
)

// Presence is told who has a socket open. Its methods are called by the connections' own goroutines, and do not wait.
type Presence interface {
	// Connected says that a socket is open: the 101 is written, and the hub delivers to it. The caller calls left once,
	// when the socket has ended and before the hub forgets it; onPurpose: it was kicked, so its client does not return.
	Connected(who access.Principal, clientName, addr string) (left func(onPurpose bool))
}

// arrive tells Presence, if there is any, of an open socket.
func (c *Conn) arrive(clientName, addr string) (left func(onPurpose bool)) {
	if c.presence == nil {
		return func(bool) {}
	}
	return c.presence.Connected(c.Identity.Principal, clientName, addr)
}

// clientNameSize is how much of a name is kept, in bytes.
const clientNameSize = 200

// clientName is what a handshake says about the program that makes it: X-Client-Name as OpenTera's clients send it, else
// User-Agent. It is a text that any database takes; "" when nothing is said.
func clientName(h http.Header) string {
	name := h.Get("X-Client-Name")
	if name == "" {
		name = h.Get("User-Agent")
	}
	name = name[:min(len(name), clientNameSize)]
	return strings.ToValidUTF8(strings.ReplaceAll(name, "\x00", ""), "")
}
