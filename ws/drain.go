package ws

import (
	"context"
	"math/rand/v2"
	"time"
)

// Drain refuses new sockets, closes the open ones with CloseRestart, spread evenly over that time so that they do not all come
// back at once, and waits until the last has ended. When ctx ends, the rest is cut at once; Drain then returns the error of
// ctx, also with no socket left. After Drain an Auditor is not called again.
func (h *Hub) Drain(ctx context.Context, over time.Duration) error {
	conns := h.refuse()
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })

	began := time.Now()
	for i, c := range conns {
		at := time.Duration(float64(over) * (float64(i) + rand.Float64()) / float64(len(conns)))
		sleep(ctx, at-time.Since(began))
		c.Close(CloseRestart)
	}
	defer func() {
		for _, c := range conns {
			c.endTrail()
		}
	}()
	select {
	case <-h.empty:
		return nil
	case <-ctx.Done():
	}
	for _, c := range conns {
		c.abort()
	}
	<-h.empty // a socket that is still connecting takes up to handshakeWait
	return ctx.Err()
}

func (h *Hub) refuse() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.draining && len(h.conns) == 0 {
		close(h.empty)
	}
	h.draining = true
	return h.all()
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
