// Package opentera holds OpenTera's own database schema, as a fresh server creates it, and the data of a made-up installation. Both are
// plain SQL that psql reads too; terasocket creates neither in a real installation. The head of demo.sql describes the demo data.
package opentera

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:generate go run ./gendemo demo.sql

//go:embed schema.sql
var schemaSQL string

//go:embed demo.sql
var demoSQL string

// Schema returns the statements that create OpenTera's tables and sequences in the first schema of the search path: one transaction,
// including BEGIN and COMMIT.
func Schema() string { return schemaSQL }

// Demo returns the statements that fill the empty tables of Schema with the demo installation: one transaction, including BEGIN and
// COMMIT.
func Demo() string { return demoSQL }

// Load creates the schema and the demo installation in an empty database.
func Load(ctx context.Context, conn *pgx.Conn) error {
	if err := LoadSchema(ctx, conn); err != nil {
		return err
	}
	return LoadDemo(ctx, conn)
}

// LoadSchema creates OpenTera's tables in a database that has none.
func LoadSchema(ctx context.Context, conn *pgx.Conn) error {
	if err := exec(ctx, conn, schemaSQL); err != nil {
		return fmt.Errorf("load OpenTera schema: %w", err)
	}
	return nil
}

// LoadDemo fills the empty tables of LoadSchema. After an error they are still empty.
func LoadDemo(ctx context.Context, conn *pgx.Conn) error {
	if err := exec(ctx, conn, demoSQL); err != nil {
		return fmt.Errorf("load demo data: %w", err)
	}
	return nil
}

// exec runs a script that is one transaction. It rolls back after an error, which leaves the transaction open, since the script's COMMIT
// was skipped.
func exec(ctx context.Context, conn *pgx.Conn, script string) error {
	_, err := conn.PgConn().Exec(ctx, script).ReadAll()
	if err != nil && !conn.IsClosed() {
		conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll()
	}
	return err
}
