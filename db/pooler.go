package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errTransactionPooler: LISTEN would have no effect.
var errTransactionPooler = errors.New("the listener's connection goes through a pooler of transactions, where LISTEN does not work: " +
	"name the server itself in --listen-database-url")

// errOtherDatabase: no notification would arrive.
var errOtherDatabase = errors.New("the listener's connection leads to another database than --database-url: " +
	"name the same one in --listen-database-url")

// whichDatabase identifies a database among all servers, by what any role may query.
const whichDatabase = `SELECT format('%s since %s', d.oid, extract(epoch FROM pg_postmaster_start_time()))
	FROM pg_database d WHERE d.datname = current_database()`

// MustShareDatabase checks that the pool leads to the database that l listens to.
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

// backendPID returns the server process that runs a connection's statements. A pooler reports another number to its clients when they
// connect.
func backendPID(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid); err != nil {
		return 0, fmt.Errorf("ask for the server process: %w", err)
	}
	return pid, nil
}

// mustOwnSession checks that the connection keeps its server process between transactions. If there is a pooler, a rival connection takes
// a server process: if it gets ours, that was not kept.
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
