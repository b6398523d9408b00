package eventlog

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/proto/event"
)

// History reads the log for clients that resume, and returns what a principal holds. Everything is of the feed's epoch; for another one
// it returns ErrBroken, as the feed soon will.
type History struct {
	pool    *pgxpool.Pool
	feed    *Feed
	log     eventLog
	decoder decoder

	standings access.Together[access.Principal, access.Standing]
}

// NewHistory returns a history for the given feed.
func NewHistory(pool *pgxpool.Pool, feed *Feed, log *slog.Logger, metrics *Metrics) *History {
	return &History{pool: pool, feed: feed, log: eventLog{pool: pool}, decoder: decoder{log, metrics}}
}

var (
	//go:embed sql/reaches.sql
	reachesSQL string
	//go:embed sql/rights.sql
	rightsSQL string
	//go:embed sql/standing.sql
	standingSQL string
	//go:embed sql/told_keys.sql
	toldKeysSQL string
)

// mustBeOurs returns ErrBroken for another epoch.
func (h *History) mustBeOurs(epoch uint64) error {
	if ours := h.feed.Epoch(); epoch != ours {
		return fmt.Errorf("%w: the epoch is %d, not %d", event.ErrBroken, epoch, ours)
	}
	return nil
}

// Reaches reports whether the log holds everything after since, through every epoch up to this one, and the rights before since that were
// not settled there; oldest is the seq of the oldest row, 0 for an empty log. A cursor of another past, or above the newest seq, is not
// reached.
func (h *History) Reaches(ctx context.Context, since uint64) (ok bool, oldest uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	var epoch uint64
	if err := h.pool.QueryRow(ctx, reachesSQL, int64(min(since, math.MaxInt64))).Scan(&epoch, &ok, &oldest); err != nil {
		return false, 0, described("look for a cursor in the event log", err)
	}
	return ok, oldest, h.mustBeOurs(epoch)
}

// After returns a page of events with behind < seq <= until, in order.
func (h *History) After(ctx context.Context, behind, until uint64) (event.Page, error) {
	r, err := h.log.read(ctx, behind, min(until, math.MaxInt64), pageRows)
	if err == nil {
		err = h.mustBeOurs(r.epoch)
	}
	if err != nil {
		return event.Page{}, err
	}
	page := event.Page{Last: behind, IsLast: !r.isMore, Trimmed: r.trimmed > behind}
	if page.Events, err = h.decoder.events(r.rows); err != nil {
		return event.Page{}, err
	}
	if n := len(r.rows); n > 0 {
		page.Last = uint64(r.rows[n-1].Seq)
	}
	page.IsLast = page.IsLast || page.Last >= until
	return page, nil
}

// RightsSince returns the Rights events of p and all Alias events, in order, up to until. They start after the last Settled event with
// seq <= since, or where the log begins.
func (h *History) RightsSince(ctx context.Context, p access.Principal, since, until uint64) ([]event.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	rows, err := h.pool.Query(ctx, rightsSQL, p.Kind.String(), int64(p.ID), int64(min(since, math.MaxInt64)), int64(min(until, math.MaxInt64)))
	if err != nil {
		return nil, described("read the rights of "+p.String(), err)
	}
	records, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r event.Record, err error) {
		return r, row.Scan(columns(&r)...)
	})
	if err != nil {
		return nil, described("read the rights of "+p.String(), err)
	}
	return h.decoder.events(records)
}

// Standing returns what p holds at the end of the log, as of a moment after the call. Concurrent calls share a statement.
func (h *History) Standing(ctx context.Context, p access.Principal) (access.Standing, error) {
	s, err := h.standings.Do(ctx, p, h.standing)
	if err != nil {
		return access.Standing{}, described("read what "+p.String()+" holds", err)
	}
	return s, nil
}

func (h *History) standing(ctx context.Context, who []access.Principal) ([]access.Standing, error) {
	kinds, ids, all := make([]string, len(who)), make([]int32, len(who)), make([]access.Standing, len(who))
	for i, p := range who {
		kinds[i], ids[i] = p.Kind.String(), p.ID
	}
	rows, err := h.pool.Query(ctx, standingSQL, kinds, ids)
	if err != nil {
		return nil, err
	}
	var at int
	var isFilled bool
	var s access.Standing
	_, err = pgx.ForEachRow(rows, []any{&at, &s.Epoch, &s.Seq, &isFilled, &s.Tags}, func() error {
		if !isFilled { // an empty list of tags means nothing yet
			return errNotFilled
		}
		all[at-1] = s
		s.Tags = nil // do not share the array with the next row
		return nil
	})
	return all, err
}

// ToldKeys returns the routing keys of an object in the last announced state, "" if it is gone.
func (h *History) ToldKeys(ctx context.Context, objectType string, id int64) (keys string, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementLimit)
	defer cancel()
	err = h.pool.QueryRow(ctx, toldKeysSQL, objectType, id).Scan(&keys)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", described(fmt.Sprintf("read the keys of %s %d", objectType, id), err)
	}
	return keys, nil
}
