package presence

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/proto/event"
)

// Roster reads who is online or busy, and with which status.
type Roster struct {
	Pool *pgxpool.Pool
}

// Topic is the topic of presence events.
const Topic = "module.TeraServer.UserManagerModule.events"

//go:embed sql/snapshot.sql
var snapshotSQL string

// Presence returns what one principal may see of the presence of others, as the events that would announce it: users, participants,
// devices; for each CONNECTED, then JOINED_SESSION, then STATUS_CHANGED. Later changes may be repeated by their own events.
func (r *Roster) Presence(ctx context.Context, viewer access.Identity) ([]event.Event, error) {
	var names, bodies []string
	if err := r.Pool.QueryRow(ctx, snapshotSQL, viewer.Kind.String(), viewer.ID).Scan(&names, &bodies); err != nil {
		return nil, fmt.Errorf("read the presence of others: %w", err)
	}
	now := time.Now()
	events := make([]event.Event, len(names))
	for i, name := range names {
		// seq 1 is arbitrary: they are not in the log
		e, err := event.Decode(event.Record{Seq: 1, At: now, Topic: Topic, Type: name, Body: bodies[i]})
		if err != nil {
			return nil, fmt.Errorf("read the presence of others: %w", err)
		}
		events[i] = e
	}
	return events, nil
}
