package ws

import (
	"context"
	"slices"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

// target is a socket and what it hears of an event.
type target struct {
	conn *Conn
	form event.Form
}

// Dispatch applies an event to what principals hold, and hands it to every socket that hears it; it returns how many took
// it. Its cost follows these, not the sockets connected; nothing is allocated per recipient.
//
// An event that cannot be encoded closes the sockets that should have had it with CloseInternal: they come back and
// resume, rather than miss it unknowingly. ctx bounds what goes on afterwards, see fall.
func (h *Hub) Dispatch(ctx context.Context, e *event.Event) int {
	h.delivering.Lock()
	defer h.delivering.Unlock()
	f := NewFrames(e)
	fallen, kicked := h.step(f)
	defer clear(h.targets)

	var delivered [len(access.Kinds) + 1][encodings]int
	n := 0
	for _, t := range h.targets {
		if h.send(t, f) {
			delivered[t.conn.Identity.Kind][t.conn.Encoding]++
			n++
		}
	}
	for kind, counts := range delivered {
		for e, count := range counts {
			if count > 0 {
				h.metrics.delivered[kind][e].Add(float64(count))
			}
		}
	}
	if fallen != nil {
		h.lookUps.Go(func() { h.fall(ctx, fallen) })
	}
	h.kick(e, kicked)
	return n
}

// step moves everything on by an event, and finds its targets, the room that it ends, and the sockets that it kicks.
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
	h.targets = h.targets[:0]
	switch e.Kind {
	case event.Message, event.Object:
		h.find(e)
	case event.Rights, event.Kick:
		kind, err := access.ParseKind(e.ObjectType)
		p := access.Principal{Kind: kind, ID: int32(e.ObjectID)}
		if err != nil || !p.IsOf(e) {
			break
		}
		r := h.rooms[p]
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

// find walks over those who are among present, former, or both.
func (h *Hub) find(e *event.Event) {
	present, former := h.index.Audience(e.Present, access.Present), h.index.Audience(e.Former, access.Former)
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
				h.targets = append(h.targets, target{c, form})
			}
		}
	}
}

// take moves on to p, and says whether it is there.
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

// send hands a frame to a socket, and says whether it took it.
func (h *Hub) send(t target, f *Frames) bool {
	if t.form == event.None {
		return false
	}
	frame, err := f.in(t.form, t.conn.Encoding)
	if err != nil {
		if t.conn.Close(CloseInternal) {
			h.metrics.encodeErrors.WithLabelValues(encodingName(t.conn.Encoding)).Inc()
			h.log.Error("event not encoded, a recipient is closed to resume", "conn", t.conn.id, "event", f.event.Seq, "err", err)
		}
		return false
	}
	return t.conn.send(frame)
}

// kick closes those of these sockets whose token the event covers.
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

// fall closes the sockets of a principal that lost its own tag, once it is known whether it has it again.
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
