package main

import (
	"context"
	"errors"
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

// After gives a page of what a client may have missed.
func (h *history) After(ctx context.Context, cursor, behind uint64) (ws.Page, error) {
	// a cursor beyond any seq is one that the log does not hold
	rows, err := h.log.After(ctx, int64(min(cursor, math.MaxInt64)), int64(behind), pageRows)
	var trimmed *db.TrimmedError
	switch {
	case errors.As(err, &trimmed):
		return ws.Page{}, &ws.TrimmedError{Oldest: uint64(trimmed.Oldest)}
	case err != nil:
		return ws.Page{}, err
	case len(rows) == 0:
		return ws.Page{Last: behind, IsLast: true}, nil
	}
	return ws.Page{Events: h.events(rows), Last: uint64(rows[len(rows)-1].Seq), IsLast: len(rows) < pageRows}, nil
}
