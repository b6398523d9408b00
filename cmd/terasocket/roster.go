package main

import (
	"context"
	"time"

	"terasocket/access"
	"terasocket/db"
	"terasocket/presence"
	"terasocket/proto/event"
)

// roster is what a socket that asks for a snapshot is told first.
type roster struct {
	presence *presence.Roster
}

// Presence makes events of what the database knows. Their seq is that of the newest event before the handshake: who
// resumes from it misses nothing.
func (r *roster) Presence(ctx context.Context, viewer access.Identity) ([]event.Event, func(xid uint64) bool, error) {
	visible, err := r.presence.Of(ctx, viewer)
	if err != nil {
		return nil, nil, err
	}
	snapshot, err := db.ParseSnapshot(visible.Snapshot)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	events := make([]event.Event, 0, len(visible.Messages))
	for _, m := range visible.Messages {
		decoded, err := event.Decode(event.Record{Seq: max(visible.Seq, 1), At: now, Topic: presence.Topic, Type: m.Type, Body: m.Body})
		if err != nil {
			return nil, nil, err
		}
		events = append(events, decoded...)
	}
	return events, snapshot.Sees, nil
}
