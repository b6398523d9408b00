package ws

import (
	"net"
	"sync"

	"github.com/gorilla/websocket"
)

// closing drops everything after a close frame (RFC 6455, section 5.5.1), including one that the library writes by itself when
// a client breaks the protocol. Each Write holds whole frames, or the response to the handshake.
type closing struct {
	net.Conn
	mu     sync.Mutex
	isSent bool
}

// Write returns websocket.ErrCloseSent after a close frame.
func (c *closing) Write(p []byte) (int, error) {
	const closeFrame = 0x80 | websocket.CloseMessage
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isSent {
		return 0, websocket.ErrCloseSent
	}
	c.isSent = len(p) > 0 && p[0] == closeFrame
	return c.Conn.Write(p)
}
