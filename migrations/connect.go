package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Reasons why a connection cannot be used to migrate.
var (
	ErrPooler = errors.New("the database is reached through a connection pooler, which cannot migrate: " +
		"name the server itself in --migration-database-url")
	ErrOwner = errors.New("migrate as the owner of OpenTera's tables (--migration-database-url)")
)

// longestWait is how long a writer of OpenTera may wait behind a lock of ours.
const longestWait = 200 * time.Millisecond

// prepare checks the server and configures the connection to it.
func (m *Migrator) prepare(ctx context.Context, databaseURL string) error {
	pool, err := pgxpool.ParseConfig(databaseURL) // removes the parameters meant for pools
	if err != nil {
		return fmt.Errorf("read the database URL: %w", err)
	}
	m.config = pool.ConnConfig
	m.config.DefaultQueryExecMode = pgx.QueryExecModeExec // functions and tables change under cached statements
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if err := m.suits(ctx, conn); err != nil {
		return err
	}
	params := m.config.RuntimeParams
	params["search_path"] = "pg_catalog, pg_temp"
	params["statement_timeout"] = "0"
	params["idle_in_transaction_session_timeout"] = "0"
	params["client_min_messages"] = "warning"
	params["application_name"] = "terasocket migrate"
	become := "SET ROLE " + m.owner
	m.config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if _, err := conn.Exec(ctx, become).ReadAll(); err != nil {
			return fmt.Errorf("become %s: %w: %w", m.owner, ErrOwner, err)
		}
		return nil
	}
	conn, err = m.connect(ctx)
	if err == nil {
		closeConn(ctx, conn)
	}
	return err
}

// place is the result of sql/look.sql.
type place struct {
	Major         int
	Text          string // the version as text
	PID           int32
	IsReplica     bool
	Schema, Owner string // of OpenTera's tables, "" if they are not visible
	Owners        []string
	Role          string // the connecting role
	MayBecome     bool   // it may become the owner
	Ours          string // owner of the schema terasocket, "" if there is none
	Deadlock      time.Duration
}

// suits checks that this can be migrated: a direct connection to the primary of an OpenTera database, with the rights of the owner of its
// tables.
func (m *Migrator) suits(ctx context.Context, conn *pgx.Conn) error {
	found, err := collect[place](ctx, conn, lookSQL)
	if err != nil {
		return fmt.Errorf("look for OpenTera's tables: %w", err)
	}
	p := found[0]
	m.schema, m.owner = p.Schema, p.Owner
	m.brief = min(p.Deadlock/2, longestWait)
	return p.fault(conn.PgConn().PID())
}

// fault returns why this cannot be migrated over a connection with this process id.
func (p place) fault(pid uint32) error {
	switch {
	case uint32(p.PID) != pid:
		return ErrPooler // a pooler reports process ids of its own
	case p.Major < 13:
		return fmt.Errorf("PostgreSQL %s is too old: terasocket works with 13 to 19", p.Text)
	case p.Schema == "":
		return ErrNotOpenTera
	case p.IsReplica:
		return ErrReplica
	case strings.Contains(p.Schema, "'"):
		return fmt.Errorf("OpenTera's tables are in the schema %s: terasocket cannot work with a quote in its name", p.Schema)
	case len(p.Owners) > 1:
		return fmt.Errorf("OpenTera's tables belong to several roles (%s): give them all to one (ALTER TABLE ... OWNER TO %s)",
			strings.Join(p.Owners, ", "), p.Owner)
	case !p.MayBecome:
		return fmt.Errorf("the role %s may not migrate, since OpenTera's tables belong to %s: %w", p.Role, p.Owner, ErrOwner)
	case p.Ours != "" && p.Ours != p.Owner:
		return fmt.Errorf("the schema terasocket belongs to %s, OpenTera's tables to %s: give it, and all that is in it, to %s",
			p.Ours, p.Owner, p.Owner)
	}
	return nil
}

func (m *Migrator) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, m.config.Copy())
	switch {
	case err == nil:
		return conn, nil
	case sqlState(err) == "08P01": // protocol_violation: PgBouncer accepts few startup parameters
		return nil, fmt.Errorf("%w: %w", ErrPooler, err)
	case errors.Is(err, ErrOwner):
		return nil, err
	}
	return nil, fmt.Errorf("the database cannot be reached: %w", err)
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
