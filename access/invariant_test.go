package access_test

import (
	"context"
	"fmt"
	"terasocket/db/dbtest"
	"testing"
)

// memory compares the announcer's memory with OpenTera's tables: everybody's tags, every living object with its keys and DB_DELETE body,
// and the aliases. It returns one row per difference; leftovers count as differences.
const memory = `
	SELECT concat_ws(' ', k.kind, d.id, d.tag, CASE WHEN d.is_true THEN 'is not in holdings' ELSE 'is in holdings only' END)
	FROM  (VALUES ('user', ARRAY(SELECT id_user FROM t_users)), ('participant', ARRAY(SELECT id_participant FROM t_participants)),
	              ('device', ARRAY(SELECT id_device FROM t_devices))) k (kind, ids), LATERAL (
		(SELECT true AS is_true, t.id, t.tag FROM terasocket.tags_of(k.kind, k.ids) t
		 EXCEPT SELECT true, h.id, h.tag FROM terasocket.holdings h WHERE h.kind = k.kind)
		UNION ALL
		(SELECT false, h.id, h.tag FROM terasocket.holdings h WHERE h.kind = k.kind
		 EXCEPT SELECT false, t.id, t.tag FROM terasocket.tags_of(k.kind, k.ids) t)) d
	UNION ALL
	SELECT format('told: %s %s is %s %s, and was told as %s %s', coalesce(t.object_type, n.object_type), coalesce(t.id, n.id), n.keys, n.gone, t.keys, t.gone)
	FROM   terasocket.told t FULL JOIN (
		SELECT ot.object_type, o.id, terasocket.keys(ot.object_type, o.r) AS keys, terasocket.deleted_body(ot, o.r) AS gone
		FROM   terasocket.object_types ot, LATERAL terasocket.rows(ot.object_type, terasocket.all_ids(ot.object_type)) o
		WHERE  o.r ->> 'deleted_at' IS NULL) n USING (object_type, id)
	WHERE  t.keys IS DISTINCT FROM n.keys OR t.gone IS DISTINCT FROM n.gone
	UNION ALL
	SELECT format('alias: %s is %s of %s, and was announced as %s of %s', coalesce(a.tag, n.tag), n.keys, n.id, a.keys, a.id)
	FROM   terasocket.aliases a FULL JOIN (
		SELECT DISTINCT t.tag, o.id, terasocket.keys(ot.object_type, o.r) AS keys
		FROM   terasocket.object_types ot, LATERAL terasocket.rows(ot.object_type, terasocket.all_ids(ot.object_type)) o,
		       unnest(terasocket.aliases_of(ot.object_type, o.r)) t (tag)
		WHERE  o.r ->> 'deleted_at' IS NULL AND t.tag IS NOT NULL) n USING (tag)
	WHERE  a.keys IS DISTINCT FROM n.keys OR a.id IS DISTINCT FROM n.id
	UNION ALL
	SELECT concat_ws(' ', 'capture error:', op, table_name, message, context) FROM terasocket.capture_errors
	UNION ALL
	SELECT concat_ws(' ', 'set aside:', object_type, id, message) FROM terasocket.set_aside
	UNION ALL
	SELECT concat_ws(' ', 'left over:', xid, what, op, ids) FROM terasocket.changes`

// remembers returns how the announcer's memory differs from the tables, once everything is announced.
func (f *fixture) remembers() []string {
	f.Helper()
	rows, err := f.conn.Query(context.WithoutCancel(f.Context()), memory)
	if err != nil {
		f.Fatal(err)
	}
	defer rows.Close()
	var differences []string
	for rows.Next() {
		var d string
		if err := rows.Scan(&d); err != nil {
			f.Fatal(err)
		}
		differences = append(differences, d)
	}
	if err := rows.Err(); err != nil {
		f.Fatal(err)
	}
	return differences
}

// The check detects each kind of difference.
func TestInvariantCheckFindsDifferences(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	if d := f.remembers(); len(d) != 0 {
		t.Fatalf("before: %q", d)
	}
	for _, wrong := range []string{
		"DELETE FROM terasocket.holdings WHERE tag = 'x' AND id = 1", "INSERT INTO terasocket.holdings VALUES ('user', 15, 'u:15')",
		"INSERT INTO terasocket.holdings VALUES ('device', 999, 'd:999')", "DELETE FROM terasocket.holdings WHERE tag = 't:31'",
		"DELETE FROM terasocket.told WHERE object_type = 'session' AND id = 81", "INSERT INTO terasocket.told VALUES ('site', 99, '[]', '{}')",
		`UPDATE terasocket.told SET keys = '[["x"]]' WHERE object_type = 'asset' AND id = 86`, `UPDATE terasocket.told SET gone = '{}' WHERE object_type = 'test' AND id = 91`,
		"DELETE FROM terasocket.aliases WHERE tag = 'service:5'", `UPDATE terasocket.aliases SET keys = '[["x"]]' WHERE tag = 'test_type:71'`,
		`INSERT INTO terasocket.aliases VALUES ('service:9', 'service', 9, '[["x"]]')`, "INSERT INTO terasocket.set_aside VALUES ('site', 1, now(), '', '')",
		"SELECT terasocket.record('site', 'U', false, '{1}')",
	} {
		dbtest.Exec(t, f.conn, "BEGIN; "+wrong)
		if d := f.remembers(); len(d) != 1 {
			t.Errorf("%s: %d differences: %q", wrong, len(d), d)
		}
		dbtest.Exec(t, f.conn, "ROLLBACK")
	}
}

// A UUID that passes to another service with the same viewers stands for that service from then on.
func TestUUIDPassesToAnotherService(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	service := func(id, link int) []string {
		return sql(row("t_services", id, "service_uuid='passed on'"), row("t_services_projects", link, fmt.Sprintf("id_service=%d", id), "id_project=11"))
	}
	f.do(append(service(900, 900), row("t_assets", 900, "id_session=81", "asset_service_uuid='passed on'"))...)
	f.announce()
	f.do(append(sql(remove("t_services_projects", 900), "UPDATE t_assets SET asset_service_uuid='5e000000-5' WHERE id_asset=900", remove("t_services", 900)), service(901, 901)...)...)
	f.announce()
	if id := one[int](f, "SELECT id FROM terasocket.aliases WHERE tag = 'service:passed on'"); id != 901 {
		t.Errorf("it stands for service %d", id)
	}
	f.do(bury("t_services", 901))
	f.announce()
	if n := one[int](f, "SELECT count(*) FROM terasocket.aliases WHERE tag = 'service:passed on'"); n != 0 {
		t.Error("it stands for somebody who is gone")
	}
}

// verify checks the invariants at the end of a test.
func (f *fixture) verify() {
	if f.conn.IsClosed() || f.Failed() {
		return
	}
	f.announce()
	for i, difference := range f.remembers() {
		if i == 20 {
			f.Error("and more")
			break
		}
		f.Errorf("%.1000s", difference)
	}
}
