package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Down reverts the last n migrations, at most all of them, and returns how many there were. Functions, views and triggers belong to all
// migrations together: they are dropped in any case, and the next Up (for example of an older binary) creates its own. After the last
// migration the schema terasocket and all our indexes are gone. It is one transaction: if it fails, nothing has changed.
//
// It briefly needs every OpenTera table with a trigger of ours for itself: it releases all of them as soon as it would have to wait for
// one, and retries for LockTimeout. If a gateway runs, the error names it.
func (m *Migrator) Down(ctx context.Context, n int) (int, error) {
	if n < 1 {
		return 0, fmt.Errorf("cannot take %d migrations back: it must be 1 or more", n)
	}
	err := m.alone(ctx, func(conn *pgx.Conn) error {
		before, err := m.start(ctx, conn)
		n = min(n, int(before))
		if err != nil || n == 0 {
			return err
		}
		tables, err := m.tables(ctx, conn)
		if err != nil {
			return err
		}
		err = m.patiently(ctx, conn, blockers{tables: tables}, func() error {
			return m.inTransaction(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) error { return m.takeBack(ctx, tx, tables, before, before-uint(n)) })
		})
		var busy *errBusy
		switch {
		case errors.As(err, &busy):
			return fmt.Errorf("%w; stop OpenTera's server and whoever else uses the database, and try again: nothing has changed", err)
		case err != nil:
			return fmt.Errorf("nothing has changed: %w", err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// tables returns the tables that Down locks, in the order of locking.
func (m *Migrator) tables(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	type table struct{ Name string }
	tables, err := collect[table](ctx, conn, tablesSQL, m.schema)
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	if err != nil {
		return nil, fmt.Errorf("list the tables to lock: %w", err)
	}
	return names, nil
}

// takeBack migrates from one version to a lower one.
func (m *Migrator) takeBack(ctx context.Context, tx pgx.Tx, tables []string, from, to uint) error {
	if err := mustBeIdle(ctx, tx); err != nil {
		return err
	}
	hold, err := mayHold(ctx, tx)
	if err != nil {
		return err
	}
	// others queue behind the tables that we hold while we wait for one
	if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = "+milliseconds(lockAllLimit)+"; LOCK TABLE "+strings.Join(tables, ", ")+
		" IN ACCESS EXCLUSIVE MODE; SET LOCAL statement_timeout = "+hold); err != nil {
		return err
	}
	if err := m.detach(ctx, tx, to == 0); err != nil {
		return err
	}
	for version := from; version > to; version-- {
		text, err := m.files.down(version, m.schema)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, text); err != nil {
			return fmt.Errorf("take version %d back%s: %w", version, line(text, err), err)
		}
	}
	last := dropSchema
	if to > 0 {
		last = fmt.Sprintf("UPDATE terasocket.%s SET version = %d; DELETE FROM terasocket.functions", versionTable, to)
	}
	_, err = tx.Exec(ctx, last)
	return err
}

// mustBeIdle returns an error that names a gateway with a valid lease.
func mustBeIdle(ctx context.Context, tx pgx.Tx) error {
	var hasGateways bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('terasocket.gateways') IS NOT NULL").Scan(&hasGateways); err != nil || !hasGateways {
		return err
	}
	var name string
	err := tx.QueryRow(ctx, `SELECT name FROM terasocket.gateways WHERE lease_until > clock_timestamp()
		AND id <> '00000000-0000-0000-0000-000000000000' ORDER BY name LIMIT 1`).Scan(&name) // the id of OpenTera's own server
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for gateways: %w", err)
	}
	return fmt.Errorf("gateway %s runs: stop it first (one that has died counts until its lease ends, some 10 s)", name)
}

// mayHold returns how long the tables may be held while everything is dropped, as SET takes it: others wait meanwhile. Without other
// sessions a slow server has all the time that it needs.
func mayHold(ctx context.Context, tx pgx.Tx) (string, error) {
	var others int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
		AND coalesce(backend_type, 'client backend') = 'client backend'`).Scan(&others)
	if err != nil {
		return "", fmt.Errorf("count the others: %w", err)
	}
	if others == 0 {
		return "0", nil
	}
	return milliseconds(holdLimit), nil
}

// detach drops triggers, functions and views, and optionally the indexes.
func (m *Migrator) detach(ctx context.Context, tx pgx.Tx, withIndexes bool) error {
	triggers, err := collect[trigger](ctx, tx, triggersSQL)
	if err != nil {
		return err
	}
	objects, err := collect[object](ctx, tx, existingSQL)
	if err != nil {
		return err
	}
	var names []string
	for _, t := range triggers {
		names = append(names, t.Name)
	}
	for _, o := range objects {
		names = append(names, o.Name)
	}
	if withIndexes {
		indexes, err := collect[index](ctx, tx, indexesSQL, m.schema)
		if err != nil {
			return err
		}
		for _, i := range indexes {
			names = append(names, "INDEX "+i.Name)
		}
	}
	return drop(ctx, tx, names)
}
