package access

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Addresses counts failed logins per address, for all gateways together.
type Addresses struct {
	Pool *pgxpool.Pool
}

// Wait says how long this address must wait; 0: it may try. "" is never limited.
func (a *Addresses) Wait(ctx context.Context, addr string) (time.Duration, error) { return 0, errTODO }

// Failed counts a failure of this address.
func (a *Addresses) Failed(ctx context.Context, addr string) error { return errTODO }
