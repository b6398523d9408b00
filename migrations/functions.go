package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// edition is the row of terasocket.functions; zero if none were applied.
type edition struct {
	hash, formulas string
	compatibility  int
}

// applied returns the edition of the functions in the database.
func applied(ctx context.Context, q querier) (e edition, err error) {
	err = q.QueryRow(ctx, "SELECT hash, formulas, compatibility FROM terasocket.functions").Scan(&e.hash, &e.formulas, &e.compatibility)
	switch state := sqlState(err); {
	case errors.Is(err, pgx.ErrNoRows), state == "42P01", state == "3F000": // undefined_table, invalid_schema_name
		return edition{}, nil
	case err != nil:
		return edition{}, fmt.Errorf("read the version of the functions: %w", err)
	}
	return e, nil
}

// apply replaces functions and views by those of the files, in one transaction, unless they are the same.
func (m *Migrator) apply(ctx context.Context, conn *pgx.Conn) error {
	files, err := m.files.functions(m.schema)
	if err != nil {
		return err
	}
	stored, err := applied(ctx, conn)
	wanted := edition{hashOf(files), hashOf(formulas(files)), Compatibility}
	if err != nil || stored == wanted {
		return err
	}
	afresh := false
	err = m.patiently(ctx, conn, blockers{tables: []string{"terasocket.announcer", "terasocket.changes", "terasocket.events"}}, func() error {
		err := m.replace(ctx, conn, files, wanted, afresh)
		if mustDrop(err) && !afresh {
			afresh = true
			err = m.replace(ctx, conn, files, wanted, afresh)
		}
		return err
	})
	if err == nil {
		m.say("functions applied")
	}
	return err
}

var errOtherTables = errors.New("the tables of terasocket do not match their version: were they made by a binary from before the first release? " +
	"Then run `terasocket migrate down --all`, and `terasocket migrate up`")

// mustDrop reports whether CREATE OR REPLACE was refused because of an existing object: another result type or parameter names, another
// kind of object, other columns of a view.
func mustDrop(err error) bool {
	switch sqlState(err) {
	case "42P13", "42P16", "42809": // invalid_function_definition, invalid_table_definition, wrong_object_type
		return true
	}
	return false
}

// replace makes one attempt. Functions stay in place, with the rights that operators have granted on them, and for the sessions that use
// them; afresh, all are dropped first, except those that triggers on OpenTera's tables call, and the rights are granted again.
func (m *Migrator) replace(ctx context.Context, conn *pgx.Conn, files []function, wanted edition, afresh bool) error {
	return m.inTransaction(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL check_function_bodies = off"); err != nil {
			return err
		}
		before, err := collect[object](ctx, tx, existingSQL)
		if err != nil {
			return err
		}
		grants, err := collect[right](ctx, tx, grantsSQL)
		if err != nil {
			return err
		}
		if afresh {
			if err := dropUncalled(ctx, tx, before); err != nil {
				return err
			}
		}
		for _, file := range files {
			if _, err := tx.Exec(ctx, file.text); err != nil {
				return fmt.Errorf("%s%s: %w", file.name, line(file.text, err), err)
			}
		}
		after, err := collect[object](ctx, tx, existingSQL)
		if err != nil {
			return err
		}
		if err := dropUncalled(ctx, tx, unchanged(before, after)); err != nil {
			return fmt.Errorf("drop removed functions: %w", err)
		}
		if _, err := tx.Exec(ctx, validateSQL); err != nil {
			if state := sqlState(err); state == "42P01" || state == "42703" { // undefined_table, undefined_column
				err = fmt.Errorf("%w: %w", errOtherTables, err)
			}
			return fmt.Errorf("check the functions: %w", err)
		}
		if afresh {
			if err := regrant(ctx, tx, grants); err != nil {
				return err
			}
		}
		if err := closeToPublic(ctx, tx); err != nil {
			return err
		}
		return record(ctx, tx, wanted)
	})
}

// record stores the edition of the functions. If the formulas differ, everything is filled again before anything is announced.
func record(ctx context.Context, tx pgx.Tx, e edition) error {
	_, err := tx.Exec(ctx, readAgain+" WHERE NOT EXISTS (SELECT FROM terasocket.functions f WHERE f.formulas = $1)", e.formulas)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO terasocket.functions (hash, formulas, compatibility) VALUES ($1, $2, $3)
		ON CONFLICT (one) DO UPDATE SET hash = excluded.hash, formulas = excluded.formulas, compatibility = excluded.compatibility,
		applied_at = clock_timestamp()`, e.hash, e.formulas, e.compatibility)
	return err
}

// object is a function or view of ours.
type object struct {
	Name     string // as DROP takes it: ROUTINE terasocket.f(integer)
	Written  string // changes whenever it is created or replaced
	IsCalled bool   // by a trigger on an OpenTera table
}

// collect returns the rows of a query, its columns in the order of the fields of T.
func collect[T any](ctx context.Context, q interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// unchanged returns the objects that the files did not create.
func unchanged(before, after []object) (left []object) {
	written := map[string]bool{}
	for _, o := range before {
		written[o.Written] = true
	}
	for _, o := range after {
		if written[o.Written] {
			left = append(left, o)
		}
	}
	return left
}

// dropUncalled drops objects, and the triggers on our own tables that call them. Those that a trigger on an OpenTera table calls stay:
// attach replaces them.
func dropUncalled(ctx context.Context, tx pgx.Tx, objects []object) error {
	called := map[string]bool{}
	var names []string
	for _, o := range objects {
		called[o.Name] = true
		if !o.IsCalled {
			names = append(names, o.Name)
		}
	}
	triggers, err := collect[trigger](ctx, tx, triggersSQL)
	if err != nil {
		return err
	}
	var before []string
	for _, t := range triggers {
		if t.IsOurs && called[t.Calls] {
			before = append(before, t.Name)
		}
	}
	return drop(ctx, tx, append(before, names...))
}

// trigger is a trigger that calls a function of ours.
type trigger struct {
	Name, Calls string
	IsOurs      bool // on a table of ours
}

// drop drops objects in an order that their dependencies allow, and nothing else.
func drop(ctx context.Context, tx pgx.Tx, names []string) error {
	if len(names) == 0 {
		return nil
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "'" + strings.ReplaceAll(name, "'", "''") + "'"
	}
	_, err := tx.Exec(ctx, strings.ReplaceAll(dropSQL, "OBJECTS", "ARRAY["+strings.Join(quoted, ",")+"]"))
	return err
}

// right is a privilege of a role other than the owner.
type right struct {
	Object    string
	IsRoutine bool
	Statement string
}

// regrant grants the rights again on what still exists.
func regrant(ctx context.Context, tx pgx.Tx, rights []right) error {
	for _, r := range rights {
		var exists bool
		err := tx.QueryRow(ctx, "SELECT CASE WHEN $2 THEN to_regprocedure($1) IS NOT NULL ELSE to_regclass($1) IS NOT NULL END", r.Object, r.IsRoutine).Scan(&exists)
		if err == nil && exists {
			_, err = tx.Exec(ctx, r.Statement)
		}
		if err != nil {
			return fmt.Errorf("grant a right again: %w", err)
		}
	}
	return nil
}

// closeToPublic revokes the EXECUTE that PostgreSQL grants to PUBLIC on each new function.
func closeToPublic(ctx context.Context, tx pgx.Tx) error {
	var revoke string
	if err := tx.QueryRow(ctx, publicSQL).Scan(&revoke); err != nil || revoke == "" {
		return err
	}
	_, err := tx.Exec(ctx, revoke)
	return err
}

// line returns the position of the error in text, "" if PostgreSQL does not tell.
func line(text string, err error) string {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Position < 1 {
		return ""
	}
	before := []rune(text)
	return fmt.Sprintf(" line %d", 1+strings.Count(string(before[:min(len(before), int(refused.Position)-1)]), "\n"))
}
