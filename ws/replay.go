package ws

import (
	"context"
	"errors"
	"fmt"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
	"terasocket/proto/terasocket"
)

// catchUp sends c what it missed between its cursor and the start of its live events.
//
// It replays the live rule: the holdings at the cursor are those where live events begin, minus what Rights events gave since,
// plus what they took; from there they move on with the events. The body of an object goes to a principal that saw the object
// then and sees it now; any other principal that saw it before gets a delete.
func (r *resumer) catchUp(ctx context.Context, c *Conn) error {
	view, oldest, err := r.viewOf(ctx, c)
	if err != nil {
		return err
	}
	if view == nil {
		return c.tellIncomplete(ctx, oldest)
	}
	defer r.pages.join()()
	p := &past{view: view, behind: c.Since, forgotten: make(map[objectRef]bool)}
	for p.behind < c.from {
		if err := c.pace(ctx); err != nil {
			return err
		}
		page, err := again(ctx, c, func() (*sharedPage, error) { return r.pages.after(ctx, p.behind, c.from) })
		if err != nil {
			return err
		}
		if page.isTrimmed {
			_, oldest, err := r.reaches(ctx, c, p.behind)
			if err != nil {
				return err
			}
			return c.tellIncomplete(ctx, oldest)
		}
		isWhole, err := r.take(ctx, c, page, p)
		if err != nil {
			return err
		}
		if isWhole && page.isLast && page.until >= c.from {
			return nil
		}
	}
	return nil
}

// viewOf returns what the principal of c could see at its cursor; nil if the log does not reach back that far.
func (r *resumer) viewOf(ctx context.Context, c *Conn) (view *access.View, oldest uint64, err error) {
	// Aliases are known as of the dispatcher's position, which may still be behind the start of live events.
	waitCtx, cancel := context.WithTimeout(ctx, c.OutageWait)
	moment, last, err := r.hub.reach(waitCtx, c.from)
	cancel()
	if err != nil {
		return nil, 0, fmt.Errorf("wait for the dispatcher: %w", err)
	}
	p := c.Identity.Principal
	past, err := again(ctx, c, func() ([]event.Event, error) { return r.log.RightsSince(ctx, p, c.Since, last) })
	if err != nil {
		return nil, 0, err
	}
	// If the log still reaches back to the cursor, nothing of past was trimmed before it was read.
	ok, oldest, err := r.reaches(ctx, c, c.Since)
	if err != nil || !ok {
		return nil, oldest, err
	}
	return access.NewPastView(p, c.tags, c.from, moment, past, c.Since), oldest, nil
}

func (r *resumer) reaches(ctx context.Context, c *Conn, since uint64) (ok bool, oldest uint64, err error) {
	ok, err = again(ctx, c, func() (bool, error) {
		var ok bool
		var err error
		ok, oldest, err = r.log.Reaches(ctx, since)
		return ok, err
	})
	return ok, oldest, err
}

// tellIncomplete tells c the oldest seq from which the log is complete; earlier events cannot be replayed.
func (c *Conn) tellIncomplete(ctx context.Context, oldest uint64) error {
	c.log.Warn("cannot resume: the log does not reach back that far", "conn", c.id, "principal", c.Identity.Principal.String(), "event", c.Since)
	e := event.New(c.Since, time.Now(), "", &terasocket.ReplayIncomplete{OldestSeq: oldest})
	return c.sendReplayed(ctx, &Frames{event: &e, origin: fromGateway})
}

// again repeats a question for up to OutageWait, so that an outage of the database closes no socket. ErrUnusable and ErrBroken
// are returned at once.
func again[T any](ctx context.Context, c *Conn, question func() (T, error)) (T, error) {
	var pause backoff
	for began := time.Now(); ; {
		answer, err := question()
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrUnusable) || errors.Is(err, ErrBroken) {
			return answer, err
		}
		if time.Since(began) > c.OutageWait {
			return answer, fmt.Errorf("given up: %w", err)
		}
		c.log.Warn("the log not read for a socket that resumes, trying again", "conn", c.id, "principal", c.Identity.Principal.String(), "err", err)
		if !pause.wait(ctx) {
			return answer, ctx.Err()
		}
	}
}

// past is the progress of a replay.
type past struct {
	view      *access.View // what the principal could see at behind
	behind    uint64
	forgotten map[objectRef]bool // objects deleted for the client: an update of one is a create
}

type objectRef struct {
	objectType string
	id         int64
}

// take writes what c missed of a page, advances p, and reports whether it took the whole page. It stops at the backlog limit,
// so that no page is kept while a slow client reads.
func (r *resumer) take(ctx context.Context, c *Conn, page *sharedPage, p *past) (isWhole bool, err error) {
	for _, f := range page.rows {
		e := f.event
		if e.Seq <= p.behind {
			continue
		}
		if e.Seq > c.from {
			break
		}
		if c.isCrowded() {
			return false, nil
		}
		p.view.Apply(e)
		form, err := r.hearsLater(ctx, c, f, p)
		if err != nil {
			return false, err
		}
		if form != event.None {
			frame, err := f.in(form, c.Encoding)
			if err != nil {
				return false, err
			}
			if err := c.writeReplayed(frame); err != nil {
				return false, err
			}
		}
		p.behind = e.Seq
	}
	p.behind = max(p.behind, min(page.last, c.from))
	return true, nil
}

// hearsLater returns the form of an event that c receives in a replay.
func (r *resumer) hearsLater(ctx context.Context, c *Conn, f *Frames, p *past) (event.Form, error) {
	form := f.formFor(p.view)
	if form == event.None || form == event.Delete {
		return form, nil
	}
	e := f.event
	present, former := f.keys()
	saw := p.view.Satisfies(former, access.State(e.FormerAsOf))
	isSoftDelete := form == event.Gone || form == event.GoneRestricted
	if isSoftDelete {
		present = former
	}
	object := objectRef{e.ObjectType, e.ObjectID}
	sees, isSuperadmin, err := c.hub.sees(c, present)
	if err == nil && !sees && e.Kind == event.Object && !isSoftDelete {
		// These are its keys at the time: it may since have moved, silently, to where c sees it.
		var keys string
		if keys, err = again(ctx, c, func() (string, error) { return r.log.ToldKeys(ctx, e.ObjectType, e.ObjectID) }); err == nil {
			sees, isSuperadmin, err = c.hub.sees(c, access.ParseRoutingKeys(keys))
		}
	}
	switch {
	case err != nil:
		return event.None, err
	case sees: // it may not have been superadmin then, and may not know the object now
		isKnown := saw && !p.forgotten[object]
		delete(p.forgotten, object)
		return e.FormFor(true, isKnown, isSuperadmin && p.view.IsSuperadmin()), nil
	case e.HasDelete() && saw:
		p.forgotten[object] = true
		return event.Delete, nil // it saw the object then and must not keep it
	}
	return event.None, nil
}
