package migrations

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// holdLimit bounds a step that locks an OpenTera table.
	holdLimit = 700 * time.Millisecond
	// lockAllLimit bounds the waiting for all tables at once: dropping our objects takes additional time.
	lockAllLimit = 300 * time.Millisecond
	// fillBatch is how many objects are read at a time: nothing is announced meanwhile.
	fillBatch = 5000
)

// attach creates the triggers on OpenTera's tables, table by table.
func (m *Migrator) attach(ctx context.Context, conn *pgx.Conn) error {
	type captured struct{ Name string }
	tables, err := collect[captured](ctx, conn, "SELECT table_name FROM terasocket.capture_tables()")
	if err != nil {
		return fmt.Errorf("list the tables to watch: %w", err)
	}
	for _, table := range tables {
		err := m.patiently(ctx, conn, blockers{tables: []string{m.schema + "." + table.Name}}, func() error {
			return m.inTransaction(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = "+milliseconds(holdLimit)); err != nil {
					return err
				}
				if err := missed(ctx, tx, table.Name); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, "SELECT terasocket.attach_table($1)", table.Name); err != nil {
					return err
				}
				return closeToPublic(ctx, tx)
			})
		})
		if err != nil {
			return fmt.Errorf("put triggers on %s: %w", table.Name, err)
		}
	}
	m.say("triggers on %d tables", len(tables))
	return m.dropOrphans(ctx, conn)
}

// readAgain restarts fill.
const readAgain = "UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0"

// missed has all objects read again if a table had no trigger: what was missed is unknown.
func missed(ctx context.Context, tx pgx.Tx, table string) error {
	var isWatched bool
	err := tx.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM terasocket.missing_triggers() m WHERE m.table_name = $1)", table).Scan(&isWatched)
	if err != nil || isWatched {
		return err
	}
	_, err = tx.Exec(ctx, readAgain)
	return err
}

// dropOrphans drops old trigger functions that are in no file and that no trigger calls any more.
func (m *Migrator) dropOrphans(ctx context.Context, conn *pgx.Conn) error {
	files, err := m.files.functions(m.schema)
	if err != nil {
		return err
	}
	type orphan struct{ Name string }
	orphans, err := collect[orphan](ctx, conn, orphansSQL)
	if err != nil {
		return fmt.Errorf("look for removed functions: %w", err)
	}
	for _, o := range orphans {
		if inFiles(files, "terasocket."+o.Name+"(") {
			continue
		}
		if _, err := conn.Exec(ctx, "DROP FUNCTION "+pgx.Identifier{"terasocket", o.Name}.Sanitize()+"()"); err != nil {
			return fmt.Errorf("drop a removed function: %w", err)
		}
	}
	return nil
}

func inFiles(files []function, text string) bool {
	for _, file := range files {
		if strings.Contains(file.text, text) {
			return true
		}
	}
	return false
}

// index is one of our indexes on an OpenTera table.
type index struct {
	Name       string // as regclass
	IsWhole    bool   // false: left behind by a failed CREATE INDEX CONCURRENTLY
	Plain, OID string // Plain is the name without schema
}

// asidePrefix begins the name of a broken index that could not be dropped yet.
const asidePrefix = "terasocket_broken_"

// wantedIndex is one of our indexes that is missing on an OpenTera table.
type wantedIndex struct{ Name, Statement string }

// makeIndexes creates the indexes on OpenTera's tables without blocking writes.
func (m *Migrator) makeIndexes(ctx context.Context, conn *pgx.Conn) error {
	aside, err := m.dropBroken(ctx, conn)
	if err != nil {
		return err
	}
	if aside > 0 {
		m.say("broken indexes are left (%s*, %d): `migrate up` drops them when OpenTera's server is stopped", asidePrefix, aside)
	}
	wanted, err := collect[wantedIndex](ctx, conn, "SELECT index_name, statement FROM terasocket.wanted_indexes()")
	if err != nil {
		return fmt.Errorf("list the missing indexes: %w", err)
	}
	if len(wanted) > 0 {
		m.say("making %d indexes", len(wanted))
	}
	for _, index := range wanted {
		if err := m.concurrently(ctx, conn, index.Statement); err != nil {
			return fmt.Errorf("make the index %s: %w", index.Name, err)
		}
	}
	return nil
}

// mostAside is how many broken indexes may be left aside.
const mostAside = 5

// dropBroken drops indexes left behind by a failed CREATE INDEX CONCURRENTLY, and returns how many are left aside. Dropping waits for
// every transaction that has touched the table, including OpenTera's main session, which never ends one. Such an index is renamed until a
// later Up.
func (m *Migrator) dropBroken(ctx context.Context, conn *pgx.Conn) (aside int, err error) {
	indexes, err := collect[index](ctx, conn, indexesSQL, m.schema)
	if err != nil {
		return 0, fmt.Errorf("look at the indexes: %w", err)
	}
	for _, i := range indexes {
		if i.IsWhole {
			continue
		}
		err := m.brieflyOutside(ctx, conn, "DROP INDEX CONCURRENTLY "+i.Name)
		if isBusy(err) {
			if aside++; aside > mostAside {
				return aside, fmt.Errorf("%d broken indexes (%s*) wait to be dropped: stop OpenTera's server, and run `terasocket migrate up`", aside, asidePrefix)
			}
			err = nil
			if !strings.HasPrefix(i.Plain, asidePrefix) {
				err = m.brieflyOutside(ctx, conn, "ALTER INDEX "+i.Name+" RENAME TO "+asidePrefix+i.OID)
			}
		}
		if err != nil {
			return aside, fmt.Errorf("drop the broken index %s: %w", i.Name, err)
		}
	}
	return aside, nil
}

// concurrently runs a CREATE INDEX CONCURRENTLY.
func (m *Migrator) concurrently(ctx context.Context, conn *pgx.Conn, statement string) error {
	return m.patiently(ctx, conn, blockers{oldSnapshots: true}, func() error {
		err := m.brieflyOutside(ctx, conn, statement)
		if isBusy(err) {
			if _, dropErr := m.dropBroken(ctx, conn); dropErr != nil {
				return dropErr
			}
		}
		return err
	})
}

// brieflyOutside runs a statement outside of a transaction. Only DDL waits behind CONCURRENTLY, but such a transaction must not deadlock
// with us: no wait may reach the deadlock_timeout.
func (m *Migrator) brieflyOutside(ctx context.Context, conn *pgx.Conn, statement string) error {
	if _, err := conn.Exec(ctx, "SET lock_timeout = "+milliseconds(m.brief)); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, statement)
	return err
}

// fill reads all objects that were not read yet, or all with ReadAgain, in batches, while nobody announces.
func (m *Migrator) fill(ctx context.Context, conn *pgx.Conn) error {
	if m.ReadAgain {
		err := m.patiently(ctx, conn, blockers{tables: []string{"terasocket.announcer"}}, func() error {
			return m.inTransaction(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, readAgain)
				return err
			})
		})
		if err != nil {
			return fmt.Errorf("begin to read OpenTera's objects again: %w", err)
		}
	}
	var said time.Time
	var before, read int64 // fill counts by type: read is that of the first type left
	for {
		var left int64
		err := m.patiently(ctx, conn, blockers{tables: []string{"terasocket.announcer"}}, func() error {
			// the snapshot is taken after the lock, since LOCK takes none
			return m.inTransaction(ctx, conn, pgx.RepeatableRead, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE"); err != nil {
					return err
				}
				return tx.QueryRow(ctx, "SELECT terasocket.fill($1)", fillBatch).Scan(&left)
			})
		})
		if err != nil {
			return fmt.Errorf("read OpenTera's objects: %w", err)
		}
		if left == 0 {
			if !said.IsZero() {
				m.say("all objects are read")
			}
			return nil
		}
		if read += fillBatch; left != before {
			before, read = left, 0
		}
		if time.Since(said) > time.Second {
			said = time.Now()
			m.say("about %d objects still to read", max(left-read, 1))
		}
	}
}

// unfinished returns what Up would do on OpenTera's tables, "" for nothing.
func unfinished(ctx context.Context, conn *pgx.Conn) (string, error) {
	var triggers, indexes int
	var isFilled bool
	err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM terasocket.missing_triggers()), (SELECT count(*) FROM terasocket.wanted_indexes()),
		(SELECT fill_type IS NULL FROM terasocket.announcer)`).Scan(&triggers, &indexes, &isFilled)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for unfinished steps: %w", err)
	case triggers > 0:
		return fmt.Sprintf("triggers are missing (%d)", triggers), nil
	case indexes > 0:
		return fmt.Sprintf("indexes are missing (%d)", indexes), nil
	case !isFilled:
		return "not all objects are read", nil
	}
	return "", nil
}
