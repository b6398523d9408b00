package ws

// closeOthers closes the other sockets of c's principal on this gateway with CloseKicked: c takes their place. Those whose
// clients are gone end without an answer, after CloseWait.
func (h *Hub) closeOthers(c *Conn) {
	h.mu.RLock()
	var others []*Conn
	for _, other := range h.sockets[c.Identity.Principal] {
		if other != c {
			others = append(others, other)
		}
	}
	h.mu.RUnlock()
	for _, other := range others {
		other.Close(CloseKicked)
	}
}
