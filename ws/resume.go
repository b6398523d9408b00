package ws

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/terasocket"
)

// resumer brings a client up to date before it goes live: it replays the log to one that comes back (since), and tells the
// presence of everyone to one that asks (snapshot). While it does, what is delivered live to such a socket is held, and
// follows: nothing is missing between the two, and what was told is not told again.
//
// A client hears what it may see by its rights now. Some of a replay it may have heard before: at least once, in order.
type resumer struct {
	history  History
	audience Audience
	roster   Roster
	turns    chan struct{} // so many replay at a time: a thousand that come back at once must not starve the live ones
}

const (
	replaysAtOnce = 4
	pageWait      = 30 * time.Second // for a page of the log, and for its audience
	paceWait      = 5 * time.Millisecond
)

func newResumer(history History, audience Audience, roster Roster) *resumer {
	return &resumer{history: history, audience: audience, roster: roster, turns: make(chan struct{}, replaysAtOnce)}
}

// run brings c up to date and then lets the live events through. It ends when it is done, or c is closing: ctx ends with
// c.
func (r *resumer) run(ctx context.Context, c *Conn) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return
	}
	sent := map[uint64]bool{}
	var err error
	if c.Since > 0 {
		err = r.replay(ctx, c, sent)
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
		if ctx.Err() == nil {
			c.log.Error("cannot bring a socket up to date", "conn", c.id, "principal", c.Identity.Principal.String(), "err", err)
			c.Close(CloseInternal) // it comes back and tries again
		}
		return
	}
	c.goLive(sent, reflected)
}

// snapshot tells the presence of everyone that c may see, and returns which transactions that reflects.
func (r *resumer) snapshot(ctx context.Context, c *Conn) (reflected func(xid uint64) bool, err error) {
	askCtx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	events, reflected, err := r.roster.Presence(askCtx, c.Identity.Principal)
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

func (r *resumer) replay(ctx context.Context, c *Conn, sent map[uint64]bool) error {
	var behind uint64
	for {
		page, audiences, err := r.page(ctx, c.Since, behind)
		if err != nil {
			return err
		}
		for i := range page.Events {
			e := &page.Events[i]
			if !slices.Contains(audiences[e.To], c.Identity.Principal) || slices.Contains(audiences[e.NotTo], c.Identity.Principal) {
				continue
			}
			if err := c.sendReplayed(ctx, e); err != nil {
				return err
			}
			sent[e.Seq] = true
		}
		if page.IsLast {
			return nil
		}
		behind = page.Last
	}
}

func (r *resumer) page(ctx context.Context, cursor, behind uint64) (Page, map[string][]access.Principal, error) {
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	page, err := r.history.After(ctx, cursor, behind)
	if err != nil {
		return Page{}, nil, err
	}
	audiences, err := askFor(ctx, r.audience, routingKeys(page.Events))
	return page, audiences, err
}

// heldFrame waits until the socket is open and up to date.
type heldFrame struct {
	frame *websocket.PreparedMessage
	event *event.Event
}

// errClosing says that nothing can be sent any more.
var errClosing = errors.New("socket closing")

// sendReplayed writes an event to a socket that is resuming, and waits while too much is waiting for it.
func (c *Conn) sendReplayed(ctx context.Context, e *event.Event) error {
	frames := NewFrames(e)
	frame, err := frames.in(c.Encoding)
	if err != nil {
		return err
	}
	for c.isCrowded() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(paceWait):
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code != 0 || !c.written(c.ws.WritePreparedMessage(frame)) {
		return errClosing
	}
	c.sent++
	return nil
}

// isCrowded says whether a replay should wait for the socket. What a replay leaves free is for the live events.
func (c *Conn) isCrowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code == 0 && c.out.Backlog() > c.Backlog/2
}

// goLive lets through what was held meanwhile, but for what the client was told, and all that follows. The dispatcher may
// still be behind: what it delivers late is skipped too, up to the first event that was not told, since events come in
// the order of their commits.
func (c *Conn) goLive(sent map[uint64]bool, reflected func(xid uint64) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held
	c.held, c.bytes, c.resuming = nil, 0, false
	c.replayedSeqs, c.reflected = sent, reflected
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
	if c.replayedSeqs != nil {
		if c.replayedSeqs[e.Seq] {
			return true
		}
		c.replayedSeqs = nil
	}
	if c.reflected != nil && isPresence(e) {
		if c.reflected(e.XID) {
			return true
		}
		c.reflected = nil
	}
	return false
}
