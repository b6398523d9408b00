package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Reasons why a database is not ready. Each is wrapped in one sentence that says what to do.
var (
	ErrNotOpenTera = errors.New("this is not an OpenTera database: it has no table t_users in the search path of this role. " +
		"Let OpenTera create its schema first, or correct --database-url")
	ErrReplica    = errors.New("this database is a read replica: name the primary in --database-url")
	ErrSubscriber = errors.New("this database is a subscriber of logical replication: what it receives is announced nowhere. Name the publisher in " +
		"--database-url; when this one is to take its place, disable or drop the subscription first")
	ErrNotMigrated = errors.New("terasocket is not installed in this database: run `terasocket migrate up`")
	ErrUnfinished  = errors.New("`terasocket migrate up` has not finished in this database: run it again, it continues where it stopped")
	ErrBehind      = errors.New("the terasocket schema is older than this binary: run `terasocket migrate up`")
	ErrAhead       = errors.New("the terasocket schema is newer than this binary: use the newer binary")
	ErrDirty       = errors.New("a migration was interrupted")
	ErrForced      = errors.New("the functions of terasocket are newer than the recorded version of this database: was it forced? " +
		"Force the version that it really has (`terasocket migrate force`), then run `terasocket migrate up`")
)

// querier is the part of a connection or pool that Check needs.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// State is the state of terasocket in a database.
type State struct {
	Version       uint   // of the tables
	Hash          string // of the functions; "" if none were applied
	Compatibility int    // of the functions
	IsCurrent     bool   // tables and functions are exactly those of this binary
}

// Check returns why the gateway cannot work on this database, nil if it can: it must be OpenTera's, a primary, and migrated by a binary
// of the same Compatibility. Older and newer tables and functions of that number are accepted.
func Check(ctx context.Context, q querier) error {
	_, err := Look(ctx, q)
	return err
}

// Look is Check, and returns what it found.
func Look(ctx context.Context, q querier) (State, error) {
	var isReplica, isOpenTera, hasVersion, hasFunctions bool
	err := q.QueryRow(ctx, `SELECT pg_is_in_recovery(), to_regclass('t_users') IS NOT NULL,
	                               to_regclass('terasocket.schema_migrations') IS NOT NULL, to_regclass('terasocket.functions') IS NOT NULL`).
		Scan(&isReplica, &isOpenTera, &hasVersion, &hasFunctions)
	switch {
	case isRefused(err):
		return State{}, fmt.Errorf("this role may not use the schema terasocket: %w", err)
	case err != nil:
		return State{}, fmt.Errorf("look at the database: %w", err)
	case !isOpenTera:
		return State{}, ErrNotOpenTera
	case isReplica:
		return State{}, ErrReplica
	case !hasVersion:
		return State{}, ErrNotMigrated
	}
	switch name, err := Subscription(ctx, q); {
	case err != nil:
		return State{}, err
	case name != "":
		return State{}, fmt.Errorf("%w (it is called %s)", ErrSubscriber, name)
	}
	var version int64
	var dirty bool
	err = q.QueryRow(ctx, `SELECT version, dirty FROM terasocket.schema_migrations`).Scan(&version, &dirty)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return State{}, ErrNotMigrated
	case isRefused(err):
		return State{}, fmt.Errorf("this role may not use the schema terasocket: %w", err)
	case err != nil:
		return State{}, fmt.Errorf("read the version of the terasocket schema: %w", err)
	case dirty:
		return State{}, dirtyError(version)
	case !hasFunctions:
		return State{Version: uint(version)}, ErrBehind
	}
	return compare(ctx, q, State{Version: uint(version)})
}

// Subscription returns the name of the subscription that writes OpenTera's tables or the log in this database, "" for none. Rows that
// logical replication writes fire no triggers.
func Subscription(ctx context.Context, q querier) (name string, err error) {
	if err := q.QueryRow(ctx, subscriptionSQL).Scan(&name); err != nil {
		return "", fmt.Errorf("look for subscriptions: %w", err)
	}
	return name, nil
}

// compare reads the version of the functions and checks it.
func compare(ctx context.Context, q querier, s State) (State, error) {
	var schema string
	err := q.QueryRow(ctx, `SELECT f.hash, f.compatibility, (SELECT c.relnamespace::regnamespace::text FROM pg_class c WHERE c.oid = to_regclass('t_users'))
	                        FROM terasocket.functions f`).Scan(&s.Hash, &s.Compatibility, &schema)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && s.Version > Latest():
		return s, ErrAhead
	case errors.Is(err, pgx.ErrNoRows):
		return s, ErrUnfinished
	case isRefused(err):
		return s, fmt.Errorf("this role may not use the schema terasocket: %w", err)
	case err != nil:
		return s, fmt.Errorf("read the version of the functions of terasocket: %w", err)
	}
	files, err := scripts{embedded}.functions(schema)
	hash := hashOf(files)
	s.IsCurrent = s.Version == Latest() && s.Hash == hash
	switch {
	case err != nil:
		return s, err
	case s.Compatibility > Compatibility:
		return s, ErrAhead
	case s.Compatibility < Compatibility:
		return s, ErrBehind
	case s.Hash == hash && s.Version < Latest():
		return s, ErrForced
	}
	return s, nil
}

func isRefused(err error) bool { return sqlState(err) == "42501" } // insufficient_privilege

// sqlState returns the SQLSTATE of PostgreSQL's error, "" for another error.
func sqlState(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

func dirtyError(version int64) error {
	version = max(version, 1) // golang-migrate's number for no version is -1
	return fmt.Errorf("%w at version %d: each migration is one transaction, so it is there whole or not at all. "+
		"Run `terasocket migrate force %d`, then `terasocket migrate up`; if that says that something already exists, "+
		"run `terasocket migrate force %d` instead", ErrDirty, version, version-1, version)
}
