package ws

import (
	"context"
	"slices"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

// Dispatch applies events in order to the index and hands each to every socket that receives it. It returns how many frames
// were taken. The cost depends on the recipients, not on the sockets connected; nothing is allocated per recipient.
//
// Frames of several events for one socket leave in one write. If an event cannot be encoded, the sockets that should have
// received it are closed with CloseInternal, so that they resume rather than miss it silently. ctx bounds the look-ups that
// fall starts.
func (h *Hub) Dispatch(ctx context.Context, batch []event.Event) (n int) {
	h.delivering.Lock()
	defer h.delivering.Unlock()
	for i := range batch {
		e := &batch[i]
		fallen, kicked := h.step(NewFrames(e))
		if i == len(batch)-1 || h.waiting.isFull() || fallen != nil || kicked != nil {
			n += h.sendWaiting()
		}
		if fallen != nil {
			h.lookUps.Go(func() { h.fall(ctx, fallen) })
		}
		h.kick(e, kicked)
	}
	return n
}

// step applies one event. It queues its targets for sendWaiting, and returns the room that it ends, if any, and the sockets
// that it kicks.
func (h *Hub) step(f *Frames) (fallen *room, kicked []*Conn) {
	e := f.event
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = e.Seq
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
	h.index.Apply(e)
	h.arrivals.add(f, h.index.Moment())
	switch e.Kind {
	case event.Message, event.Object:
		h.find(f)
	case event.Rights, event.Kick:
		kind, err := access.ParseKind(e.ObjectType)
		p := access.Principal{Kind: kind, ID: int32(e.ObjectID)}
		if err != nil || !p.IsOf(e) {
			break
		}
		r := h.rooms[p]
		if r != nil && len(e.Lost) > 0 {
			r.losses.Add(1)
		}
		if e.Kind == event.Kick {
			h.kicks.add(p, e.Token, time.Now())
		}
		switch {
		case r == nil:
		case e.Kind == event.Kick:
			kicked = slices.Clone(r.conns)
		case r.isLive && e.Seq > r.from && p.Loses(e):
			h.evict(r, nil)
			fallen = r
		}
	}
	return fallen, kicked
}

// find queues the event for the principals in its present audience, its former audience, or both.
func (h *Hub) find(f *Frames) {
	e := f.event
	present, former := h.index.Audience(e.Present, access.Present), h.index.Audience(e.Former, access.State(e.FormerAsOf))
	superadmins := h.index.Superadmins()
	for len(present)+len(former) > 0 {
		var p access.Principal
		switch {
		case len(former) == 0 || len(present) > 0 && present[0].Compare(former[0]) <= 0:
			p = present[0]
		default:
			p = former[0]
		}
		sees, saw, isSuperadmin := take(&present, p), take(&former, p), take(&superadmins, p)
		r := h.rooms[p]
		if r == nil || e.Seq <= r.from {
			continue
		}
		if form := e.FormFor(sees, saw, isSuperadmin); form != event.None {
			for _, c := range r.conns {
				h.waiting.add(target{conn: c, frames: f, form: form})
			}
		}
	}
}

// take advances in past p, and reports whether p was in it.
func take(in *[]access.Principal, p access.Principal) bool {
	for len(*in) > 0 {
		switch order := (*in)[0].Compare(p); {
		case order > 0:
			return false
		case order == 0:
			*in = (*in)[1:]
			return true
		}
		*in = (*in)[1:]
	}
	return false
}

// kick closes the sockets whose tokens the event covers.
func (h *Hub) kick(e *event.Event, conns []*Conn) {
	n := 0
	for _, c := range conns {
		if c.Identity.Token <= e.Token && c.Close(CloseKicked) {
			n++
		}
	}
	if n > 0 {
		h.log.Info("kicked: commanded", "principal", conns[0].Identity.Principal.String(), "event", e.Seq, "sockets", n)
	}
}

// fall closes the sockets of a principal that lost its own tag, with a code that depends on whether it holds the tag again.
func (h *Hub) fall(ctx context.Context, r *room) {
	code, why := CloseRestart, "disabled and enabled again"
	s, err := h.standing(ctx, r.principal)
	switch {
	case err != nil:
		code, why = CloseInternal, "not known whether it is disabled or deleted"
	case !slices.Contains(s.Tags, r.principal.Tag()):
		code, why = CloseKicked, "disabled or deleted"
	}
	h.mu.Lock()
	conns := slices.Clone(r.conns)
	h.mu.Unlock()
	for _, c := range conns {
		c.Close(code)
	}
	h.log.Info("closed: "+why, "principal", r.principal.String(), "code", int(code), "sockets", len(conns), "err", err)
}
