package eventlog

import (
	"fmt"
	"log/slog"

	"terasocket/proto/event"
)

// decoder decodes rows into events. An undecodable row is logged as an error and skipped.
type decoder struct {
	log     *slog.Logger
	metrics *Metrics
}

// events decodes rows. It returns ErrBroken if gateways act on an undecodable row: nobody's rights are known after it.
func (d *decoder) events(rows []event.Record) ([]event.Event, error) {
	events := make([]event.Event, 0, len(rows))
	for _, row := range rows {
		e, err := event.Decode(row)
		if err != nil {
			d.metrics.refused.Inc()
			d.log.Error("event refused", "event", row.Seq, "err", err)
			if event.IsForGateways(row.Type) {
				return nil, fmt.Errorf("%w: %w", event.ErrBroken, err)
			}
			continue
		}
		events = append(events, e)
	}
	return events, nil
}
