package eventlog

import (
	"fmt"
	"log/slog"

	"terasocket/proto/event"
)

// decoder makes events of rows. A row that is no event is refused loudly, and its neighbours go on.
type decoder struct {
	log     *slog.Logger
	metrics *Metrics
}

// events decodes rows. It is an error if one of them is of those that gateways act on: nobody's rights are known behind it.
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
