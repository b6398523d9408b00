package access

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TokenLifetime is the lifetime of a connect token (OpenTera: 60 s).
const TokenLifetime = 60 * time.Second

// ErrUnknown is returned for a principal that does not exist, is disabled or is deleted: it may not connect.
var ErrUnknown = errors.New("no such user, participant or device that may connect")

// Tokens mints and redeems connect tokens.
type Tokens struct {
	Pool *pgxpool.Pool

	door Together[presented, redeemed]
}

// presented is a token shown by a client, and the hash under which it is stored.
type presented struct {
	kind Kind
	hash [sha256.Size]byte
}

// redeemed is the result for one token; zero: refused.
type redeemed struct {
	Identity
	isHeld bool // another transaction holds it, and may yet roll back
}

var (
	//go:embed sql/redeem.sql
	redeemSQL string
	//go:embed sql/redeem_many.sql
	redeemManySQL string
)

// Create mints a token for one handshake of this principal: base64url text of 43 characters, stored only as a hash.
// Errors: ErrUnknown.
func (t *Tokens) Create(ctx context.Context, kind Kind, uuid string) (string, error) {
	var token string
	err := t.Pool.QueryRow(ctx, "SELECT terasocket.create_connect_token($1, $2)", kind.String(), uuid).Scan(&token)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "P0002" { // no_data_found
		return "", fmt.Errorf("%w: %s %s", ErrUnknown, kind, uuid)
	}
	if err != nil {
		return "", fmt.Errorf("create connect token: %w", err)
	}
	return token, nil
}

// Redeem consumes a token and returns its principal. Of any number of calls with one token, one succeeds. Concurrent calls share a
// statement. Errors: ErrRefused, or the database's.
func (t *Tokens) Redeem(ctx context.Context, kind Kind, token string) (Identity, error) {
	got, err := t.door.Do(ctx, presented{kind, sha256.Sum256([]byte(token))}, t.redeemMany)
	switch {
	case got.isHeld:
		return t.redeemOne(ctx, kind, token)
	case err != nil:
		return Identity{}, fmt.Errorf("redeem connect token: %w", err)
	case got.ID == 0:
		return Identity{}, ErrRefused
	}
	return got.Identity, nil
}

// redeemMany redeems several in one statement.
func (t *Tokens) redeemMany(ctx context.Context, tokens []presented) ([]redeemed, error) {
	kinds, hashes, all := make([]string, len(tokens)), make([][]byte, len(tokens)), make([]redeemed, len(tokens))
	for i := range tokens {
		kinds[i], hashes[i] = tokens[i].kind.String(), tokens[i].hash[:]
		all[i].Kind = tokens[i].kind
	}
	rows, err := t.Pool.Query(ctx, redeemManySQL, kinds, hashes)
	if err != nil {
		return nil, err
	}
	var at int
	var one redeemed
	_, err = pgx.ForEachRow(rows, []any{&at, &one.isHeld, &one.ID, &one.UUID, &one.Name, &one.Token}, func() error {
		one.Kind = tokens[at-1].kind
		all[at-1] = one
		return nil
	})
	return all, err
}

// redeemOne waits for the transaction that holds the token.
func (t *Tokens) redeemOne(ctx context.Context, kind Kind, token string) (Identity, error) {
	id := Identity{Principal: Principal{Kind: kind}}
	err := t.Pool.QueryRow(ctx, redeemSQL, kind.String(), token).Scan(&id.ID, &id.UUID, &id.Name, &id.Token)
	if errors.Is(err, pgx.ErrNoRows) {
		return Identity{}, ErrRefused
	}
	if err != nil {
		return Identity{}, fmt.Errorf("redeem connect token: %w", err)
	}
	return id, nil
}

// Replace closes the sockets that a principal has opened with older tokens than its own, on all gateways, with 4000, and voids its older
// unused URLs. Errors: the database's.
func (t *Tokens) Replace(ctx context.Context, id Identity) error {
	if _, err := t.Pool.Exec(ctx, "SELECT terasocket.replace_sockets($1, $2, $3)", id.Kind.String(), id.ID, id.Token); err != nil {
		return fmt.Errorf("replace other sockets: %w", err)
	}
	return nil
}

// Sweep deletes expired connect tokens, disabled tokens, failed attempts, second steps and signing keys, and returns how many rows it
// deleted; 0 while another gateway sweeps.
func (t *Tokens) Sweep(ctx context.Context) (n int64, err error) {
	if err := t.Pool.QueryRow(ctx, "SELECT terasocket.sweep_door()").Scan(&n); err != nil {
		return 0, fmt.Errorf("sweep expired tokens: %w", err)
	}
	return n, nil
}

// RunSweep sweeps every minute until ctx ends, then returns nil. Errors are logged and retried in the next round.
func (t *Tokens) RunSweep(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(TokenLifetime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			limited, cancel := context.WithTimeout(ctx, TokenLifetime/2)
			if _, err := t.Sweep(limited); err != nil && ctx.Err() == nil {
				log.Warn("expired tokens not swept", "op", "sweep", "err", err)
			}
			cancel()
		}
	}
}
