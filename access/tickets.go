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

// TicketHolder says whom a ticket of OpenTera's login names, by kind and UUID, and how long ago it was kicked last; nil: not of
// late. The identity's counter is above that of every kick so far, so that those do not close its socket, and not above that of
// any to come.
// Errors: ErrRefused when there is no such one, or it is disabled or deleted; or the database's.
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
