package access

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// KeyNames are the names of signing keys, by the kind of token they sign.
var KeyNames = [...]string{"user", "participant", "service"}

// Keys manages the signing keys of dynamic tokens and service tokens (terasocket.signing_keys). One key of each name signs; older ones
// verify until they retire. A key is created on first use.
type Keys struct {
	Pool   *pgxpool.Pool
	Shared SharedKeys // nil: only our own keys
}

// SharedKeys are the keys of another server that accepts the same tokens: then only they sign and verify, and a token disabled at either
// server is refused by both. name is one of KeyNames.
type SharedKeys interface {
	// Look returns the key that signs and verifies, and whether this token ("": none) is disabled.
	// An error means that nobody can tell now; the token is then neither valid nor invalid.
	Look(ctx context.Context, name, token string) (key string, isDisabled bool, err error)
	// Disable invalidates a token of a user or participant; isFirst is false if it was disabled before.
	Disable(ctx context.Context, name, token string) (isFirst bool, err error)
}

// Key describes a signing key without revealing it.
type Key struct {
	Name      string
	CreatedAt time.Time
	RetiresAt *time.Time // nil: it signs; otherwise it verifies until then
}

//go:embed sql/signing_keys.sql
var signingKeysSQL string

// List returns the keys that sign or verify, by name, the signing one first. Errors: the database's.
func (k *Keys) List(ctx context.Context) ([]Key, error) {
	rows, err := k.Pool.Query(ctx, signingKeysSQL)
	if err != nil {
		return nil, fmt.Errorf("list signing keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
	if err != nil {
		return nil, fmt.Errorf("list signing keys: %w", err)
	}
	return keys, nil
}

// Rotate creates a new key, which signs from now on. Older keys verify for at most overlap; with 0 every token they have signed is
// refused at once. Errors: an unknown name, an overlap that is negative or more than 90 days, or the database's.
func (k *Keys) Rotate(ctx context.Context, name string, overlap time.Duration) error {
	switch {
	case !slices.Contains(KeyNames[:], name):
		return fmt.Errorf("there are no signing keys of that name: it is one of %s", strings.Join(KeyNames[:], ", "))
	case overlap < 0 || overlap > 90*24*time.Hour:
		return errors.New("the overlap must be between 0 and 90 days (2160h)")
	}
	if _, err := k.Pool.Exec(ctx, "SELECT terasocket.rotate_signing_key($1, $2)", name, overlap); err != nil {
		return fmt.Errorf("rotate signing key: %w", err)
	}
	return nil
}
