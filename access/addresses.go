package access

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Addresses counts failed logins per address, for all gateways together: 60 at once, then one a second. Only failures count, so that a
// clinic behind one address can log in all at once. An IPv6 address counts by its /64, since a client has the whole prefix. "" and
// anything else that is not an address is never limited: all such clients would share one limit.
type Addresses struct {
	Pool *pgxpool.Pool
}

// Wait returns how long this address must wait before the next attempt, 0 for not at all. Errors: the database's.
func (a *Addresses) Wait(ctx context.Context, addr string) (time.Duration, error) {
	network, isLimited := Network(addr)
	if !isLimited {
		return 0, nil
	}
	var wait float64
	if err := a.Pool.QueryRow(ctx, "SELECT terasocket.address_wait($1)", network).Scan(&wait); err != nil {
		return 0, fmt.Errorf("look at failed logins of an address: %w", err)
	}
	if wait <= 0 {
		return 0, nil
	}
	return seconds(wait), nil
}

// Failed counts a failed login from this address. Errors: the database's.
func (a *Addresses) Failed(ctx context.Context, addr string) error {
	network, isLimited := Network(addr)
	if !isLimited {
		return nil
	}
	if _, err := a.Pool.Exec(ctx, "SELECT terasocket.address_failed($1)", network); err != nil {
		return fmt.Errorf("count a failed login of an address: %w", err)
	}
	return nil
}

// Network returns the prefix by which an address is counted: an IPv6 address by its /64, since a client has all of it. It returns false
// if addr is not an address.
func Network(addr string) (string, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return "", false
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().String(), true
	}
	return a.String(), true
}
