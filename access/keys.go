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

// KeyNames are the names that there are signing keys of: whose tokens they sign.
var KeyNames = [...]string{"user", "participant", "service"}

// Keys are those that dynamic tokens and the tokens of services are signed with (terasocket.signing_keys). One of each
// name signs; those before it verify until they retire. A key is made when it is needed for the first time.
type Keys struct {
	Pool   *pgxpool.Pool
	Shared SharedKeys // nil: ours alone
}

// SharedKeys are those of a server beside us that takes the same tokens: then only they sign and verify, and a token that is
// disabled at either server is good at neither. name is one of KeyNames.
type SharedKeys interface {
	// Look gives the key that signs and verifies, and whether this token ("": none) is disabled.
	// Errors: nobody can say now; the token is then neither good nor bad.
	Look(ctx context.Context, name, token string) (key string, isDisabled bool, err error)
	// Disable ends a token of a user or participant before its time; isFirst is false when that was done before.
	Disable(ctx context.Context, name, token string) (isFirst bool, err error)
}

// Key is what may be told of a signing key: not the key.
type Key struct {
	Name      string
	CreatedAt time.Time
	RetiresAt *time.Time // nil: it signs; else it verifies until then
}

//go:embed sql/signing_keys.sql
var signingKeysSQL string

// List gives those that sign or verify, by name, the one that signs first. Errors: the database's.
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

// Rotate makes a new key, which signs from now on. Those before it verify for no longer than overlap; with 0 every token
// that they have signed is refused at once. Errors: an unknown name, an overlap that is negative or of more than 90 days, or the database's.
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
