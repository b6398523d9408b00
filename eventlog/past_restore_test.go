//go:build unix

package eventlog_test

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

// installed makes a database, a gateway that polls often, and what a copy will hold.
func installed(t *testing.T) *past {
	t.Helper()
	address := dbtest.New(t, migrated())
	return remember(t, begin(t, address, dbtest.Pool(t, address), options{poll: 200 * time.Millisecond}), true)
}

// dump takes a copy with pg_dump.
func (p *past) dump(args ...string) (file string) {
	p.t.Helper()
	file = filepath.Join(p.t.TempDir(), "dump")
	runProgram(p.t, dbtest.Program(p.t, p.g.url, "pg_dump"), append(args, "-f", file, "-d", p.g.url)...)
	return file
}

func name(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// aside returns the address of another database of the same server.
func aside(t *testing.T, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// admin runs statements in the database postgres, one by one.
func admin(t *testing.T, address string, statements ...string) {
	t.Helper()
	conn := dbtest.Conn(t, aside(t, address, "postgres"))
	for _, sql := range statements {
		dbtest.Eventually(t, sql, func() bool {
			_, err := conn.Exec(t.Context(), sql)
			var refused *pgconn.PgError
			if errors.As(err, &refused) && refused.Code == "55006" { // object_in_use: who was terminated has not ended in 5 s
				return false
			}
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			return true
		})
	}
}

func TestPastRestoredIntoAnotherServer(t *testing.T) {
	t.Parallel()
	p := installed(t)
	dump := p.dump("-Fp")
	p.goOn()
	other := dbtest.Server(t, nil)
	runProgram(t, dbtest.Program(t, other.URL("postgres"), "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, "-d", other.URL("postgres"))
	// before anybody has announced there
	old := &gateway{pool: dbtest.Pool(t, other.URL("postgres"))}
	if _, err := users(old).ByToken(t.Context(), p.out); err == nil || !strings.Contains(err.Error(), "no gateway has begun an epoch yet") {
		t.Errorf("a token that was logged out, before there is an epoch: %v", err)
	}
	p.mustBeAnother(another(t, other.URL("postgres")), false)
}

// The operator moves to another server and a newer terasocket at once: the functions are applied before any gateway runs.
func TestPastRestoredIntoAnotherServerAndMigrated(t *testing.T) {
	t.Parallel()
	p := installed(t)
	dump := p.dump("-Fc")
	p.goOn()
	other := dbtest.Server(t, nil)
	runProgram(t, dbtest.Program(t, other.URL("postgres"), "pg_restore"), "-e", "-d", other.URL("postgres"), dump)
	conn := dbtest.Conn(t, other.URL("postgres"))
	dbtest.Exec(t, conn, "UPDATE terasocket.functions SET hash = 'older', formulas = 'older'")
	if err := migrations.Up(t.Context(), other.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	p.mustBeAnother(another(t, other.URL("postgres")), false)
}

// The gateway keeps running, and tries to announce while the tables are empty or half full.
func TestPastRestoredIntoTheSameServer(t *testing.T) {
	t.Parallel()
	for _, jobs := range []string{"1", "2"} {
		t.Run(jobs, func(t *testing.T) {
			t.Parallel()
			p := installed(t)
			dump := p.dump("-Fc")
			p.goOn()
			admin(t, p.g.url, "DROP DATABASE "+name(t, p.g.url)+" WITH (FORCE)", "CREATE DATABASE "+name(t, p.g.url)+" TEMPLATE template0")
			runProgram(t, dbtest.Program(t, p.g.url, "pg_restore"), "-e", "-j", jobs, "-d", p.g.url, dump)
			p.mustBreak()
			p.mustBeAnother(p.g, false)
		})
	}
}

func TestPastRestoredOverItself(t *testing.T) {
	t.Parallel()
	p := installed(t)
	dump := p.dump("-Fc")
	p.goOn()
	runProgram(t, dbtest.Program(t, p.g.url, "pg_restore"), "--clean", "--if-exists", "-e", "-d", p.g.url, dump)
	p.mustBreak()
	p.mustBeAnother(p.g, false)
}

// Only rows are restored, into tables that stayed in place.
func TestPastRestoredIntoEmptiedTables(t *testing.T) {
	t.Parallel()
	p := installed(t)
	dump := p.dump("-Fc", "--data-only")
	p.goOn()
	p.g.stop()
	p.g.exec(`DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ') FROM pg_class
		WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'terasocket'::regnamespace)); END $$`)
	runProgram(t, dbtest.Program(t, p.g.url, "pg_restore"), "--data-only", "--disable-triggers", "-e", "-d", p.g.url, dump)
	p.mustBeAnother(begin(t, p.g.url, p.g.pool, options{}), false)
}

// The old rows are restored into a newly migrated database. Tables that already have rows refuse them.
func TestPastRestoredIntoAMigratedDatabase(t *testing.T) {
	t.Parallel()
	p := installed(t)
	dump := p.dump("-Fc", "--data-only")
	p.goOn()
	fresh := dbtest.New(t, dbtest.Template{Name: "fresh", Fill: func(ctx context.Context, address string) error {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		if err := opentera.LoadSchema(ctx, conn); err != nil {
			return err
		}
		return migrations.Up(ctx, address)
	}})
	if out, err := tryProgram(t, dbtest.Program(t, fresh, "pg_restore"), "--data-only", "--disable-triggers", "-d", fresh, dump); err == nil ||
		!strings.Contains(out, `COPY failed for table "announcements"`) || strings.Contains(out, `"changes"`) {
		t.Errorf("%v: %s", err, out)
	}
	p.mustBeAnother(another(t, fresh), false)
}

// The database is copied by its files; later the copy takes its name.
func TestPastSwappedByName(t *testing.T) {
	t.Parallel()
	p := installed(t)
	db := name(t, p.g.url)
	copied, old := db+"_copy", db+"_old"
	end := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + db + "'"
	close := "ALTER DATABASE " + db + " ALLOW_CONNECTIONS false"
	admin(t, p.g.url, close, end, "CREATE DATABASE "+copied+" TEMPLATE "+db, "ALTER DATABASE "+db+" ALLOW_CONNECTIONS true")
	p.g.pool.Reset()
	p.goOn()
	admin(t, p.g.url, close, end, "ALTER DATABASE "+db+" RENAME TO "+old, "ALTER DATABASE "+copied+" RENAME TO "+db)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), aside(t, p.g.url, "postgres"))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "DROP DATABASE "+old+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	p.mustBreak()
	// a message captured in the copy is never announced, so what was missed is unknown
	p.mustBeAnother(p.g, false)
}
