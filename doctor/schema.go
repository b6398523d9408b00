package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/migrations"
)

// checkedAlembic is the version of OpenTera's schema that terasocket was checked against.
const checkedAlembic = "6b9c4707d8ef"

// schemaChecks check the schemas, OpenTera's and ours.
func (d *doctor) schemaChecks() []check {
	return []check{
		{name: "opentera", needs: []string{"database"}, ask: d.owning.asks(openTeraIsThere)},
		{name: "migrations", needs: []string{"opentera", "primary"}, ask: d.owning.asks(isMigrated)},
		{name: "migration-role", needs: []string{"opentera"}, ask: d.owning.asks(d.ownsTables)},
		{name: "tables", needs: []string{"migrations"}, ask: d.owning.asks(tablesAreThere)},
	}
}

// openTeraSchema returns the oid of the schema that holds OpenTera's tables.
const openTeraSchema = "SELECT relnamespace FROM pg_class WHERE oid = to_regclass('t_users')"

func openTeraIsThere(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var schema string
	var hasVersion, mayRead bool
	err := tx.QueryRow(ctx, `SELECT coalesce((SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('t_users')), ''),
		to_regclass('alembic_version') IS NOT NULL, coalesce(has_table_privilege(to_regclass('alembic_version'), 'SELECT'), false)`).
		Scan(&schema, &hasVersion, &mayRead)
	switch {
	case err != nil:
		return Finding{}, err
	case schema == "":
		return failWith(migrations.ErrNotOpenTera), nil
	case !hasVersion:
		return warn("OpenTera's tables in schema "+schema+", of unknown version: there is no alembic_version", "let OpenTera upgrade its schema"), nil
	case !mayRead:
		return fine("OpenTera's tables in schema %s; this role may not read its version", schema), nil
	}
	var version string
	err = tx.QueryRow(ctx, "SELECT coalesce(string_agg(version_num, ', '), '') FROM alembic_version").Scan(&version)
	if err == nil && version != checkedAlembic {
		return warn(fmt.Sprintf("OpenTera's tables in schema %s, alembic version %.80q; terasocket was checked against %s", schema, version, checkedAlembic),
			"watch triggers, tables and capture-errors below; look for a newer terasocket"), nil
	}
	return fine("OpenTera's tables in schema %s, alembic version %s", schema, version), err
}

// isMigrated compares tables and functions with those of this binary.
func isMigrated(ctx context.Context, tx pgx.Tx) (Finding, error) {
	state, err := migrations.Look(ctx, tx)
	for _, known := range []error{migrations.ErrNotOpenTera, migrations.ErrReplica, migrations.ErrSubscriber, migrations.ErrNotMigrated, migrations.ErrUnfinished,
		migrations.ErrBehind, migrations.ErrAhead, migrations.ErrDirty} {
		if errors.Is(err, known) {
			return failWith(err), nil
		}
	}
	if err == nil && !state.IsCurrent {
		return warn(fmt.Sprintf("version %d with the functions of another binary; this one can work with them", state.Version),
			"when all gateways are of one version, run `terasocket migrate up` of that"), nil
	}
	return fine("version %d and its functions, as this binary brings them", migrations.Latest()), err
}

// ownsTables checks that this role can migrate, that is, put triggers on OpenTera's tables.
func (d *doctor) ownsTables(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var isOwner bool
	err := tx.QueryRow(ctx, "SELECT coalesce(bool_and(pg_has_role(relowner, 'USAGE')), false) FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%' AND relnamespace = ("+
		openTeraSchema+")").Scan(&isOwner)
	switch {
	case err != nil || isOwner:
		return fine("%s owns OpenTera's tables", d.owning.flag), err
	case d.MigrationDatabaseURL == "":
		return skip("this role does not own OpenTera's tables: it serves, but cannot migrate", "to migrate, give the owner as --migration-database-url"), nil
	}
	return fail("the role of --migration-database-url does not own OpenTera's tables", "give the role that owns them"), nil
}

func tablesAreThere(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, `SELECT o.object_type || CASE WHEN c.oid IS NULL THEN ' (no table ' || o.table_name ELSE ' (no column ' || o.id_key END || ')'
		FROM terasocket.object_types o LEFT JOIN pg_class c ON c.relname = o.table_name AND c.relnamespace = (`+openTeraSchema+`)
		LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = o.id_key AND NOT a.attisdropped WHERE a.attname IS NULL ORDER BY 1`)
	if err != nil {
		return Finding{}, err
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(gone) > 0 {
		return warn("no events of "+strings.Join(gone, ", "), "if this OpenTera is newer than terasocket, look for a newer terasocket; if the table is on its way, attach then"), err
	}
	return fine("a table for every kind of object"), err
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
