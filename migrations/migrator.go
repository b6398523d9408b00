package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
)

// DefaultLockTimeout is how long a step of a migration retries to get a lock, or waits for another migration.
const DefaultLockTimeout = 10 * time.Second

// versionTable is golang-migrate's table, in our schema.
const versionTable = "schema_migrations"

// Migrator migrates one database. It is not safe for concurrent use; two Migrators of one database wait for each other.
type Migrator struct {
	LockTimeout time.Duration // DefaultLockTimeout, unless changed before the first call
	Progress    func(string)  // if not nil, called with a line for people at each step
	ReadAgain   bool          // Up reads all objects again: somebody wrote without triggers

	files  scripts
	config *pgx.ConnConfig
	schema string        // of OpenTera's tables, quoted where needed
	owner  string        // of OpenTera's tables, quoted where needed: the role that does everything
	brief  time.Duration // how long anybody may wait behind one of our locks
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

// New connects to databaseURL (as the owner of OpenTera's tables or a role that may become it, directly rather than through a transaction
// pooler) and checks that it is an OpenTera database. Errors: ErrNotOpenTera, ErrReplica, ErrPooler, ErrOwner, or why the database cannot
// be reached.
func New(ctx context.Context, databaseURL string) (*Migrator, error) {
	return NewFrom(ctx, databaseURL, embedded)
}

// NewFrom is New with other files than this binary's: NNNN_name.{up,down}.sql and functions/*.sql.
func NewFrom(ctx context.Context, databaseURL string, files fs.FS) (*Migrator, error) {
	m := &Migrator{LockTimeout: DefaultLockTimeout, files: scripts{files}}
	return m, m.prepare(ctx, databaseURL)
}

// Force sets the version without running anything, to recover from ErrDirty. 0 means that nothing is applied. It refuses a version
// whose tables are missing: the next Up would build on them.
func (m *Migrator) Force(ctx context.Context, version int) error {
	latest := m.files.latest()
	if version < 0 || version > int(latest) {
		return fmt.Errorf("there is no version %d: it must be 0 to %d", version, latest)
	}
	if version == 0 {
		version = -1 // golang-migrate's number for no version
	}
	return m.alone(ctx, func(conn *pgx.Conn) error {
		if err := m.hasTablesOf(ctx, conn, version); err != nil {
			return err
		}
		if err := m.createSchema(ctx, conn); err != nil {
			return err
		}
		return m.run(ctx, func(mg *migrate.Migrate) error { return mg.Force(version) })
	})
}

// hasTablesOf returns an error if a table that the version creates is missing.
func (m *Migrator) hasTablesOf(ctx context.Context, conn *pgx.Conn, version int) error {
	tables, err := m.files.creates(version)
	if err != nil {
		return err
	}
	var missing []string
	if err := conn.QueryRow(ctx, "SELECT array_agg(t) FROM unnest($1::text[]) t WHERE to_regclass(t) IS NULL", tables).Scan(&missing); err != nil || missing == nil {
		return err
	}
	return fmt.Errorf("version %d is not applied to this database, which has no table %s; `terasocket migrate up` applies what is missing", version, missing[0])
}

// Version returns the version of the database, 0 if nothing is applied, with an ErrDirty if a migration was interrupted.
func (m *Migrator) Version(ctx context.Context) (uint, error) {
	conn, err := m.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer closeConn(ctx, conn)
	return version(ctx, conn)
}

func version(ctx context.Context, q querier) (uint, error) {
	var version int64
	var dirty bool
	err := q.QueryRow(ctx, "SELECT version, dirty FROM terasocket."+versionTable).Scan(&version, &dirty)
	switch {
	case errors.Is(err, pgx.ErrNoRows), sqlState(err) == "42P01": // undefined_table
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read the version: %w", err)
	case dirty:
		return uint(max(version, 0)), dirtyError(version)
	}
	return uint(version), nil
}

// Status says which migrations and functions are applied.
type Status struct {
	Steps         []Step `json:"migrations"`
	Functions     string `json:"functions"`     // "current", "different" or "missing"
	Compatibility int    `json:"compatibility"` // of the applied functions, 0 for none
	Unfinished    string `json:"unfinished"`    // what `migrate up` would do on OpenTera's tables, "" for nothing
}

// Status compares the database with the files.
func (m *Migrator) Status(ctx context.Context) (Status, error) {
	conn, err := m.connect(ctx)
	if err != nil {
		return Status{}, err
	}
	defer closeConn(ctx, conn)
	version, err := version(ctx, conn)
	if err != nil {
		return Status{}, err
	}
	s := Status{Steps: m.files.steps(), Functions: "missing"}
	for i := range s.Steps {
		s.Steps[i].Applied = s.Steps[i].Version <= version
	}
	files, err := m.files.functions(m.schema)
	if err != nil {
		return Status{}, err
	}
	stored, err := applied(ctx, conn)
	s.Compatibility = stored.compatibility
	switch {
	case err != nil || stored.hash == "":
		return s, err
	case stored.hash != hashOf(files):
		s.Functions = "different"
		return s, nil
	}
	s.Functions = "current"
	s.Unfinished, err = unfinished(ctx, conn)
	return s, err
}

// alone runs do while no other Migrator works on this database. golang-migrate's own lock is taken too late: before it, another's
// unfinished migration looks like an interrupted one. Nobody waits for our lock in a statement, whose snapshot would block CREATE INDEX
// CONCURRENTLY.
func (m *Migrator) alone(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn) // which releases the lock
	for deadline := time.Now().Add(m.LockTimeout); ; {
		var isAlone bool
		err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended('terasocket migrate', 0))").Scan(&isAlone)
		switch {
		case err != nil:
			return fmt.Errorf("ask for the lock of migrations: %w", err)
		case isAlone:
			return do(conn)
		case time.Now().After(deadline):
			return fmt.Errorf("no lock within %s: another migration is running%s; nothing has changed, try again", m.LockTimeout, holder(ctx, conn))
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// holder names who holds the lock of migrations: any role may take it.
func holder(ctx context.Context, conn *pgx.Conn) (text string) {
	_ = conn.QueryRow(ctx, `SELECT format(' (process %s of role %s)', l.pid, coalesce(a.usename, '?')) FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('terasocket migrate', 0)
		AND   l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) LIMIT 1`).Scan(&text) // "": unknown
	return text
}

func (m *Migrator) say(format string, args ...any) {
	if m.Progress != nil {
		m.Progress(fmt.Sprintf(format, args...))
	}
}

// explain adds what to do to errors that an operator can correct.
func (m *Migrator) explain(err error) error {
	err = original(err)
	if isRefused(err) {
		return fmt.Errorf("%s, who owns OpenTera's tables, lacks a right (it needs CREATE on the database, and on the schema %s for indexes): %w",
			m.owner, m.schema, err)
	}
	return err
}

// original unwraps PostgreSQL's error from golang-migrate's, which hides it and shows the whole file.
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

func milliseconds(d time.Duration) string {
	return "'" + strconv.FormatInt(max(1, d.Milliseconds()), 10) + "ms'"
}
