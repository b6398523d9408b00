package ws

// closeOthers closes the other sockets of c's principal on this gateway with CloseKicked: c takes their place. Those whose
// clients are gone end without an answer, after CloseWait.
func (h *Hub) closeOthers(c *Conn) {
	h.mu.Lock()
	others := c.room.conns
	h.mu.Unlock()
	for _, other := range others {
		if other != c {
			other.Close(CloseKicked)
		}
	}
}
