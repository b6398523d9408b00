package db

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// History reads the event log for clients that come back.
type History struct {
	Pool *pgxpool.Pool
}

//go:embed sql/resume.sql
var resumeSQL string

// TrimmedError says that the log does not reach back to what a client has missed.
type TrimmedError struct {
	Oldest int64 // seq of the oldest row that is held, 0 when there is none
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("the event log does not reach back that far: its oldest row is %d", e.Oldest)
}

// After gives what a client that has heard the row cursor may have missed: at most limit rows with a seq beyond behind (0
// at first, then the seq of the last row), in the order of seq. Transactions that were open when cursor was recorded may
// have committed with smaller seqs, so rows that the client has heard can be among them.
// Errors: *TrimmedError, or the database's.
func (h *History) After(ctx context.Context, cursor, behind int64, limit int) ([]Row, error) {
	var snapshot string
	err := h.Pool.QueryRow(ctx, "SELECT snapshot::text FROM terasocket.events WHERE seq = $1", cursor).Scan(&snapshot)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("look for the cursor in the event log: %w", err)
	}
	var rows []Row
	if err == nil {
		if rows, err = (eventLog{h.Pool}).rows(ctx, resumeSQL, snapshot, cursor, behind, limit); err != nil {
			return nil, err
		}
	}
	// asked last: what is held now was held while the rows were read
	var oldest int64
	if err := h.Pool.QueryRow(ctx, "SELECT coalesce(min(seq), 0) FROM terasocket.events").Scan(&oldest); err != nil {
		return nil, fmt.Errorf("look how far the event log reaches back: %w", err)
	}
	if snapshot == "" || oldest == 0 || oldest > cursor || behind > 0 && oldest > behind {
		return nil, &TrimmedError{Oldest: oldest}
	}
	return rows, nil
}
