package migrations

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	driver "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source"
	bindata "github.com/golang-migrate/migrate/v4/source/go_bindata"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// DefaultLockTimeout is how long a migration waits for a lock on OpenTera's tables, or for another migration.
const DefaultLockTimeout = 10 * time.Second

// versionTable is golang-migrate's table, in our schema.
const versionTable = "schema_migrations"

// dropSchema removes what is left when no migration is applied.
const dropSchema = "DROP TABLE terasocket." + versionTable + "; DROP SCHEMA terasocket"

// Migrator migrates one database. It is not safe for concurrent use; two Migrators of one database wait for each other.
type Migrator struct {
	LockTimeout time.Duration // DefaultLockTimeout, unless changed before the first call

	config *pgx.ConnConfig
	schema string // of OpenTera's tables, quoted where needed
}

// New connects to databaseURL (as the owner of OpenTera's tables, directly rather than through a transaction pooler) and
// looks whether it is an OpenTera database. Errors: ErrNotOpenTera, ErrReplica, or why the database cannot be reached.
func New(ctx context.Context, databaseURL string) (*Migrator, error) {
	pool, err := pgxpool.ParseConfig(databaseURL) // which takes the parameters out that only a pool heeds
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	config := pool.ConnConfig
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("the database cannot be reached (does it run, is its URL right?): %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// OpenTera names no schema: its tables are in the first schema of the role's search path.
	var schema string
	var isReplica bool
	err = conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), coalesce((SELECT c.relnamespace::regnamespace::text FROM pg_class c
	                                  WHERE c.oid = to_regclass('t_users')), '')`).Scan(&isReplica, &schema)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for OpenTera's tables: %w", err)
	case schema == "":
		return nil, ErrNotOpenTera
	case isReplica:
		return nil, ErrReplica
	case strings.Contains(schema, "'"):
		return nil, fmt.Errorf("OpenTera's tables are in the schema %s: terasocket cannot work with a quote in its name", schema)
	}
	config.RuntimeParams["search_path"] = "pg_catalog, pg_temp"
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["client_min_messages"] = "warning"
	return &Migrator{LockTimeout: DefaultLockTimeout, config: config, schema: schema}, nil
}

// Up applies every migration that is missing and returns how many there were. One that fails leaves nothing behind.
func (m *Migrator) Up(ctx context.Context) (n int, err error) {
	err = m.alone(ctx, func() error {
		before, err := m.start(ctx)
		if err != nil {
			return err
		}
		err = m.run(ctx, func(mg *migrate.Migrate) error { return mg.Up() })
		after, versionErr := m.Version(ctx)
		n = int(after) - int(before)
		if err != nil && versionErr == nil && after == 0 {
			_ = m.exec(ctx, dropSchema) // refused when something else is in it: then it was not ours alone
		}
		return errors.Join(err, versionErr)
	})
	return n, err
}

// Down takes the last n migrations back, at most all of them, and returns how many there were. After the last one the
// schema terasocket is gone.
func (m *Migrator) Down(ctx context.Context, n int) (int, error) {
	if n < 1 {
		return 0, fmt.Errorf("cannot take %d migrations back: it must be 1 or more", n)
	}
	err := m.alone(ctx, func() error {
		before, err := m.start(ctx)
		n = min(n, int(before))
		if err != nil || n == 0 {
			return err
		}
		err = m.run(ctx, func(mg *migrate.Migrate) error { return mg.Steps(-n) })
		if err == nil && n == int(before) {
			err = m.exec(ctx, dropSchema)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Force sets the version without running anything: the way out of ErrDirty. 0 means nothing is applied.
func (m *Migrator) Force(ctx context.Context, version int) error {
	if version < 0 || version > int(Latest()) {
		return fmt.Errorf("there is no version %d: it must be 0 to %d", version, Latest())
	}
	if version == 0 {
		version = -1 // golang-migrate's word for none
	}
	return m.alone(ctx, func() error {
		return m.run(ctx, func(mg *migrate.Migrate) error { return mg.Force(version) })
	})
}

// Version is the version of the database, 0 when nothing is applied, with an ErrDirty when a migration was interrupted.
func (m *Migrator) Version(ctx context.Context) (uint, error) {
	conn, err := m.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var version int64
	var dirty bool
	err = conn.QueryRow(ctx, "SELECT version, dirty FROM terasocket."+versionTable).Scan(&version, &dirty)
	var missing *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &missing) && missing.Code == "42P01": // undefined_table
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read the version: %w", err)
	case dirty:
		return uint(max(version, 0)), dirtyError(version)
	}
	return uint(version), nil
}

// Status lists all migrations, and which of them are applied.
func (m *Migrator) Status(ctx context.Context) ([]Step, error) {
	version, err := m.Version(ctx)
	if err != nil {
		return nil, err
	}
	steps := Steps()
	for i := range steps {
		steps[i].Applied = steps[i].Version <= version
	}
	return steps, nil
}

// start is the version from which to migrate.
func (m *Migrator) start(ctx context.Context) (uint, error) {
	version, err := m.Version(ctx)
	if err == nil && version > Latest() {
		err = ErrAhead
	}
	return version, err
}

// alone runs do while no other Migrator of this database is at work. golang-migrate's own lock comes too late: the other's
// unfinished migration looks like an interrupted one until then.
func (m *Migrator) alone(ctx context.Context, do func() error) error {
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // and with it the lock
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended('terasocket migrate', 0))"); err != nil {
		return m.explain(err)
	}
	return do()
}

// run hands do a golang-migrate on a fresh connection, and takes the dirty mark of a failed migration away again: its
// transaction has left nothing behind.
func (m *Migrator) run(ctx context.Context, do func(*migrate.Migrate) error) error {
	if err := m.exec(ctx, "CREATE SCHEMA IF NOT EXISTS terasocket"); err != nil {
		return err
	}
	files, err := m.source()
	if err != nil {
		return fmt.Errorf("read the embedded migrations: %w", err)
	}
	db := stdlib.OpenDB(*m.settings())
	target, err := driver.WithInstance(db, &driver.Config{SchemaName: "terasocket", MigrationsTable: versionTable})
	if err != nil {
		return m.explain(errors.Join(err, db.Close()))
	}
	mg, err := migrate.NewWithInstance("embedded", files, "pgx5", target)
	if err != nil {
		return fmt.Errorf("prepare migration: %w", err)
	}
	before, _, versionErr := mg.Version()
	err = do(mg)
	if err != nil && !errors.Is(err, migrate.ErrNoChange) {
		err = errors.Join(err, undirty(mg, before, versionErr))
	} else {
		err = nil
	}
	sourceErr, closeErr := mg.Close()
	if errors.Is(closeErr, sql.ErrConnDone) {
		closeErr = nil
	}
	return m.explain(errors.Join(err, sourceErr, closeErr))
}

// source gives the migrations with the name of OpenTera's schema in them.
func (m *Migrator) source() (source.Driver, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	return bindata.WithInstance(bindata.Resource(names, func(name string) ([]byte, error) {
		file, err := files.ReadFile(name)
		return bytes.ReplaceAll(file, []byte("OPENTERA."), []byte(m.schema+".")), err
	}))
}

// undirty sets the version back to the last migration that is whole.
func undirty(mg *migrate.Migrate, before uint, beforeErr error) error {
	version, dirty, err := mg.Version()
	if errors.Is(err, migrate.ErrNilVersion) && beforeErr == nil {
		return mg.Force(1) // the last way down, of which golang-migrate does not say that it is dirty
	}
	if err != nil || !dirty {
		return nil // not reached the database, or nothing to mend: the error of the migration says it all
	}
	clean := int(version) - 1 // going up, the failed one is version
	if beforeErr == nil && version < before {
		clean = int(version) + 1 // going down, version is where it was to arrive
	}
	if clean < 1 {
		clean = -1
	}
	return mg.Force(clean)
}

func (m *Migrator) exec(ctx context.Context, statements string) error {
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, statements); err != nil {
		return m.explain(err)
	}
	return nil
}

func (m *Migrator) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, m.settings())
	if err != nil {
		return nil, fmt.Errorf("the database cannot be reached (does it run, is its URL right?): %w", err)
	}
	return conn, nil
}

func (m *Migrator) settings() *pgx.ConnConfig {
	config := m.config.Copy()
	config.RuntimeParams["lock_timeout"] = strconv.FormatInt(m.LockTimeout.Milliseconds(), 10)
	return config
}

// explain adds what to do to the errors that an operator can mend.
func (m *Migrator) explain(err error) error {
	err = original(err)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case "55P03": // lock_not_available
			return fmt.Errorf("no lock within %s: another migration is running, or a long transaction holds OpenTera's tables; "+
				"it has changed nothing, try again: %w", m.LockTimeout, err)
		case "42501": // insufficient_privilege
			return fmt.Errorf("this role may not do that: migrate as the owner of OpenTera's tables (--migration-database-url): %w", err)
		}
	}
	return err
}

// original takes golang-migrate's wrapping off PostgreSQL's error: it hides the error and shows the whole file.
func original(err error) error {
	var value database.Error
	var pointer *database.Error
	switch {
	case errors.As(err, &value):
		return fmt.Errorf("migration failed in line %d: %w", value.Line, value.OrigErr)
	case errors.As(err, &pointer):
		return fmt.Errorf("migration failed: %w", pointer.OrigErr)
	}
	return err
}

// Up migrates the database at databaseURL to Latest.
func Up(ctx context.Context, databaseURL string) error {
	m, err := New(ctx, databaseURL)
	if err != nil {
		return err
	}
	_, err = m.Up(ctx)
	return err
}
