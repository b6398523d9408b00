package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, migrated()))
	must := func(what string, want error) {
		t.Helper()
		if err := migrations.Check(t.Context(), conn); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	must("migrated", nil)
	state, err := migrations.Look(t.Context(), conn)
	if err != nil || !state.IsCurrent || state.Version != migrations.Latest() || state.Compatibility != migrations.Compatibility || state.Hash == "" {
		t.Errorf("%+v, %v", state, err)
	}
	// during a rolling upgrade only the number of compatibility counts, both ways
	execOn(t, conn, "UPDATE terasocket.schema_migrations SET version = version - 1")
	must("forced", migrations.ErrForced)
	for _, other := range []string{"terasocket.schema_migrations SET version = version + 2",
		"terasocket.functions SET hash = 'of another binary'"} {
		execOn(t, conn, "UPDATE "+other)
		if state, err := migrations.Look(t.Context(), conn); err != nil || state.IsCurrent {
			t.Errorf("%s: %+v, %v", other, state, err)
		}
	}
	execOn(t, conn, "UPDATE terasocket.functions SET compatibility = compatibility - 1")
	must("older", migrations.ErrBehind)
	execOn(t, conn, "UPDATE terasocket.functions SET compatibility = compatibility + 2")
	must("newer", migrations.ErrAhead)
	execOn(t, conn, "DELETE FROM terasocket.functions")
	must("newer and not finished", migrations.ErrAhead)
	execOn(t, conn, "UPDATE terasocket.schema_migrations SET version = 1")
	must("not finished", migrations.ErrUnfinished)
	execOn(t, conn, "ALTER TABLE terasocket.functions RENAME TO moved")
	must("from before there were any", migrations.ErrBehind)
	execOn(t, conn, "UPDATE terasocket.schema_migrations SET dirty = true")
	must("interrupted", migrations.ErrDirty)
	execOn(t, conn, "DELETE FROM terasocket.schema_migrations")
	must("no version", migrations.ErrNotMigrated)
	execOn(t, conn, "DROP SCHEMA terasocket CASCADE")
	must("never migrated", migrations.ErrNotMigrated)
	execOn(t, conn, "ALTER TABLE t_users RENAME TO users")
	must("without t_users", migrations.ErrNotOpenTera)
}

func TestCheckAsStranger(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	conn := dbtest.Conn(t, url)
	role := newRole(t, conn)
	stranger := dbtest.Conn(t, withRole(url, role))
	if err := migrations.Check(t.Context(), stranger); err == nil || !strings.Contains(err.Error(), "this role may not use the schema terasocket") {
		t.Errorf("without the schema: %v", err)
	}
	execOn(t, conn, "GRANT USAGE ON SCHEMA terasocket TO "+role)
	if err := migrations.Check(t.Context(), stranger); err == nil || !strings.Contains(err.Error(), "this role may not use the schema terasocket") {
		t.Errorf("without the table: %v", err)
	}
	if err := stranger.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Check(t.Context(), stranger); err == nil || !strings.Contains(err.Error(), "look at the database") {
		t.Errorf("without a connection: %v", err)
	}
}

// replica answers like a read replica of an OpenTera database.
type replica struct{}

func (replica) QueryRow(context.Context, string, ...any) pgx.Row { return replica{} }

func (replica) Scan(dest ...any) error {
	for _, d := range dest {
		*d.(*bool) = true
	}
	return nil
}

func TestCheckOnReplica(t *testing.T) {
	t.Parallel()
	if err := migrations.Check(t.Context(), replica{}); !errors.Is(err, migrations.ErrReplica) {
		t.Errorf("%v", err)
	}
}
