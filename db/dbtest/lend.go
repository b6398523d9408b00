package dbtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// loans are the databases that wait for their next test.
type loans struct {
	mu   sync.Mutex
	free map[string][]*loan // by name of their template
}

// loan is a database that many tests have, one after the other, and its connections.
type loan struct {
	database string
	conn     *pgx.Conn // the tests'
	restorer *pgx.Conn // fires no triggers
}

// Lend returns a database like New's, and a connection to it, for a test that changes nothing but rows. After a test that
// passed the next one gets both: the rows are again those of the template, except in the event log, which goes on, and the
// connection still has its plans, which is what a short test spends most on.
func Lend(t testing.TB, template Template) (url string, conn *pgx.Conn) {
	t.Helper()
	l, err := shared.lend(t.Context(), template)
	if err != nil {
		t.Fatalf("test database on loan: %v", err)
	}
	t.Cleanup(func() {
		if err := shared.takeBack(template, l, !t.Failed() && !l.conn.IsClosed()); err != nil {
			t.Errorf("take a test database back: %v", err)
		}
	})
	return shared.url(l.database), l.conn
}

func (c *cluster) lend(ctx context.Context, template Template) (*loan, error) {
	c.loans.mu.Lock()
	if free := c.loans.free[template.Name]; len(free) > 0 {
		l := free[len(free)-1]
		c.loans.free[template.Name] = free[:len(free)-1]
		c.loans.mu.Unlock()
		return l, nil
	}
	c.loans.mu.Unlock()
	if err := c.start(); err != nil {
		return nil, err
	}
	var err error
	l := &loan{}
	if l.database, err = c.clone(ctx, Template{Name: template.Name + "_lent", Fill: func(ctx context.Context, url string) error {
		if err := template.Fill(ctx, url); err != nil {
			return err
		}
		return save(ctx, url)
	}}); err != nil {
		return nil, err
	}
	if l.conn, err = pgx.Connect(ctx, c.url(l.database)); err != nil {
		return nil, err
	}
	if l.restorer, err = pgx.Connect(ctx, c.url(l.database)); err != nil {
		return nil, err
	}
	_, err = l.restorer.Exec(ctx, "SET session_replication_role = replica")
	return l, err
}

// takeBack restores a database for the next test, or drops it.
func (c *cluster) takeBack(template Template, l *loan, isGood bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	if !isGood {
		return c.end(ctx, l)
	}
	if _, err := l.conn.Exec(ctx, "ROLLBACK; RESET ALL; UNLISTEN *; DISCARD TEMP"); err != nil {
		return err
	}
	if _, err := l.restorer.Exec(ctx, "SELECT lent.restore()"); err != nil {
		return err
	}
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	c.loans.free[template.Name] = append(c.loans.free[template.Name], l)
	return nil
}

func (c *cluster) end(ctx context.Context, l *loan) error {
	_ = l.conn.Close(ctx)
	_ = l.restorer.Close(ctx)
	return c.drop(l.database)
}

func (c *cluster) endLoans() error {
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	var errs []error
	for _, free := range c.loans.free {
		for _, l := range free {
			errs = append(errs, c.end(ctx, l))
		}
	}
	return errors.Join(errs...)
}

// save keeps the rows of a template beside its tables, and makes the function that brings them back.
func save(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `
		CREATE SCHEMA lent;
		DO $do$
		DECLARE
			saved    text;
			restored text;
		BEGIN
			SELECT string_agg(format('CREATE TABLE lent.%I AS TABLE %s', relname, oid::regclass), '; '),
			       string_agg(format('DELETE FROM %1$s; INSERT INTO %1$s OVERRIDING SYSTEM VALUE TABLE lent.%2$I;', oid::regclass, relname), ' ')
			INTO   saved, restored
			FROM   pg_class
			WHERE  relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'terasocket')
			AND    relname NOT IN ('events', 'announcements', 'trimmed', 'epochs', 'written_here', 'functions');
			EXECUTE saved;
			EXECUTE format('CREATE FUNCTION lent.restore() RETURNS void LANGUAGE plpgsql AS %L', 'BEGIN ' || restored || ' END');
		END
		$do$`); err != nil {
		return fmt.Errorf("save the rows: %w", err)
	}
	return nil
}
