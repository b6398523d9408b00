package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"terasocket/db"
	"terasocket/proto/event"
)

// source makes events of the rows that the feed hands out: what the dispatcher asks for.
type source struct {
	feed    *db.Feed
	log     *slog.Logger
	refused prometheus.Counter
}

func newSource(feed *db.Feed, log *slog.Logger, r prometheus.Registerer) *source {
	s := &source{feed: feed, log: log, refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "terasocket_events_refused_total", Help: "Rows of the event log that are no event."})}
	r.MustRegister(s.refused)
	return s
}

// Next waits for events. A row that is no event is refused loudly, and its neighbours go on.
func (s *source) Next(ctx context.Context) ([]event.Event, error) {
	rows, err := s.feed.Next(ctx)
	if err != nil {
		return nil, err
	}
	events := make([]event.Event, 0, len(rows))
	for _, row := range rows {
		decoded, err := event.Decode(event.Record(row))
		if err != nil {
			s.refused.Inc()
			s.log.Error("event refused", "event", row.Seq, "err", err)
			continue
		}
		events = append(events, decoded...)
	}
	return events, nil
}
