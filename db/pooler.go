package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errTransactionPooler says why LISTEN would be heard by nobody.
var errTransactionPooler = errors.New("the listener's connection goes through a pooler of transactions, where LISTEN does not work: " +
	"name the server itself in --listen-database-url")

// errOtherDatabase says why no notification would come.
var errOtherDatabase = errors.New("the listener's connection leads to another database than --database-url: " +
	"name the same one in --listen-database-url")

// whichDatabase tells databases apart, of all servers, by what any role may ask.
const whichDatabase = `SELECT format('%s since %s', d.oid, extract(epoch FROM pg_postmaster_start_time()))
	FROM pg_database d WHERE d.datname = current_database()`

// MustShareDatabase makes sure that the pool leads to the database that l listens to.
func (l *Listener) MustShareDatabase(ctx context.Context, pool *pgxpool.Pool) error {
	var database string
	if err := pool.QueryRow(ctx, whichDatabase).Scan(&database); err != nil {
		return fmt.Errorf("ask for the database: %w", err)
	}
	if database != l.database {
		return errOtherDatabase
	}
	return nil
}

// backendPID asks which process of the server runs a connection's statements. A pooler tells its clients another number
// when they connect.
func backendPID(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid); err != nil {
		return 0, fmt.Errorf("ask for the server process: %w", err)
	}
	return pid, nil
}

// mustOwnSession makes sure that the connection keeps its server process between transactions. Where a pooler is in
// between, a rival connection takes one: if that is ours, it was not kept.
func mustOwnSession(ctx context.Context, conn *pgx.Conn) error {
	ours, err := backendPID(ctx, conn)
	if err != nil || ours == conn.PgConn().PID() {
		return err
	}
	rival, err := pgx.ConnectConfig(ctx, conn.Config())
	if err != nil {
		return fmt.Errorf("connect beside the listener: %w", err)
	}
	defer func() { _ = rival.Close(context.WithoutCancel(ctx)) }()
	if _, err := rival.Exec(ctx, "BEGIN"); err != nil {
		return fmt.Errorf("connect beside the listener: %w", err)
	}
	theirs, err := backendPID(ctx, rival)
	if err != nil {
		return err
	}
	if theirs == ours {
		return errTransactionPooler
	}
	now, err := backendPID(ctx, conn)
	if err == nil && now != ours {
		err = errTransactionPooler
	}
	return err
}
