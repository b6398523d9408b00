package main

import (
	"context"
	"log/slog"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"terasocket/db"
	"terasocket/proto/event"
	"terasocket/ws"
)

// decoder makes events of rows. A row that is no event is refused loudly, and its neighbours go on.
type decoder struct {
	log     *slog.Logger
	refused prometheus.Counter
}

func newDecoder(log *slog.Logger, r prometheus.Registerer) *decoder {
	d := &decoder{log: log, refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "terasocket_events_refused_total", Help: "Rows of the event log that are no event."})}
	r.MustRegister(d.refused)
	return d
}

func (d *decoder) events(rows []db.Row) []event.Event {
	events := make([]event.Event, 0, len(rows))
	for _, row := range rows {
		decoded, err := event.Decode(event.Record(row))
		if err != nil {
			d.refused.Inc()
			d.log.Error("event refused", "event", row.Seq, "err", err)
			continue
		}
		events = append(events, decoded...)
	}
	return events
}

// source is what the dispatcher asks for events.
type source struct {
	*decoder
	feed *db.Feed
}

// Next waits for events.
func (s *source) Next(ctx context.Context) ([]event.Event, error) {
	rows, err := s.feed.Next(ctx)
	if err != nil {
		return nil, err
	}
	return s.events(rows), nil
}

// history is what clients that resume are replayed from.
type history struct {
	*decoder
	log *db.History
}

// pageRows is how much of the log a replay reads at a time.
const pageRows = 256

// place is where a client stands.
type place struct{ db.Place }

// Behind is a seq: what the client may have missed is behind it.
func (p place) Behind() uint64 { return uint64(p.Place.Behind) }

// Missed says whether the client may have missed this event.
func (p place) Missed(seq, xid uint64) bool { return p.Place.Missed(int64(seq), xid) }

// Sees says whether that transaction had ended when the place was looked for.
func (p place) Sees(xid uint64) bool { return p.Now.Sees(xid) }

// Places says where clients stand that have heard the log up to these cursors.
func (h *history) Places(ctx context.Context, cursors []uint64) ([]ws.Place, uint64, error) {
	seqs := make([]int64, len(cursors))
	for i, cursor := range cursors {
		seqs[i] = int64(min(cursor, math.MaxInt64)) // beyond any seq: one that the log does not hold
	}
	found, oldest, err := h.log.Places(ctx, seqs)
	if err != nil {
		return nil, 0, err
	}
	places := make([]ws.Place, len(seqs))
	for i, seq := range seqs {
		if p, isHeld := found[seq]; isHeld {
			places[i] = place{p}
		}
	}
	return places, uint64(oldest), nil
}

// After gives a page of what clients at these places may have missed.
func (h *history) After(ctx context.Context, places []ws.Place, behind uint64) (ws.Page, error) {
	from := make([]db.Place, len(places))
	for i, p := range places {
		from[i] = p.(place).Place
	}
	s, err := h.log.After(ctx, from, int64(behind), pageRows)
	if err != nil {
		return ws.Page{}, err
	}
	page := ws.Page{Last: behind, IsLast: len(s.Rows) < pageRows, Oldest: uint64(s.Oldest)}
	if n := len(s.Rows); n > 0 {
		page.Events, page.Last = h.events(s.Rows), uint64(s.Rows[n-1].Seq)
	}
	return page, nil
}
