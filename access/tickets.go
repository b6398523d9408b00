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

// TicketHolder returns whom an OpenTera login ticket names, by kind and UUID, and the time since its last kick; nil: not recently. The
// identity's counter is above those of all past kicks, so that they do not close its socket, and not above any future one.
// Errors: ErrRefused if there is no such principal, or it is disabled or deleted; or the database's.
func (t *Tokens) TicketHolder(ctx context.Context, kind Kind, uuid string) (id Identity, kicked *time.Duration, err error) {
	id = Identity{Principal: Principal{Kind: kind}, UUID: uuid}
	err = t.Pool.QueryRow(ctx, ticketHolderSQL, kind.String(), uuid).Scan(&id.ID, &id.Name, &id.Token, &kicked)
	if errors.Is(err, pgx.ErrNoRows) {
		return Identity{}, nil, ErrRefused
	}
	if err != nil {
		return Identity{}, nil, fmt.Errorf("look up whom a ticket names: %w", err)
	}
	return id, kicked, nil
}
