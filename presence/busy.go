package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Busy reports who is in a session, in the whole cluster.
type Busy struct {
	Pool *pgxpool.Pool
}

// Member is a principal in a session. UUID and Name are empty for a physically deleted one.
type Member struct {
	Kind    string    `json:"kind"`
	UUID    string    `json:"uuid"`
	Name    string    `json:"name"`
	Session string    `json:"session_uuid"`
	Status  *int32    `json:"session_status"` // OpenTera's; null: the session is unknown
	Since   time.Time `json:"since"`
}

// StatusText returns OpenTera's word for the state of the session.
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

// List returns everybody in a session, longest first. Errors: the database's.
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

// End removes a user, participant or device from its session, or everybody from a session (kind "session"), announces that, and returns
// how many it removed. Errors: the database's.
func (b *Busy) End(ctx context.Context, kind, uuid string) (n int, err error) {
	if err := b.Pool.QueryRow(ctx, "SELECT terasocket.free($1, $2)", kind, uuid).Scan(&n); err != nil {
		return 0, fmt.Errorf("take %s %s out of the session: %w", kind, uuid, err)
	}
	return n, nil
}
