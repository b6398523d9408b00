package migrations_test

import (
	"strings"
	"sync"
	"testing"

	"terasocket/db/dbtest"
)

const weeks = "SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM terasocket.delivery_weeks"

// delivery is a row at that time.
func delivery(until string) string {
	return "INSERT INTO terasocket.deliveries VALUES ('user', 'u', 1, 'g', 1, 7, now(), NULL, 'live', 1, ARRAY['[5,5]'::int8range], 5, 5, '" + until + "', '" + until + "')"
}

// Weekly partitions are created ahead and dropped after the retention, by any number of concurrent callers.
func TestDeliveriesAreKeptByWeeks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if _, err := f.conn.Exec(t.Context(), delivery("now")); err == nil || !strings.Contains(err.Error(), "no partition") {
		t.Errorf("%v", err)
	}
	var together sync.WaitGroup
	for range 4 {
		conn := dbtest.Conn(t, f.url)
		together.Go(func() {
			if _, err := conn.Exec(t.Context(), "SELECT terasocket.keep_deliveries('30 days')"); err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
	made := one[string](f, weeks)
	mustEqual(t, "weeks", len(strings.Fields(made)), 3)
	f.exec(delivery("now") + ";" + delivery("tomorrow"))
	for _, end := range []string{"2020-01-06", "2020-01-13"} {
		name := "deliveries_" + strings.ReplaceAll(end, "-", "")
		f.exec("CREATE TABLE terasocket." + name + " (LIKE terasocket.deliveries INCLUDING CONSTRAINTS); ALTER TABLE terasocket.deliveries ATTACH PARTITION terasocket." + name +
			" FOR VALUES FROM ('" + end + "Z') TO ('" + end + "Z'::timestamptz + interval '7 days')")
	}
	f.exec(delivery("2020-01-10Z"))
	f.exec("CREATE TABLE terasocket.deliveries_mine PARTITION OF terasocket.deliveries FOR VALUES FROM ('2019-01-01') TO ('2019-02-01')")    // an operator's own
	mustEqual(t, "made and dropped", one[string](f, "SELECT terasocket.keep_deliveries((now() - '2020-01-15Z')::interval)::text"), "(0,1,)") // the retention of one week was over
	mustEqual(t, "made and dropped", one[string](f, "SELECT terasocket.keep_deliveries('30 days')::text"), "(0,1,)")
	mustEqual(t, "weeks", one[string](f, weeks), made)
	mustEqual(t, "an operator's own table", one[bool](f, "SELECT to_regclass('terasocket.deliveries_mine') IS NOT NULL"), true)
	for _, wrong := range []string{"'23 hours'", "'-1 year'", "NULL"} {
		if _, err := f.conn.Exec(t.Context(), "SELECT terasocket.keep_deliveries("+wrong+")"); err == nil || !strings.Contains(err.Error(), "for a day or longer") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// A dump, which has read all tables, does not prevent the creation of a week; it prevents dropping one, and nobody waits for that.
func TestDeliveriesDuringADump(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("SELECT terasocket.keep_deliveries('30 days')")
	f.exec("CREATE TABLE terasocket.deliveries_20200106 (LIKE terasocket.deliveries INCLUDING CONSTRAINTS); " +
		"ALTER TABLE terasocket.deliveries ATTACH PARTITION terasocket.deliveries_20200106 FOR VALUES FROM ('2020-01-06Z') TO ('2020-01-13Z')")
	later := "terasocket." + one[string](f, "SELECT max(name) FROM terasocket.delivery_weeks")
	f.exec("DROP TABLE " + later)
	dump, writer := dbtest.Conn(t, f.url), dbtest.Conn(t, f.url)
	execOn(t, dump, "BEGIN; SELECT count(*) FROM terasocket.deliveries")
	execOn(t, writer, "BEGIN; "+delivery("now"))
	mustEqual(t, "made and dropped", one[string](f, "SELECT terasocket.keep_deliveries('30 days')::text"), "(1,0,)")
	execOn(t, writer, "COMMIT")
	execOn(t, dump, "COMMIT")
	mustEqual(t, "made and dropped", one[string](f, "SELECT terasocket.keep_deliveries('30 days')::text"), "(0,1,)")
}

// A role with INSERT on the table and the right to call the function can add rows, repeat them without harm, and change none.
func TestDeliveriesAreOnlyAddedTo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	role := newRole(t, f.conn)
	f.exec("GRANT USAGE ON SCHEMA terasocket TO " + role + "; GRANT INSERT ON terasocket.deliveries TO " + role +
		"; GRANT EXECUTE ON FUNCTION terasocket.keep_deliveries(interval) TO " + role + "; SET ROLE " + role)
	f.exec("SELECT terasocket.keep_deliveries('30 days'); BEGIN")
	f.exec(delivery("now"))
	f.exec(delivery("now") + " ON CONFLICT DO NOTHING; COMMIT")
	week := "terasocket.deliveries_" + one[string](f, "SELECT to_char(date_trunc('week', now() AT TIME ZONE 'UTC'), 'YYYYMMDD')")
	for _, statement := range []string{"SELECT * FROM terasocket.deliveries", "UPDATE terasocket.deliveries SET frames = 2", "DELETE FROM terasocket.deliveries", "TRUNCATE terasocket.deliveries",
		"DELETE FROM " + week, "SELECT * FROM " + week, "DROP TABLE " + week, "ALTER TABLE terasocket.deliveries DETACH PARTITION " + week} {
		if _, err := f.conn.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "permission denied") && !strings.Contains(err.Error(), "must be owner") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	f.exec("RESET ROLE")
	mustEqual(t, "rows", one[int](f, "SELECT count(*) FROM terasocket.deliveries"), 1)
}

// A week that cannot be created or dropped is named, and does not affect the others.
func TestWeeksThatCannotBeKept(t *testing.T) {
	t.Parallel()
	f := setup(t)
	week := func(name, from string) {
		t.Helper()
		f.exec("CREATE TABLE terasocket." + name + " (LIKE terasocket.deliveries INCLUDING CONSTRAINTS); ALTER TABLE terasocket.deliveries ATTACH PARTITION terasocket." + name +
			" FOR VALUES FROM ('" + from + "Z') TO ('" + from + "Z'::timestamptz + interval '7 days')")
	}
	week("deliveries_20200106", "2020-01-06")
	week("deliveries_20200113", "2020-01-13")
	week("deliveries_20200120", "2020-01-20")
	week("deliveries_20201399", "2019-01-06") // not a date: an operator's own
	f.exec("CREATE VIEW mine AS SELECT * FROM terasocket.deliveries_20200106; CREATE SCHEMA elsewhere; ALTER TABLE terasocket.deliveries_20200113 SET SCHEMA elsewhere")
	const keep = "SELECT format('%s %s %s', made, dropped, problems) FROM terasocket.keep_deliveries('30 days')"
	got := one[string](f, keep)
	if !strings.HasPrefix(got, "3 1 deliveries_20200106 not dropped: cannot drop") || strings.Contains(got, ";") {
		t.Errorf("%s", got)
	}
	f.exec("DROP VIEW mine")
	current := one[string](f, "SELECT min(name) FROM terasocket.delivery_weeks WHERE since > '2021-01-01'")
	f.exec("ALTER TABLE terasocket.deliveries DETACH PARTITION terasocket." + current)
	got = one[string](f, keep)
	if !strings.HasPrefix(got, "0 1 "+current+" not made: ") || !strings.Contains(got, "already exists") {
		t.Errorf("%s", got)
	}
	f.exec("DROP TABLE terasocket." + current + "; CREATE TABLE terasocket.deliveries_rest PARTITION OF terasocket.deliveries DEFAULT; " + delivery("now"))
	week("deliveries_20200106", "2020-01-06")
	got = one[string](f, keep)
	if !strings.HasPrefix(got, "0 1 "+current+" not made: ") {
		t.Errorf("%s", got)
	}
}
