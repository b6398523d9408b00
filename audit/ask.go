package audit

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed sql/find.sql
var findSQL string

// Question selects deliveries. Zero fields do not restrict them.
type Question struct {
	Seq          uint64 // of an event
	Kind, UUID   string // of a user, participant or device
	Since, Until time.Time
}

// Find calls tell for each matching row, the oldest first, until it fails. Errors: that of tell, or the database's.
func Find(ctx context.Context, pool *pgxpool.Pool, q Question, tell func(Row) error) error {
	rows, err := pool.Query(ctx, findSQL, orNull(q.Seq), orNull(q.Kind), orNull(q.UUID), orNull(q.Since), orNull(q.Until))
	if err != nil {
		return fmt.Errorf("look for deliveries: %w", err)
	}
	var row Row
	var bounds []uint64
	var told error
	_, err = pgx.ForEachRow(rows, []any{&row.Kind, &row.UUID, &row.Principal, &row.Gateway, &row.Connection, &row.Opened, &row.Address, &row.Mode, &row.Frames,
		&bounds, &row.Since, &row.Until}, func() error {
		row.Seqs = make([]Run, len(bounds)/2)
		for i := range row.Seqs {
			row.Seqs[i] = Run{bounds[2*i], bounds[2*i+1]}
		}
		told = tell(row)
		return told
	})
	switch {
	case told != nil:
		return told
	case err != nil:
		return fmt.Errorf("look for deliveries: %w", err)
	}
	return nil
}

// orNull returns nil for a zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Oldest returns the start of the oldest week that is kept, the zero time if there is none. Errors: the database's.
func Oldest(ctx context.Context, pool *pgxpool.Pool) (at time.Time, err error) {
	var oldest *time.Time
	if err := pool.QueryRow(ctx, "SELECT min(since) FROM terasocket.delivery_weeks").Scan(&oldest); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return at, fmt.Errorf("look for the oldest deliveries: %w", err)
	}
	if oldest != nil {
		at = *oldest
	}
	return at, nil
}

// MarshalJSON writes a run as [first, last].
func (r Run) MarshalJSON() ([]byte, error) { return json.Marshal([2]uint64{r.First, r.Last}) }
