package presence

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
)

// Roster reads who is online, busy and in which state.
type Roster struct {
	Pool *pgxpool.Pool
}

// Visible is what one principal may see of the presence of others.
type Visible struct {
	Messages []Message // users, participants, devices; of each CONNECTED, then JOINED_SESSION, then STATUS_CHANGED
	Snapshot string    // pg_snapshot: a transaction that it sees is reflected in Messages, another is not
	Seq      int64     // of the newest event when the viewer was let in, 0 when there was none
}

// Message is an event as it would announce a part of it.
type Message struct {
	Type string // full name, opentera.protobuf.UserEvent for example
	Body string // its ProtoJSON
}

// Topic is the one that presence is announced on.
const Topic = "module.TeraServer.UserManagerModule.events"

//go:embed sql/snapshot.sql
var snapshotSQL string

// Of asks the database once.
func (r *Roster) Of(ctx context.Context, viewer access.Identity) (Visible, error) {
	var v Visible
	var names, bodies []string
	err := r.Pool.QueryRow(ctx, snapshotSQL, viewer.Kind.String(), viewer.ID, viewer.Snapshot).Scan(&v.Snapshot, &v.Seq, &names, &bodies)
	if err != nil {
		return Visible{}, fmt.Errorf("read the presence of others: %w", err)
	}
	for i, name := range names {
		v.Messages = append(v.Messages, Message{Type: name, Body: bodies[i]})
	}
	return v, nil
}
