package doctor

import (
	"slices"
	"strings"
	"testing"
)

// attached returns our existing triggers and indexes.
func (i *installation) attached() (triggers, indexes []string) {
	i.Helper()
	err := i.owner.QueryRow(i.Context(), `SELECT
		(SELECT coalesce(array_agg(g.tgname::text), '{}') FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
		 WHERE p.pronamespace = 'terasocket'::regnamespace AND NOT g.tgisinternal),
		(SELECT coalesce(array_agg(relname::text), '{}') FROM pg_class WHERE relkind = 'i' AND relname LIKE 'terasocket\_t\_%')`).Scan(&triggers, &indexes)
	if err != nil {
		i.Fatal(err)
	}
	return triggers, indexes
}

// count counts the words in text with one of these prefixes.
func count(text string, prefixes ...string) (n int) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;:", r) }) {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(word, p) }) {
			n++
		}
	}
	return n
}

// The doctor knows every trigger and index that the migrations create, and its advice recreates them.
func TestAllTriggersAndIndexesAreKnown(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	triggers, indexes := i.attached()
	i.exec(`DO $$ DECLARE g record; BEGIN
		FOR g IN SELECT t.tgname, t.tgrelid::regclass AS on_table FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
		         WHERE p.pronamespace = 'terasocket'::regnamespace AND NOT t.tgisinternal LOOP
			EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', g.on_table, g.tgname);
		END LOOP;
		FOR g IN SELECT relname FROM pg_class WHERE relkind = 'i' AND relname LIKE 'terasocket\_t\_%' LOOP
			EXECUTE format('DROP INDEX %I', g.relname);
		END LOOP; END $$`)
	f := i.find("triggers")
	f.must(t, Fail)
	if n := count(f.Found, "terasocket_"); n != len(triggers) {
		t.Errorf("%d of %d triggers are found disabled: %s", n, len(triggers), f.Found)
	}
	i.repair(f)
	f = i.find("indexes")
	f.must(t, Warn)
	if n := count(f.Found, "terasocket_"); n != len(indexes) {
		t.Errorf("%d of %d indexes are found missing: %s", n, len(indexes), f.Found)
	}
	i.repair(f)
	i.find("triggers").must(t, OK)
	i.find("indexes").must(t, OK)
	again, indexesAgain := i.attached()
	if len(again) != len(triggers) || len(indexesAgain) != len(indexes) {
		t.Errorf("%d triggers and %d indexes after the repair, %d and %d before", len(again), len(indexesAgain), len(triggers), len(indexes))
	}
}

func TestDisabledTrigger(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	for _, state := range []string{"DISABLE", "ENABLE REPLICA"} {
		i.exec("ALTER TABLE t_sites " + state + " TRIGGER terasocket_update")
		f := i.find("triggers")
		f.must(t, Fail, "t_sites lacks terasocket_update", "terasocket migrate up", "terasocket.attach_table('t_sites')")
		i.repair(f)
		i.find("triggers").must(t, OK)
	}
	i.exec("ALTER TABLE t_sites ENABLE ALWAYS TRIGGER terasocket_update")
	i.find("triggers").must(t, OK)
}

// An upgrade of OpenTera recreates a table.
func TestTableMadeAnew(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("ALTER TABLE t_sites ADD COLUMN site_address varchar") // of no consequence
	i.exec("ALTER TABLE t_tests_invitations RENAME TO old; CREATE TABLE t_tests_invitations (LIKE old INCLUDING ALL); DROP TABLE old CASCADE")
	f := i.find("triggers")
	f.must(t, Fail, "t_tests_invitations lacks terasocket_delete, terasocket_insert, terasocket_truncate, terasocket_update")
	if strings.Contains(f.Found, "t_sites") {
		t.Errorf("%s", f)
	}
	i.find("indexes").must(t, Warn, "terasocket_t_tests_invitations_id_participant")
	i.repair(f)
	i.repair(i.find("indexes"))
	i.find("triggers").must(t, OK)
	i.find("indexes").must(t, OK)
	i.exec("INSERT INTO t_tests_invitations SELECT (jsonb_populate_record(NULL::t_tests_invitations, jsonb_build_object('id_test_invitation', 9000, 'id_test_type', 1, 'id_project', 1, " +
		"'test_invitation_key', 'k', 'test_invitation_max_count', 1, 'test_invitation_count', 0, 'test_invitation_creation_date', now(), 'test_invitation_expiration_date', now(), 'version_id', 1))).*")
	var n int
	if err := i.owner.QueryRow(t.Context(), "SELECT count(*) FROM terasocket.changes WHERE ids = '{9000}'").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d changes after the repair, %v", n, err)
	}
}

func TestTableGone(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("DROP TABLE t_tests_invitations CASCADE; ALTER TABLE t_sites RENAME COLUMN id_site TO site_id")
	i.find("triggers").must(t, OK)
	i.find("tables").must(t, Warn, "test_invitation (no table t_tests_invitations)", "site (no column id_site)")
}

func TestReplicationRole(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$")
	i.find("replication-role").must(t, Fail, "every role in database", "RESET")
}
