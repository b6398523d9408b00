package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Why a database is not ready. Each wraps into one sentence that says what to do.
var (
	ErrNotOpenTera = errors.New("this is not an OpenTera database: it has no table t_users in the search path of this role. " +
		"Let OpenTera create its schema first, or correct --database-url")
	ErrReplica     = errors.New("this database is a read replica: name the primary in --database-url")
	ErrNotMigrated = errors.New("terasocket is not installed in this database: run `terasocket migrate up`")
	ErrBehind      = errors.New("the terasocket schema is older than this binary: run `terasocket migrate up`")
	ErrAhead       = errors.New("the terasocket schema is newer than this binary: use the newer binary")
	ErrDirty       = errors.New("a migration was interrupted")
)

// querier is what Check needs of a connection or pool.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Check says whether the gateway can work on this database: OpenTera's, a primary, migrated to exactly Latest.
func Check(ctx context.Context, q querier) error {
	var isReplica, isOpenTera, hasVersion bool
	err := q.QueryRow(ctx, `SELECT pg_is_in_recovery(), to_regclass('t_users') IS NOT NULL,
	                               to_regclass('terasocket.schema_migrations') IS NOT NULL`).Scan(&isReplica, &isOpenTera, &hasVersion)
	switch {
	case isRefused(err):
		return fmt.Errorf("this role may not use the schema terasocket: %w", err)
	case err != nil:
		return fmt.Errorf("look at the database: %w", err)
	case !isOpenTera:
		return ErrNotOpenTera
	case isReplica:
		return ErrReplica
	case !hasVersion:
		return ErrNotMigrated
	}
	var version int64
	var dirty bool
	err = q.QueryRow(ctx, `SELECT version, dirty FROM terasocket.schema_migrations`).Scan(&version, &dirty)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotMigrated
	case isRefused(err):
		return fmt.Errorf("this role may not use the schema terasocket: %w", err)
	case err != nil:
		return fmt.Errorf("read the version of the terasocket schema: %w", err)
	case dirty:
		return dirtyError(version)
	case version < int64(Latest()):
		return ErrBehind
	case version > int64(Latest()):
		return ErrAhead
	}
	return nil
}

func isRefused(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "42501" // insufficient_privilege
}

func dirtyError(version int64) error {
	version = max(version, 1) // golang-migrate's word for none is -1
	return fmt.Errorf("%w at version %d: each migration is one transaction, so it is there whole or not at all. "+
		"Run `terasocket migrate force %d`, then `terasocket migrate up`; if that says that something already exists, "+
		"run `terasocket migrate force %d` instead", ErrDirty, version, version-1, version)
}
