package access

import "github.com/jackc/pgx/v5/pgxpool"

// Keys are those that dynamic tokens are signed with (terasocket.signing_keys).
type Keys struct {
	Pool *pgxpool.Pool
}
