package ws

import (
	"context"
	"math/rand/v2"
	"time"
)

// Drain refuses new sockets, closes those there are with CloseRestart, spread evenly over that time so that not all
// come back at once, and waits until the last has ended. When ctx ends, the rest is closed and cut at once; Drain then
// returns the error of ctx, still with no socket left. An Auditor is told of nothing afterwards.
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
	<-h.empty // a socket that still connects takes until handshakeWait
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

// sleep reports whether ctx lasts longer.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err() == nil
}
