package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/golang-migrate/migrate/v4"
	driver "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// dropSchema removes what remains when no migration is applied.
const dropSchema = "DROP TABLE terasocket." + versionTable + "; DROP SCHEMA terasocket"

// Up applies everything that is missing (tables, functions, triggers and indexes), reads all objects for the first time, and returns the
// number of migrations. A step that fails leaves nothing behind, earlier ones stay: the next Up continues there.
func (m *Migrator) Up(ctx context.Context) (n int, err error) {
	err = m.alone(ctx, func(conn *pgx.Conn) error {
		before, err := m.start(ctx, conn)
		if err != nil {
			return err
		}
		if err := m.createSchema(ctx, conn); err != nil {
			return err
		}
		err = m.patiently(ctx, conn, blockers{}, func() error {
			return m.run(ctx, func(mg *migrate.Migrate) error { return mg.Up() })
		})
		after, versionErr := version(ctx, conn)
		n = int(after) - int(before)
		if err != nil && versionErr == nil && after == 0 {
			_, _ = conn.Exec(ctx, dropSchema) // refused if something else is in it: then it was not ours alone
		}
		if err := errors.Join(err, versionErr); err != nil {
			return m.resumable(err)
		}
		for _, step := range []func(context.Context, *pgx.Conn) error{m.apply, m.attach, m.makeIndexes, m.fill} {
			if err := step(ctx, conn); err != nil {
				return m.resumable(err)
			}
		}
		return nil
	})
	return n, err
}

// resumable adds to an error of waiting, or of Ctrl-C, that Up can be repeated.
func (m *Migrator) resumable(err error) error {
	var busy *errBusy
	switch {
	case errors.Is(err, context.Canceled):
		err = fmt.Errorf("interrupted: %w", err)
	case !errors.As(err, &busy):
		return err
	}
	return fmt.Errorf("%w; run `terasocket migrate up` again, it continues here", err)
}

// start returns the version from which to migrate.
func (m *Migrator) start(ctx context.Context, conn *pgx.Conn) (uint, error) {
	version, err := version(ctx, conn)
	if err != nil {
		return version, err
	}
	stored, err := applied(ctx, conn)
	if err == nil && (version > m.files.latest() || stored.compatibility > Compatibility) {
		err = ErrAhead
	}
	return version, err
}

// createSchema creates the schema terasocket, for the owner of OpenTera's tables; as the connecting role if the owner may not.
func (m *Migrator) createSchema(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regnamespace('terasocket') IS NOT NULL").Scan(&exists); err != nil || exists {
		return err
	}
	_, err := conn.Exec(ctx, "CREATE SCHEMA terasocket")
	if isRefused(err) {
		_, asOther := conn.Exec(ctx, "RESET ROLE; CREATE SCHEMA terasocket AUTHORIZATION "+m.owner+"; SET ROLE "+m.owner)
		if asOther == nil {
			return nil
		}
		return fmt.Errorf("%s may not create a schema: GRANT CREATE ON DATABASE %s TO %s: %w",
			m.owner, pgx.Identifier{m.config.Database}.Sanitize(), m.owner, err)
	}
	return err
}

// run calls do with a golang-migrate on a new connection, and clears the dirty mark of a failed migration: its transaction has left
// nothing behind.
func (m *Migrator) run(ctx context.Context, do func(*migrate.Migrate) error) error {
	files, err := m.files.source(m.schema)
	if err != nil {
		return fmt.Errorf("read the embedded migrations: %w", err)
	}
	config := m.config.Copy()
	config.RuntimeParams["lock_timeout"] = fmt.Sprint(max(1, m.brief.Milliseconds()))
	db := stdlib.OpenDB(*config)
	target, err := driver.WithInstance(db, &driver.Config{SchemaName: "terasocket", MigrationsTable: versionTable})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	mg, err := migrate.NewWithInstance("embedded", files, "pgx5", target)
	if err != nil {
		return fmt.Errorf("prepare migration: %w", err)
	}
	err = do(mg)
	if err != nil && !errors.Is(err, migrate.ErrNoChange) {
		err = errors.Join(err, undirty(mg))
	} else {
		err = nil
	}
	sourceErr, closeErr := mg.Close()
	if errors.Is(closeErr, sql.ErrConnDone) {
		closeErr = nil
	}
	return errors.Join(err, sourceErr, closeErr)
}

// undirty sets the version back to the last complete migration.
func undirty(mg *migrate.Migrate) error {
	version, dirty, err := mg.Version()
	if err != nil || !dirty {
		return nil // no connection, or nothing to repair: the migration's own error says it all
	}
	clean := int(version) - 1 // going up, version is the failed one
	if clean < 1 {
		clean = -1
	}
	return mg.Force(clean)
}
