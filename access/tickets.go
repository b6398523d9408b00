package access

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/ticket_holder.sql
var ticketHolderSQL string

// TicketHolder says whom a ticket of OpenTera's login names, by kind and UUID, and how long ago it was made, at most. The
// identity's counter is above that of every kick before the ticket, so that those do not close its socket, and not above
// that of any since.
// Errors: ErrRefused when there is no such one, it is disabled or deleted, or was kicked since; or the database's.
func (t *Tokens) TicketHolder(ctx context.Context, kind Kind, uuid string, age time.Duration) (Identity, error) {
	id := Identity{Principal: Principal{Kind: kind}, UUID: uuid}
	err := t.Pool.QueryRow(ctx, ticketHolderSQL, kind.String(), uuid, age).Scan(&id.ID, &id.Name, &id.Token)
	if errors.Is(err, pgx.ErrNoRows) {
		return Identity{}, ErrRefused
	}
	if err != nil {
		return Identity{}, fmt.Errorf("look up whom a ticket names: %w", err)
	}
	return id, nil
}
