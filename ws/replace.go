package ws

// closeOlder closes, with CloseKicked, the older sockets of c's principal on this gateway. Those of vanished clients end
// without an answer after CloseWait. Of two sockets that replace at the same time, the younger stays.
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
