package ws

import (
	"context"
	"errors"
	"time"

	"terasocket/proto/event"
)

// resumer brings a client up to date before it goes live: it replays the log to one that passed since, and sends presence to
// one that asked for a snapshot. Live frames for the socket are held meanwhile and follow, so that nothing is missing in
// between.
//
// The client may receive some events twice: delivery is at least once, in order.
type resumer struct {
	hub    *Hub
	log    ReplayLog
	pages  pages
	roster PresenceReader
	turns  chan struct{} // bounds concurrent snapshots: a thousand returning clients must not starve the live ones
}

const (
	snapshotsAtOnce = 4
	pageWait        = 30 * time.Second // for a page of the log, and for a snapshot
	slowWait        = 30 * time.Second // for a client to read half of its backlog limit
	shortestPause   = 5 * time.Millisecond
	longestPacing   = 100 * time.Millisecond
)

func newResumer(hub *Hub, log ReplayLog, roster PresenceReader) *resumer {
	return &resumer{hub: hub, log: log, pages: pages{log: log}, roster: roster, turns: make(chan struct{}, snapshotsAtOnce)}
}

// run brings c up to date, then releases the live frames. It ends when that is done or c is closing; ctx ends with c.
func (r *resumer) run(ctx context.Context, c *Conn) {
	err := r.bringUp(ctx, c)
	if err == nil {
		c.goLive()
		return
	}
	if ctx.Err() == nil && !errors.Is(err, errClosing) {
		c.log.Error("cannot bring a socket up to date", "conn", c.id, "principal", c.Identity.Principal.String(), "err", err)
		c.Close(CloseInternal) // it reconnects and tries again
	}
}

func (r *resumer) bringUp(ctx context.Context, c *Conn) error {
	if c.Since > 0 {
		if err := r.catchUp(ctx, c); err != nil {
			return err
		}
	}
	if c.Asked {
		if err := c.sendReplayed(ctx, cursorFrames(c.from)); err != nil {
			return err
		}
	}
	if c.Snapshot {
		return r.snapshot(ctx, c)
	}
	return nil
}

// snapshot sends the presence of everyone that c may see. Its seq is where live events begin: a client that resumes from there
// misses nothing. If c loses rights while it is sent, it starts again, with the remaining rights.
func (r *resumer) snapshot(ctx context.Context, c *Conn) error {
	for {
		events, losses, err := r.presence(ctx, c)
		if err != nil {
			return err
		}
		if isTold, err := c.sendSnapshot(ctx, events, losses); isTold || err != nil {
			return err
		}
	}
}

// presence waits for its turn to query, and returns how often c had lost rights before the query. Sending is outside the turn and takes
// as long as the client likes.
func (r *resumer) presence(ctx context.Context, c *Conn) (events []event.Event, losses uint64, err error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	losses = c.room.losses.Load()
	events, err = r.roster.Presence(ctx, c.Identity)
	return events, losses, err
}

// sendSnapshot sends the snapshot; false if c has lost rights since the query.
func (c *Conn) sendSnapshot(ctx context.Context, events []event.Event, losses uint64) (isTold bool, err error) {
	for i := range events {
		events[i].Seq = c.from
		frame, err := (&Frames{event: &events[i], origin: fromSnapshot}).in(event.Plain, c.Encoding)
		if err != nil {
			return false, err
		}
		if err := c.pace(ctx); err != nil {
			return false, err
		}
		if c.room.losses.Load() != losses {
			return false, nil
		}
		if err := c.writeReplayed(frame); err != nil {
			return false, err
		}
	}
	return true, nil
}

// errClosing means that the socket is closing and nothing can be sent.
var errClosing = errors.New("socket closing")

// sendReplayed sends a message to a resuming socket, waiting while its backlog is too large.
func (c *Conn) sendReplayed(ctx context.Context, f *Frames) error {
	frame, err := f.in(event.Plain, c.Encoding)
	if err != nil {
		return err
	}
	if err := c.pace(ctx); err != nil {
		return err
	}
	return c.writeReplayed(frame)
}

func (c *Conn) writeReplayed(f *frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code != 0 || c.write([]*frame{f}, nil) == 0 {
		return errClosing
	}
	c.sent++
	return nil
}

// pace waits until the client has read enough. A client that has not within slowWait is closed with CloseSlow.
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

// isCrowded reports whether a replay should pause. The other half of the backlog limit is left to live events.
func (c *Conn) isCrowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code == 0 && c.out.Backlog() > c.Backlog/2
}

// goLive releases the held frames and ends the resume.
func (c *Conn) goLive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resuming = false
	c.tags = nil
	if c.code == 0 {
		c.release()
	}
}
