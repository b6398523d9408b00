package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Busy knows who is in a session, in the whole cluster.
type Busy struct {
	Pool *pgxpool.Pool
}

// Member is somebody who is in a session. UUID and Name are empty of who was deleted for good.
type Member struct {
	Kind    string    `json:"kind"`
	UUID    string    `json:"uuid"`
	Name    string    `json:"name"`
	Session string    `json:"session_uuid"`
	Status  *int32    `json:"session_status"` // OpenTera's; null: nobody knows that session
	Since   time.Time `json:"since"`
}

// StatusText is OpenTera's word for the state of the session.
func (m Member) StatusText() string {
	words := []string{"not started", "in progress", "completed", "cancelled", "terminated"}
	switch {
	case m.Status == nil:
		return "unknown"
	case *m.Status < 0 || int(*m.Status) >= len(words):
		return fmt.Sprintf("status %d", *m.Status)
	}
	return words[*m.Status]
}

// List gives all, who has been in a session for longest first. Errors: the database's.
func (b *Busy) List(ctx context.Context) ([]Member, error) {
	rows, err := b.Pool.Query(ctx, "SELECT kind, uuid, name, session_uuid, status, since FROM terasocket.who_is_busy()")
	if err != nil {
		return nil, fmt.Errorf("list who is busy: %w", err)
	}
	members, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Member])
	if err != nil {
		return nil, fmt.Errorf("list who is busy: %w", err)
	}
	return members, nil
}

// End takes a user, participant or device out of its session, or everybody out of a session (kind "session"), announces that,
// and returns how many they were. Errors: the database's.
func (b *Busy) End(ctx context.Context, kind, uuid string) (n int, err error) {
	if err := b.Pool.QueryRow(ctx, "SELECT terasocket.free($1, $2)", kind, uuid).Scan(&n); err != nil {
		return 0, fmt.Errorf("take %s %s out of the session: %w", kind, uuid, err)
	}
	return n, nil
}
