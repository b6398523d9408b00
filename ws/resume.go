package ws

import (
	"context"
	"errors"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/proto/event"
	"terasocket/proto/terasocket"
)

// resumer brings a client up to date before it goes live: it replays the log to one that comes back (since), and tells the
// presence of everyone to one that asks (snapshot). While it does, what is delivered live to such a socket is held, and
// follows: nothing is missing between the two, and what was told is not told again.
//
// A client hears what it may see by its rights now. Some of a replay it may have heard before: at least once, in order.
type resumer struct {
	reader reader
	roster Roster
	turns  chan struct{} // so many ask for a snapshot at a time: a thousand that come back at once must not starve the live ones
}

const (
	snapshotsAtOnce = 4
	pageWait        = 30 * time.Second // for a page of the log and its audience, and for a snapshot
	slowWait        = 30 * time.Second // for a client to read half of what may wait for it
	shortestPause   = 5 * time.Millisecond
	longestPacing   = 100 * time.Millisecond
)

func newResumer(history History, audience Audience, roster Roster) *resumer {
	return &resumer{reader: reader{history: history, audience: audience}, roster: roster, turns: make(chan struct{}, snapshotsAtOnce)}
}

// run brings c up to date and then lets the live events through. It ends when it is done, or c is closing: ctx ends with
// c.
func (r *resumer) run(ctx context.Context, c *Conn) {
	var place Place
	var err error
	if c.Since > 0 {
		place, err = r.replay(ctx, c)
	}
	if trimmed := (*TrimmedError)(nil); errors.As(err, &trimmed) {
		// what can be told is told: from where on the log is whole
		err = c.sendReplayed(ctx, &event.Event{Seq: c.Since, At: time.Now(), Message: &terasocket.ReplayIncomplete{OldestSeq: trimmed.Oldest}})
		c.log.Warn("cannot resume: the log does not reach back that far", "conn", c.id, "principal", c.Identity.Principal.String(), "event", c.Since)
	}
	var reflected func(uint64) bool
	if err == nil && c.Snapshot {
		reflected, err = r.snapshot(ctx, c)
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errClosing) {
			c.log.Error("cannot bring a socket up to date", "conn", c.id, "principal", c.Identity.Principal.String(), "err", err)
			c.Close(CloseInternal) // it comes back and tries again
		}
		return
	}
	c.goLive(place, reflected)
}

// snapshot tells the presence of everyone that c may see, and returns which transactions that reflects.
func (r *resumer) snapshot(ctx context.Context, c *Conn) (reflected func(xid uint64) bool, err error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	askCtx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	events, reflected, err := r.roster.Presence(askCtx, c.Identity)
	if err != nil {
		return nil, err
	}
	for i := range events {
		if err := c.sendReplayed(ctx, &events[i]); err != nil {
			return nil, err
		}
	}
	return reflected, nil
}

// replay tells c what it has missed, and returns where it stood.
func (r *resumer) replay(ctx context.Context, c *Conn) (Place, error) {
	defer r.reader.join()()
	a := &ask{cursor: c.Since}
	for {
		if err := c.pace(ctx); err != nil {
			return nil, err
		}
		page, err := r.page(ctx, c, a)
		if err != nil {
			return nil, err
		}
		isWhole, err := c.take(page, a)
		if err != nil {
			return nil, err
		}
		if isWhole && (page.IsLast || a.behind >= a.place.Last()) {
			return a.place, nil
		}
	}
}

// page asks for the next one, again and again for a while: an outage of the database closes no socket. Errors: as
// reader.next.
func (r *resumer) page(ctx context.Context, c *Conn, a *ask) (*sharedPage, error) {
	var pause backoff
	for began := time.Now(); ; {
		page, err := r.reader.next(ctx, a)
		trimmed := (*TrimmedError)(nil)
		if err == nil || ctx.Err() != nil || errors.As(err, &trimmed) || time.Since(began) > c.OutageWait {
			return page, err
		}
		c.log.Warn("a page of the log not read, asking again", "conn", c.id, "principal", c.Identity.Principal.String(), "err", err)
		if !pause.wait(ctx) {
			return nil, ctx.Err()
		}
	}
}

// take writes what c has missed of a page, as far as a.behind tells, and whether that is all of it. It stops when too
// much waits for the socket: nobody keeps a page while it waits for a slow client.
func (c *Conn) take(page *sharedPage, a *ask) (isWhole bool, err error) {
	from, at := a.behind, uint64(0)
	for i := range page.Events {
		e := &page.Events[i]
		if e.Seq <= from {
			continue
		}
		if e.Seq != at { // a row may be several events
			if at > 0 {
				a.behind = at
			}
			if c.isCrowded() {
				return false, nil
			}
			at = e.Seq
		}
		if !a.place.Missed(e.Seq, e.XID) || !page.isFor(c.Identity.Principal, e) {
			continue
		}
		frame, err := page.frame(i, c.Encoding)
		if err != nil {
			return false, err
		}
		if err := c.writeReplayed(frame); err != nil {
			return false, err
		}
	}
	a.behind = max(a.behind, page.Last)
	return true, nil
}

// heldFrame waits until the socket is open and up to date.
type heldFrame struct {
	frame *websocket.PreparedMessage
	event *event.Event
}

// errClosing says that nothing can be sent any more.
var errClosing = errors.New("socket closing")

// sendReplayed writes an event to a socket that is being brought up to date, and waits while too much is waiting for it.
func (c *Conn) sendReplayed(ctx context.Context, e *event.Event) error {
	frame, err := NewFrames(e).in(c.Encoding)
	if err != nil {
		return err
	}
	if err := c.pace(ctx); err != nil {
		return err
	}
	return c.writeReplayed(frame)
}

func (c *Conn) writeReplayed(frame *websocket.PreparedMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code != 0 || !c.written(c.ws.WritePreparedMessage(frame)) {
		return errClosing
	}
	c.sent++
	return nil
}

// pace waits until the client has read enough to be told more. Who does not in slowWait is closed with CloseSlow.
func (c *Conn) pace(ctx context.Context) error {
	began, pause := time.Now(), shortestPause
	for c.isCrowded() {
		if time.Since(began) > slowWait {
			c.metrics.slowCloses.Inc()
			c.Close(CloseSlow)
			return errClosing
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, longestPacing)
	}
	return nil
}

// isCrowded says whether a replay should wait for the socket. What a replay leaves free is for the live events.
func (c *Conn) isCrowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code == 0 && c.out.Backlog() > c.Backlog/2
}

// goLive lets through what was held meanwhile, but for what the client was told, and all that follows. The dispatcher may
// still be behind: what it delivers late of the past is skipped too, whenever that is.
func (c *Conn) goLive(place Place, reflected func(xid uint64) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held
	c.held, c.bytes, c.resuming = nil, 0, false
	c.from, c.reflected = place, reflected
	for _, h := range held {
		if c.code == 0 && !c.wasTold(h.event) {
			c.written(c.ws.WritePreparedMessage(h.frame))
		}
	}
}

// wasTold says whether the client heard this event before it went live: from the replay, or as a part of the snapshot.
func (c *Conn) wasTold(e *event.Event) bool {
	if e == nil {
		return false
	}
	if c.from != nil && !c.from.IsNew(e.XID) {
		return true
	}
	if c.reflected != nil && isPresence(e) {
		if c.reflected(e.XID) {
			return true
		}
		c.reflected = nil
	}
	return false
}
