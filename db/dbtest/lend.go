package dbtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// loans are the databases that await their next test.
type loans struct {
	mu   sync.Mutex
	free map[string][]*loan // by template name
}

// loan is a database that successive tests share, with its connections.
type loan struct {
	template string
	database string
	pool     *pgxpool.Pool // used by tests
	restorer *pgx.Conn     // fires no triggers
	catalog  string        // the catalog's fingerprint
}

// Lend returns a database like New's, with connections to it, that later tests may reuse: after a test that passed, its rows are reset to
// the template's, but sequences and seq go on. The connections keep their cached plans, which are the main cost of a short test. A database
// in which a test has changed more than rows is dropped.
func Lend(t testing.TB, template Template, conns int) (url string, lent []*pgx.Conn) {
	t.Helper()
	url, pool := LendPool(t, template)
	for range conns {
		lent = append(lent, Acquire(t, pool))
	}
	return url, lent
}

// Acquire returns a connection of the pool, which gets it back at the end of the test.
func Acquire(t testing.TB, pool *pgxpool.Pool) *pgx.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatalf("acquire a connection: %v", err)
	}
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), "ROLLBACK") // the pool closes a connection that is in a transaction
		conn.Release()
	})
	return conn.Conn()
}

// LendPool is Lend with a pool of at most 10 connections. A connection that has not been released at the end of the test fails it.
func LendPool(t testing.TB, template Template) (url string, pool *pgxpool.Pool) {
	t.Helper()
	l, err := shared.lend(t.Context(), template)
	if err != nil {
		t.Fatalf("test database on loan: %v", err)
	}
	t.Cleanup(func() {
		if err := shared.takeBack(l, t.Failed()); err != nil {
			t.Errorf("take a test database back: %v", err)
		}
	})
	return shared.url(l.database), l.pool
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
	name, err := c.clone(ctx, Template{Name: template.Name + "_lent", From: &template, Fill: save})
	if err != nil {
		return nil, err
	}
	l := &loan{template: template.Name, database: name}
	if l.restorer, err = pgx.Connect(ctx, c.url(name)); err != nil {
		return nil, err
	}
	var isMigrated bool
	if err := l.restorer.QueryRow(ctx, "SELECT to_regclass('terasocket.announcer') IS NOT NULL").Scan(&isMigrated); err != nil {
		return nil, err
	}
	if isMigrated { // a copy begins an epoch
		if _, err := AnnounceAll(ctx, l.restorer, 2000); err != nil {
			return nil, err
		}
	}
	if _, err := l.restorer.Exec(ctx, "SET session_replication_role = replica"); err != nil {
		return nil, err
	}
	if err := l.restorer.QueryRow(ctx, "SELECT lent.catalog()").Scan(&l.catalog); err != nil {
		return nil, err
	}
	l.pool, err = newPool(c.url(name))
	return l, err
}

// takeBack resets a database for the next test, or drops it.
func (c *cluster) takeBack(l *loan, isBad bool) error {
	for began := time.Now(); l.pool.Stat().AcquiredConns() > 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			return fmt.Errorf("%d connections not released to the pool", l.pool.Stat().AcquiredConns())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	if !isBad {
		var err error
		if isBad, err = l.restore(ctx); err != nil {
			return err
		}
	}
	if isBad {
		return c.end(ctx, l)
	}
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	c.loans.free[l.template] = append(c.loans.free[l.template], l)
	return nil
}

func (l *loan) restore(ctx context.Context) (isBad bool, err error) {
	conns := l.pool.AcquireAllIdle(ctx)
	slices.Reverse(conns)
	pids := []uint32{l.restorer.PgConn().PID()}
	for _, conn := range conns { // released in the order in which they will be acquired
		defer conn.Release()
		pids = append(pids, conn.Conn().PgConn().PID())
		if _, err := conn.Exec(ctx, "ROLLBACK; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; CLOSE ALL; DISCARD TEMP; SELECT pg_advisory_unlock_all()"); err != nil {
			return true, nil // terminated by the server
		}
	}
	for others := 1; others > 0; { // they may still be running, though their clients have gone
		if err := l.restorer.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> ALL ($1)`, pids).Scan(&others); err != nil {
			return true, nil // a test has ended all connections
		}
		if others > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	var catalog string
	if err := l.restorer.QueryRow(ctx, "SELECT lent.catalog()").Scan(&catalog); err != nil || catalog != l.catalog {
		return true, nil
	}
	if _, err := l.restorer.Exec(ctx, "SELECT lent.restore()"); err != nil {
		return true, fmt.Errorf("restore the rows: %w", err)
	}
	return false, nil
}

func (c *cluster) end(ctx context.Context, l *loan) error {
	l.pool.Close()
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

// save stores the rows of a template beside its tables, and creates the functions that restore them and that detect other changes.
func save(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `
		CREATE SCHEMA lent;
		CREATE TABLE lent.states (name text PRIMARY KEY, state text);  -- of each table, when it last was as it should be
		DO $do$
		DECLARE
			log      text[] := '{announcements,trimmed,epochs,written_here,functions}';
			saved    text;
			restored text;
			stays    text;
		BEGIN
			SELECT string_agg(format('CREATE TABLE lent.%I AS TABLE %s', relname, oid::regclass), '; ') FILTER (WHERE relname <> ALL (log)),
			       string_agg(format($$
					SELECT concat(count(*), ':', max(xmin::text::bigint)) INTO now_is FROM %1$s;
					IF now_is IS DISTINCT FROM (SELECT state FROM lent.states WHERE name = %2$L) THEN
						DELETE FROM %1$s;
						INSERT INTO %1$s OVERRIDING SYSTEM VALUE TABLE lent.%2$I;
						INSERT INTO lent.states SELECT %2$L, concat(count(*), ':', max(xmin::text::bigint)) FROM %1$s
						ON CONFLICT (name) DO UPDATE SET state = excluded.state;
					END IF;$$, oid::regclass, relname), '') FILTER (WHERE relname <> ALL (log)),
			       string_agg(format(', (SELECT concat(count(*), max(xmin::text::bigint)) FROM %s)', oid::regclass), '') FILTER (WHERE relname = ANY (log[2:]))
			INTO   saved, restored, stays
			FROM   pg_class
			WHERE  relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'terasocket');
			SELECT string_agg(format(', (SELECT concat(count(*), '':'', max(xmin::text::bigint)) FROM pg_catalog.%s WHERE %s >= 16384)', t, key), '') || coalesce(stays, '')
			INTO   stays
			FROM   (VALUES ('pg_class', 'oid'), ('pg_attribute', 'attrelid'), ('pg_proc', 'oid'), ('pg_trigger', 'tgrelid'), ('pg_constraint', 'conrelid'),
			               ('pg_index', 'indrelid'), ('pg_namespace', 'oid'), ('pg_type', 'oid'), ('pg_rewrite', 'ev_class'), ('pg_publication', 'oid'),
			               ('pg_event_trigger', 'oid'), ('pg_extension', 'oid')) c (t, key);
			EXECUTE saved;
			EXECUTE format('CREATE FUNCTION lent.restore() RETURNS void LANGUAGE plpgsql AS %L', 'DECLARE now_is text; BEGIN ' || restored || ' END');
			EXECUTE format('CREATE FUNCTION lent.catalog() RETURNS text LANGUAGE plpgsql AS %L', 'BEGIN RETURN concat_ws('' ''' || stays ||
				', (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())' ||
				', (SELECT string_agg(s::text, '' '') FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database())); END');
		END
		$do$`); err != nil {
		return fmt.Errorf("save the rows: %w", err)
	}
	return nil
}
