package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// What changes nothing that clients see is neither captured nor announced; changes that affect only rights, and changes of deleted rows,
// announce no objects.
func TestNoEvent(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tests := map[string]string{
		"same values":             "UPDATE t_sites SET site_name = site_name, site_2fa_required = site_2fa_required",
		"optimistic lock":         "UPDATE t_projects SET version_id = version_id + 1",
		"last online":             "UPDATE t_users SET user_lastonline = now(), version_id = 2",
		"last online of others":   "UPDATE t_participants SET participant_lastonline = now()",
		"password":                "UPDATE t_users SET user_password = 'other', user_force_password_change = true, user_notes = 'x'",
		"token":                   "UPDATE t_participants SET participant_token = 't' || id_participant",
		"configuration":           "UPDATE t_sessions_types SET session_type_config = 'x', session_type_online = NOT session_type_online",
		"comments":                "UPDATE t_sessions SET session_comments = 'x', session_parameters = 'y'",
		"no row":                  "UPDATE t_sites SET site_name = 'x' WHERE false; DELETE FROM t_sites WHERE id_site = 99; INSERT INTO t_sites SELECT * FROM t_sites WHERE false",
		"dead row":                "UPDATE t_users SET user_firstname = 'Ghost' WHERE deleted_at IS NOT NULL",
		"dead row again":          "UPDATE t_users SET deleted_at = now() WHERE deleted_at IS NOT NULL",
		"born dead":               "INSERT INTO t_sites VALUES (9000, 'Dead', false, 1, now())",
		"delete of the dead":      "DELETE FROM t_sites WHERE id_site = 9000",
		"do nothing":              "INSERT INTO t_sites VALUES (1, 'Twin', false, 1) ON CONFLICT DO NOTHING",
		"upsert without a change": "INSERT INTO t_sites SELECT * FROM t_sites ON CONFLICT (id_site) DO UPDATE SET site_name = excluded.site_name",
		"upsert of nothing":       "INSERT INTO t_sites SELECT * FROM t_sites ON CONFLICT (id_site) DO UPDATE SET site_name = 'x' WHERE false",
		"rollback":                "BEGIN; UPDATE t_sites SET site_name = 'x'; ROLLBACK",
		"error":                   "BEGIN; UPDATE t_sites SET site_name = 'x'; SAVEPOINT s; ROLLBACK TO s; ROLLBACK",
		"savepoint":               "BEGIN; SAVEPOINT s; UPDATE t_sites SET site_name = 'x'; ROLLBACK TO s; COMMIT",
		"other tables":            "UPDATE t_devices_types SET device_type_name = 'x'; UPDATE t_services_configs SET service_config_config = 'x'; UPDATE t_sessions_events SET session_event_text = 'x'",
		"roles":                   "UPDATE t_services_roles SET service_role_name = 'x'; DELETE FROM t_services_access; UPDATE t_users_users_groups SET deleted_at = now()",
		"temporary table":         "CREATE TEMP TABLE t_sites AS SELECT * FROM public.t_sites; UPDATE t_sites SET site_name = 'x'; DROP TABLE t_sites",
	}
	for name, sql := range tests {
		f.log()
		for statement := range strings.SplitSeq(sql, "; ") {
			f.exec(statement)
		}
		if changes := f.changes(); len(changes) > 0 && name != "roles" && !strings.HasPrefix(name, "dead row") {
			t.Errorf("%s: captured %v", name, changes)
		}
		if events := f.log(); len(events) > 0 {
			t.Errorf("%s: announced %v", name, events)
		}
	}
	// the triggers are in place: their absence is not why nothing was recorded
	f.expect("UPDATE t_sites SET site_name = 'End' WHERE id_site = 1", "U site 1")
}

// Every kind of write is captured, and announced object by object.
func TestEveryStatement(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.expect("INSERT INTO t_sites VALUES (101, 'a', false, 1, NULL), (102, 'b', false, 1, NULL), (103, 'dead', false, 1, now())", "C site 101", "C site 102")
	f.expect("UPDATE t_sites SET site_name = CASE id_site WHEN 101 THEN site_name ELSE 'x' END WHERE id_site > 100", "U site 102")
	f.expect("UPDATE t_sites SET site_name = 'y' WHERE id_site = 101; UPDATE t_sites SET site_name = 'z' WHERE id_site = 101", "U site 101")
	f.expect("INSERT INTO t_sites VALUES (101, 'up', true, 1), (104, 'new', true, 1) ON CONFLICT (id_site) DO UPDATE SET site_name = excluded.site_name", "U site 101", "C site 104")
	f.expect("WITH d AS (DELETE FROM t_sites WHERE id_site = 104 RETURNING id_site) UPDATE t_sites SET site_name = 'cte' FROM d WHERE t_sites.id_site = 102", "D site 104", "U site 102")
	f.expect("DELETE FROM t_sites WHERE id_site > 100", "D site 101", "D site 102")
	f.expect("BEGIN; UPDATE t_sites SET site_name = 'kept' WHERE id_site = 1; SAVEPOINT s; UPDATE t_sites SET site_name = 'lost' WHERE id_site = 2; ROLLBACK TO s; "+
		"UPDATE t_sites SET site_name = 'kept' WHERE id_site = 3; COMMIT", "U site 1", "U site 3")
	f.expect("DO $$BEGIN UPDATE t_sites SET site_name = 'caught' WHERE id_site = 1; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN UPDATE t_sites SET site_name = 'else' WHERE id_site = 2; END$$", "U site 2")
	if one[int](f, "SELECT current_setting('server_version_num')::int") >= 150000 {
		f.expect(`MERGE INTO t_sites USING (VALUES (1), (105)) v (id) ON id_site = id WHEN MATCHED THEN UPDATE SET site_name = 'merged'
			WHEN NOT MATCHED THEN INSERT VALUES (id, 'merged', false, 1)`, "U site 1", "C site 105")
		f.expect("MERGE INTO t_sites USING (VALUES (105)) v (id) ON id_site = id WHEN MATCHED THEN DELETE", "D site 105")
	}

	f.log()
	tag, err := f.conn.PgConn().CopyFrom(t.Context(), strings.NewReader("201\tcopied\tf\t1\t\\N\n202\tcopied\tt\t1\t2020-01-01 00:00:00+00\n203\té\tt\t1\t\\N\n"), "COPY t_sites FROM STDIN")
	if err != nil || tag.RowsAffected() != 3 {
		t.Fatalf("%v, %v", tag, err)
	}
	mustEqual(t, "COPY", fmt.Sprint(f.log()), "[C site 201 C site 203]")
}

// An object whose primary key changes is another object.
func TestPrimaryKeyChange(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.exec("INSERT INTO t_sites VALUES (201, 'a', false, 1), (202, 'b', false, 1)")
	events := f.expect("UPDATE t_sites SET id_site = 301 WHERE id_site = 201", "D site 201", "C site 301")
	mustEqual(t, "bodies", toJSON(events[0].Gone)+toJSON(events[1].Body), `{"id_site":201}{"id_site":301,"site_2fa_required":false,"site_name":"a"}`)
	// two objects that swap their keys have both changed
	f.exec("ALTER TABLE t_sites DROP CONSTRAINT t_sites_pkey CASCADE")
	f.expect("UPDATE t_sites SET id_site = 503 - id_site WHERE id_site IN (301, 202)", "U site 202", "U site 301")
	f.expect("UPDATE t_sites SET id_site = id_site WHERE id_site IN (301, 202)")
}

// The settings of the writing and announcing sessions make no difference.
func TestSettingsOfTheWriter(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{
		"standard_conforming_strings = off", "timezone = 'Pacific/Chatham'", "datestyle = 'German'", "search_path = ''", "search_path = pg_temp",
		"array_nulls = off", "quote_all_identifiers = on", "bytea_output = 'escape'", "client_encoding = 'LATIN1'", "plpgsql.extra_errors = 'all'",
		"transform_null_equals = on", "default_transaction_isolation = 'serializable'", "lc_messages = 'C'", "work_mem = '64kB'", "enable_hashjoin = off",
		"plan_cache_mode = force_generic_plan", "constraint_exclusion = on", "check_function_bodies = off", "row_security = off", "intervalstyle = 'iso_8601'",
		"backslash_quote = off", "escape_string_warning = off", "xmloption = document", "jit = on", "jit_above_cost = 0", "extra_float_digits = -15", "terasocket.xid = 'x'",
	} {
		t.Run(settings, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			if _, err := f.conn.Exec(t.Context(), "SET "+settings); err != nil {
				t.Skipf("this PostgreSQL does not take it: %v", err)
			}
			if !strings.HasPrefix(settings, "client_encoding") {
				execOn(t, f.teller, "SET "+settings)
			}
			f.exec("BEGIN; INSERT INTO public.t_sessions (id_session, session_uuid, id_session_type, id_creator_user, session_name, session_start_datetime, session_duration, session_status, version_id) " +
				"VALUES (9000, 'u-9000', 1, 9, 'New', '2024-03-04T05:06:07.5Z', 0, 1, 1); INSERT INTO public.t_sessions_users VALUES (9000, 9000, 10, 1); COMMIT")
			events := f.log()
			mustEqual(t, "events", fmt.Sprint(events), "[C session 9000]")
			mustEqual(t, "audience", events[0].sees, []int32{9, 10})
			mustEqual(t, "start", events[0].Body["session_start_datetime"], any("2024-03-04T05:06:07.500000+00:00"))
			f.exec("BEGIN; UPDATE public.t_sites SET deleted_at = '2024-01-02 03:04:05+00' WHERE id_site = 1; UPDATE public.t_projects SET deleted_at = now() WHERE id_site = 1 AND deleted_at IS NULL; COMMIT")
			events = f.log()
			mustEqual(t, "events", fmt.Sprint(events), "[G site 1 G project 1 G project 2 G project 3]")
			mustEqual(t, "deleted_at", events[0].Body["deleted_at"], any("2024-01-02T03:04:05+00:00"))
			f.exec("RESET search_path")
		})
	}
}
