package migrations_test

import (
	"maps"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// standIn is a small set of migrations with everything that the migrator needs, so that tests can change any of it: two versions,
// triggers on t_sites and t_sessions, one index, three objects to read.
func standIn() fstest.MapFS {
	return fstest.MapFS{
		"0001_log.up.sql": file(`
			CREATE TABLE terasocket.functions (one boolean PRIMARY KEY DEFAULT true, hash text NOT NULL, formulas text NOT NULL, compatibility integer NOT NULL,
				applied_at timestamptz NOT NULL DEFAULT clock_timestamp());
			CREATE TABLE terasocket.changes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
			CREATE TABLE terasocket.events (seq bigint PRIMARY KEY);
			CREATE TABLE terasocket.filling (one boolean PRIMARY KEY DEFAULT true, fill_type text DEFAULT 'start', fill_id bigint, todo integer NOT NULL DEFAULT 0);
			INSERT INTO terasocket.filling DEFAULT VALUES`),
		"0001_log.down.sql":  file("DROP TABLE terasocket.filling, terasocket.events, terasocket.changes, terasocket.functions"),
		"0002_more.up.sql":   file("CREATE TABLE terasocket.more (id integer PRIMARY KEY)"),
		"0002_more.down.sql": file("DROP TABLE terasocket.more"),
		"functions/attach.sql": file(`
			CREATE OR REPLACE FUNCTION terasocket.capture_tables() RETURNS TABLE (table_name text) LANGUAGE sql AS
				$$ VALUES ('t_sites'), ('t_sessions') $$;
			CREATE OR REPLACE FUNCTION terasocket.missing_triggers() RETURNS TABLE (table_name text) LANGUAGE sql AS
				$$ SELECT t.table_name FROM terasocket.capture_tables() t
				   WHERE NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = to_regclass('OPENTERA.' || t.table_name) AND g.tgname = 'terasocket_update') $$;
			CREATE OR REPLACE FUNCTION terasocket.attach_table(table_name text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
				EXECUTE format('CREATE OR REPLACE FUNCTION terasocket.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS %L', 'capture_' || table_name,
					'BEGIN INSERT INTO terasocket.changes (what) VALUES (TG_TABLE_NAME); RETURN NULL; END');
				IF EXISTS (SELECT FROM terasocket.missing_triggers() m WHERE m.table_name = attach_table.table_name) THEN
					EXECUTE format('CREATE TRIGGER terasocket_update AFTER UPDATE ON OPENTERA.%I FOR EACH STATEMENT EXECUTE FUNCTION terasocket.%I()',
						table_name, 'capture_' || table_name);
				END IF; END $$;
			CREATE OR REPLACE FUNCTION terasocket.wanted_indexes() RETURNS TABLE (index_name text, statement text) LANGUAGE sql AS
				$$ SELECT 'terasocket_t_sessions_name', 'CREATE INDEX CONCURRENTLY terasocket_t_sessions_name ON OPENTERA.t_sessions (session_name)'
				   WHERE to_regclass('OPENTERA.terasocket_t_sessions_name') IS NULL $$`),
		"functions/announcer.sql": file("CREATE OR REPLACE VIEW terasocket.announcer AS SELECT fill_type, todo FROM terasocket.filling"),
		"functions/keys.sql":      file("CREATE OR REPLACE FUNCTION terasocket.keys() RETURNS integer LANGUAGE sql AS 'SELECT 1'"),
		"functions/fill.sql": file(`
			CREATE OR REPLACE FUNCTION terasocket.fill(batch integer) RETURNS bigint LANGUAGE sql AS
				$$ UPDATE terasocket.filling SET todo = CASE WHEN fill_type = 'start' THEN 2 ELSE greatest(todo - 1, 0) END,
					fill_type = CASE WHEN fill_type = 'start' OR todo > 1 THEN 'site' END RETURNING todo $$`),
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// with is the stand-in with another file in it.
func with(name, text string) fstest.MapFS {
	files := standIn()
	maps.Copy(files, fstest.MapFS{name: file(text)})
	return files
}

// standingIn returns a Migrator with other files on a new OpenTera database that is not migrated yet.
func standingIn(t *testing.T, files fstest.MapFS) (*migrations.Migrator, string, *pgx.Conn) {
	t.Helper()
	url := dbtest.New(t, unmigrated())
	return from(t, url, files), url, dbtest.Conn(t, url)
}

func from(t *testing.T, url string, files fstest.MapFS) *migrations.Migrator {
	t.Helper()
	m, err := migrations.NewFrom(t.Context(), url, files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustUp(t *testing.T, m *migrations.Migrator) {
	t.Helper()
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}
