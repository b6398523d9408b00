package ws

// closeOlder closes the older sockets of c's principal on this gateway with CloseKicked: c takes their place. Those whose
// clients are gone end without an answer, after CloseWait. Of two that replace at once, the younger stays.
func (h *Hub) closeOlder(c *Conn) {
	h.mu.Lock()
	all := c.room.conns
	h.mu.Unlock()
	for _, other := range all {
		if other.id < c.id {
			other.Close(CloseKicked)
		}
	}
}
