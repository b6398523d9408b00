package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db"
)

// poolerChecks check for a pooler between us and the server.
func (d *doctor) poolerChecks() []check {
	return []check{
		{name: "pool", needs: []string{"database"}, ask: d.poolKeepsStatements},
		{name: "listen", needs: []string{"database", "primary"}, ask: d.hears},
	}
}

const (
	listenWait = 2 * time.Second // from NOTIFY to its receipt
	rivals     = 3               // connections that try to take another's server connection
)

// sessions returns the backend that runs a connection's statements; a pooler invents the process id that a client is told.
func sessions(ctx context.Context, conn *pgx.Conn) (pid uint32, isPooled bool, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid)
	return pid, pid != conn.PgConn().PID(), err
}

// poolKeepsStatements: serve prepares statements only without a pooler, unless its URL says otherwise. A pooler that assigns a
// server connection for each transaction must support them.
func (d *doctor) poolKeepsStatements(ctx context.Context) Finding {
	conn, err := d.serving.connect(ctx)
	if err != nil {
		return unanswered(err)
	}
	defer hangUp(conn)
	_, isPooled, err := sessions(ctx, conn)
	if err != nil {
		return unanswered(err)
	}
	if !isPooled {
		return fine("direct, no pooler")
	}
	config, err := pgx.ParseConfig(d.DatabaseURL)
	if given, _ := db.GivesExecMode(d.DatabaseURL); err != nil || !given || config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return fine("a pooler: serve prepares no statements")
	}
	statement := "terasocket_doctor_" + rand.Text()
	if _, err := conn.Prepare(ctx, statement, "SELECT 1"); err != nil {
		return unanswered(err)
	}
	pid, _, err := sessions(ctx, conn)
	if err != nil {
		return unanswered(err)
	}
	for range rivals {
		tookIt, release := d.take(ctx, pid)
		defer release()
		if tookIt {
			break
		}
	}
	_, err = conn.Exec(ctx, statement)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "26000": // invalid_sql_statement_name
		return fail("a pooler that forgets prepared statements (PgBouncer in transaction mode)",
			"take default_query_exec_mode out of the parameters of --database-url, or set max_prepared_statements in PgBouncer 1.21 or later")
	case err != nil:
		return unanswered(err)
	}
	return fine("a pooler, and prepared statements are found again")
}

// take opens a transaction that may get the server connection pid, if it is free. release ends it.
func (d *doctor) take(ctx context.Context, pid uint32) (tookIt bool, release func()) {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a small pool makes it wait
	defer cancel()
	config, err := d.serving.config()
	if err != nil {
		return false, func() {}
	}
	rival, err := pgx.ConnectConfig(ctx, config) // a pooler may keep us waiting: that says nothing about the database
	if err != nil {
		return false, func() {}
	}
	release = func() { hangUp(rival) }
	if _, err := rival.Exec(ctx, "BEGIN READ ONLY"); err != nil {
		return false, release
	}
	got, _, err := sessions(ctx, rival)
	return err == nil && got == pid, release
}

// hears tests the round trip of a notification from --database-url to the listener's connection.
func (d *doctor) hears(ctx context.Context) Finding {
	ear, err := d.listening.connect(ctx)
	if err != nil {
		return unanswered(err)
	}
	defer hangUp(ear)
	mouth, err := d.serving.connect(ctx)
	if err != nil {
		return unanswered(err)
	}
	defer hangUp(mouth)
	_, isPooled, err := sessions(ctx, ear)
	if err != nil {
		return unanswered(err)
	}
	channel := pgx.Identifier{"terasocket_doctor_" + rand.Text()}
	const direct = "name the server itself, not the pooler, in --listen-database-url"
	broken := func(err error) Finding {
		if isPooled {
			return fail("LISTEN does not work through this pooler: "+err.Error(), direct)
		}
		return unanswered(err)
	}
	if _, err := ear.Exec(ctx, "LISTEN "+channel.Sanitize()); err != nil {
		return broken(err)
	}
	began := time.Now()
	if _, err := mouth.Exec(ctx, "SELECT pg_notify($1, '')", channel[0]); err != nil {
		return broken(err)
	}
	wait, cancel := context.WithTimeout(ctx, listenWait)
	defer cancel()
	_, err = ear.WaitForNotification(wait)
	took := time.Since(began)
	if !ear.IsClosed() {
		_, _ = ear.Exec(ctx, "UNLISTEN "+channel.Sanitize()) // a pooler keeps the server connection
	}
	switch {
	case err == nil:
		return fine("a notification arrives after %s", took.Round(100*time.Microsecond))
	case wait.Err() == nil:
		return broken(err)
	case isPooled:
		return fail(fmt.Sprintf("no notification within %s: a pooler of transactions is in between", listenWait), direct)
	}
	return fail(fmt.Sprintf("no notification within %s", listenWait),
		"see that "+d.listening.flag+" names the same database of the same server as --database-url, directly")
}
