package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db"
)

// patient is a database that is examined over one connection, which is reopened if a check has lost it.
type patient struct {
	flag   string
	url    string
	conn   *pgx.Conn
	isLost bool // it cannot be reached: do not wait for it again
}

// errLost follows the error that says why.
var errLost = errors.New("the database does not answer any more")

var errNoURL = errors.New("no database given: set --database-url or DATABASE_URL")

// errUnreadable does not quote the URL, which may hold a password.
var errUnreadable = errors.New("the URL cannot be read: write postgres://user:password@host:port/database, with %XX for special characters of the password")

// config parses the URL. Statements are not prepared, which works through any pooler.
func (p *patient) config() (*pgx.ConnConfig, error) {
	if p.url == "" {
		return nil, errNoURL
	}
	pool, err := pgxpool.ParseConfig(p.url) // which removes the pool_* parameters
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.flag, errUnreadable)
	}
	config := pool.ConnConfig
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["application_name"] = "terasocket doctor"
	return config, nil
}

// connect opens a separate connection.
func (p *patient) connect(ctx context.Context) (*pgx.Conn, error) {
	if p.isLost {
		return nil, fmt.Errorf("%s: %w", p.flag, errLost)
	}
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		var refused *pgconn.PgError // refuses, but answers
		p.isLost = !errors.As(err, &refused)
		return nil, fmt.Errorf("%s: %w", p.flag, db.Unreachable(err))
	}
	return conn, nil
}

// open returns the shared connection.
func (p *patient) open(ctx context.Context) (*pgx.Conn, error) {
	if p.conn != nil && !p.conn.IsClosed() {
		return p.conn, nil
	}
	conn, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	p.conn = conn
	return conn, nil
}

// read runs ask in a read-only transaction.
func (p *patient) read(ctx context.Context, ask func(pgx.Tx) error) error {
	conn, err := p.open(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, ask)
}

// asks makes a check from a question to the database.
func (p *patient) asks(question func(context.Context, pgx.Tx) (Finding, error)) func(context.Context) Finding {
	return func(ctx context.Context) Finding {
		var f Finding
		err := p.read(ctx, func(tx pgx.Tx) (err error) {
			f, err = question(ctx, tx)
			return err
		})
		if err != nil {
			return unanswered(err)
		}
		return f
	}
}

// unanswered is the finding if the database did not answer a question.
func unanswered(err error) Finding {
	if errors.Is(err, errLost) {
		return skip(err.Error(), "")
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
		return skip("this role may not look: "+refused.Message, "examine as the owner of OpenTera's tables too: --migration-database-url")
	}
	return fail("the database does not say: "+err.Error(), "mend that, then examine again")
}

func (p *patient) close() {
	if p.conn != nil {
		hangUp(p.conn)
	}
}

// hangUp closes a connection without waiting long for a server that does not answer.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
