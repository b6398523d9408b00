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

// catchUp tells c what it missed between its cursor and where live events begin for it.
//
// It is the live rule replayed: what the principal held at the cursor is what it held where live events begin, less what
// Rights events gave since, plus what they took; from there it moves on with the events. A body goes to whoever saw the
// object then and sees it now, a delete to everybody else who saw the object before.
func (r *resumer) catchUp(ctx context.Context, c *Conn) error {
	view, oldest, err := r.viewOf(ctx, c)
	if err != nil {
		return err
	}
	if view == nil {
		return c.tellIncomplete(ctx, oldest)
	}
	defer r.pages.join()()
	for behind := c.Since; behind < c.from; {
		if err := c.pace(ctx); err != nil {
			return err
		}
		page, err := again(ctx, c, func() (*sharedPage, error) { return r.pages.after(ctx, behind, c.from) })
		if err != nil {
			return err
		}
		if page.isTrimmed {
			_, oldest, err := r.reaches(ctx, c, behind)
			if err != nil {
				return err
			}
			return c.tellIncomplete(ctx, oldest)
		}
		isWhole, err := c.take(page, view, &behind)
		if err != nil {
			return err
		}
		if isWhole && page.isLast && page.until >= c.from {
			return nil
		}
	}
	return nil
}

// viewOf is what the principal of c could see at its cursor; nil if the log does not reach back that far.
func (r *resumer) viewOf(ctx context.Context, c *Conn) (view *access.View, oldest uint64, err error) {
	// Aliases are known as of the dispatcher's position. It may still be behind the one where live events begin.
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
	// If the log reaches back to the cursor now, nothing of past was trimmed before it was read.
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

// tellIncomplete says from where on the log is whole: what happened before cannot be told.
func (c *Conn) tellIncomplete(ctx context.Context, oldest uint64) error {
	c.log.Warn("cannot resume: the log does not reach back that far", "conn", c.id, "principal", c.Identity.Principal.String(), "event", c.Since)
	e := event.New(c.Since, time.Now(), "", &terasocket.ReplayIncomplete{OldestSeq: oldest})
	return c.sendReplayed(ctx, NewFrames(&e))
}

// again asks until there is an answer, for OutageWait at most: an outage of the database closes no socket. After ErrUnusable
// and ErrBroken there will be none.
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

// take writes what c missed of a page, moves behind on, and says whether it took the whole page. It stops when too much
// waits for the socket: nobody keeps a page while it waits for a slow client.
func (c *Conn) take(page *sharedPage, view *access.View, behind *uint64) (isWhole bool, err error) {
	for _, f := range page.rows {
		e := f.event
		if e.Seq <= *behind {
			continue
		}
		if e.Seq > c.from {
			break
		}
		if c.isCrowded() {
			return false, nil
		}
		view.Apply(e)
		if form := c.hearsLater(f, view); form != event.None {
			frame, err := f.in(form, c.Encoding)
			if err != nil {
				return false, err
			}
			if err := c.writeReplayed(frame); err != nil {
				return false, err
			}
		}
		*behind = e.Seq
	}
	*behind = max(*behind, min(page.last, c.from))
	return true, nil
}

// hearsLater is what c hears of an event when it is replayed, if view is what it could see then.
func (c *Conn) hearsLater(f *Frames, view *access.View) event.Form {
	form := f.formFor(view)
	if form == event.None || form == event.Delete {
		return form
	}
	present, former := f.keys()
	isSoftDelete := form == event.Gone || form == event.GoneRestricted
	if isSoftDelete {
		present = former
	}
	sees, isSuperadmin := c.hub.sees(c, present)
	switch {
	case sees && (isSuperadmin || !view.IsSuperadmin()):
		return form
	case sees: // it was superadmin then
		return f.event.FormFor(!isSoftDelete, view.Satisfies(former, access.Former), false)
	case f.event.HasDelete() && view.Satisfies(former, access.Former):
		return event.Delete // it saw the object then, and may not keep what it knows of it
	}
	return event.None
}
