package ws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

// Enter subscribes c to the events of its principal before the handshake is answered, so that it misses nothing once it is
// connected. generation is the result of begun before the token was redeemed.
//
// The first socket of a principal looks up what the principal holds as of the log's position N: rows up to N neither reach it
// nor change it; rows after N that were dispatched during the look-up follow. Sockets that arrive meanwhile wait for the same
// answer; later ones join the live room.
//
// Errors: ErrDraining, ErrNotReady, ErrKicked, ErrTooManySockets, access.ErrRefused (it may not connect), or the database's. If
// Enter returns nil, call remove once when the socket has ended.
func (h *Hub) Enter(ctx context.Context, c *Conn, generation int) error {
	r, isFirst, err := h.register(c, generation)
	if err != nil {
		return err
	}
	if isFirst {
		h.openRoom(context.WithoutCancel(ctx), r) // others wait for it even if this client has left
	}
	select {
	case <-r.known:
		err = r.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		h.remove(c)
	}
	return err
}

func (h *Hub) register(c *Conn, generation int) (r *room, isFirst bool, err error) {
	p := c.Identity.Principal
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		return nil, false, ErrDraining
	case !h.isBegun || h.generation != generation: // it may have missed a kick
		return nil, false, ErrNotReady
	case h.kicks.covers(p, c.Identity.Token, time.Now()):
		return nil, false, ErrKicked
	}
	r = h.rooms[p]
	if r != nil && h.PerPrincipal > 0 && len(r.conns) >= h.PerPrincipal {
		return nil, false, ErrTooManySockets
	}
	if r == nil {
		r, isFirst = &room{principal: p, known: make(chan struct{})}, true
		h.rooms[p] = r
		h.arrivals.begin(h.last, h.index.Moment())
	}
	r.conns = append(r.conns, c)
	c.room = r
	h.conns[c] = struct{}{}
	h.count(p.Kind, 1)
	if r.isLive {
		c.startFrom(max(r.from, h.last), h.index.Tags(p))
	}
	return r, isFirst, nil
}

// errAgain rejects an answer: the kept rows do not reach back to it, or the principal was disabled since.
var errAgain = errors.New("overtaken")

// How often a look-up is repeated: after an answer that cannot be used, and after one without tags, since a principal created
// or enabled a moment ago holds its tags only once that is announced.
const (
	standingTries = 3
	newcomerTries = 10
	newcomerPause = 50 * time.Millisecond
)

// openRoom looks up what the principal holds and makes its room live.
func (h *Hub) openRoom(ctx context.Context, r *room) {
	var err error
	overtaken, refused := 0, 0
	for {
		var s access.Standing
		if s, err = h.standing(ctx, r.principal); err == nil {
			err = h.goLive(r, s)
		}
		if errors.Is(err, errAgain) {
			overtaken++
		} else if errors.Is(err, access.ErrRefused) && refused < newcomerTries {
			refused++
			if sleep(ctx, newcomerPause) {
				continue
			}
		}
		if !errors.Is(err, errAgain) || overtaken == standingTries {
			break
		}
	}
	if err == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[r.principal] == r {
		h.evict(r, err)
	}
}

func (h *Hub) goLive(r *room, s access.Standing) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.rooms[r.principal] != r: // interrupted
		return ErrNotReady
	case s.Epoch != h.epoch:
		return fmt.Errorf("the log is of epoch %d, expected %d", s.Epoch, h.epoch)
	case !slices.Contains(s.Tags, r.principal.Tag()):
		return access.ErrRefused
	}
	moment, rows, ok := h.arrivals.behind(s.Seq)
	if !ok || slices.ContainsFunc(rows, func(a arrival) bool { return r.principal.Loses(a.frames.event) }) {
		return errAgain
	}
	r.from, r.isLive = s.Seq, true
	for _, c := range r.conns {
		c.startFrom(s.Seq, s.Tags)
	}
	view := access.NewView(r.principal, s.Tags, s.Seq, moment)
	for _, a := range rows {
		view.Apply(a.frames.event)
		form := a.frames.formFor(view)
		if form == event.None {
			continue
		}
		for _, c := range r.conns {
			if frame := h.frameOf(&target{conn: c, frames: a.frames, form: form}); frame != nil && c.sendOne(frame) {
				h.metrics.delivered[c.Identity.Kind][c.Encoding].Inc()
			}
		}
	}
	h.index.Add(view)
	h.arrivals.end()
	close(r.known)
	if len(r.conns) == 0 { // all have left
		h.evict(r, nil)
	}
	return nil
}

// arrivals keeps the rows dispatched while rooms are joining, with the state after each. Guarded by Hub.mu.
type arrivals struct {
	rooms  int // rooms joining
	start  uint64
	before access.Moment // as of start
	rows   []arrival     // after start
}

type arrival struct {
	frames *Frames
	after  access.Moment
}

// arrivalsKept bounds the kept rows. A room that needs older ones looks up again.
const arrivalsKept = 1024

// begin counts one more joining room. at and now are position and state of the hub.
func (a *arrivals) begin(at uint64, now access.Moment) {
	if a.rooms == 0 {
		*a = arrivals{start: at, before: now}
	}
	a.rooms++
}

func (a *arrivals) end() {
	if a.rooms--; a.rooms == 0 {
		*a = arrivals{}
	}
}

func (a *arrivals) add(f *Frames, after access.Moment) {
	if a.rooms == 0 {
		return
	}
	if len(a.rows) == arrivalsKept {
		half := a.rows[:arrivalsKept/2]
		a.start, a.before = half[len(half)-1].frames.event.Seq, half[len(half)-1].after
		a.rows = slices.Clone(a.rows[arrivalsKept/2:])
	}
	a.rows = append(a.rows, arrival{f, after})
}

// behind returns the rows after seq and the state at seq, which is that of the last row if seq is newer than all. It returns
// false if seq is older than the kept rows.
func (a *arrivals) behind(seq uint64) (access.Moment, []arrival, bool) {
	if seq < a.start {
		return access.Moment{}, nil, false
	}
	moment, rows := a.before, a.rows
	for len(rows) > 0 && rows[0].frames.event.Seq <= seq {
		moment, rows = rows[0].after, rows[1:]
	}
	return moment, rows, true
}
