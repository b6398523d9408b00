-- Attach: a trigger function for each OpenTera table, generated from object_types and links, with static comparisons of the columns that
-- this OpenTera has. PostgreSQL records no dependency on any column: OpenTera's own ALTER TABLE ... DROP COLUMN succeeds, and
-- refresh_capture() generates the function again.
-- (No function contains a backslash: the writer may have turned standard_conforming_strings off.)

-- capture_tables: the captured tables that this OpenTera has.
CREATE OR REPLACE FUNCTION terasocket.capture_tables() RETURNS TABLE (table_name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.table_name FROM (SELECT o.table_name FROM terasocket.object_types o UNION SELECT l.table_name FROM terasocket.links l) t
    WHERE  to_regclass('OPENTERA.' || t.table_name) IS NOT NULL ORDER BY 1
$$;

-- columns_of: those of these columns that exist in the table, as expressions with an alias; types without equality as text.
CREATE OR REPLACE FUNCTION terasocket.columns_of(on_table regclass, alias text, keys text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format(CASE WHEN t.typname IN ('json', 'xml', 'point', 'line', 'box', 'path', 'polygon', 'circle') THEN '%s.%I::text' ELSE '%s.%I' END,
                             alias, a.attname), ', ' ORDER BY k.n)
    FROM   unnest(keys) WITH ORDINALITY k (key, n)
    JOIN   pg_attribute a ON a.attrelid = on_table AND a.attname = k.key AND a.attnum > 0 AND NOT a.attisdropped
    JOIN   pg_type t ON t.oid = a.atttypid
$$;

-- differs: an expression that is true if one of these columns differs between o and n.
CREATE OR REPLACE FUNCTION terasocket.differs(on_table regclass, keys text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce('ROW(' || terasocket.columns_of(on_table, 'o', keys) || ') IS DISTINCT FROM ROW(' || terasocket.columns_of(on_table, 'n', keys) || ')', 'false')
$$;

-- recording: statements that record changes of one kind, with the ids returned by a query. otherwise: what to do if one of them is null.
CREATE OR REPLACE FUNCTION terasocket.recording(what text, op text, rights boolean, query text, otherwise text DEFAULT NULL) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format($code$
        ids := ARRAY(%4$s);
        IF array_position(ids, NULL) IS NOT NULL THEN
            %5$s
        ELSIF cardinality(ids) BETWEEN 1 AND 1000 THEN   -- terasocket.record(), in its place
            INSERT INTO terasocket.changes (what, op, rights, ids) VALUES (%1$L, %2$L, %3$L, ids);
            PERFORM terasocket.hint(%1$L, %2$L, ids);
        ELSIF ids <> '{}' THEN
            PERFORM terasocket.record(%1$L, %2$L, %3$L, ids);
        END IF;$code$, what, op, rights, query, coalesce(otherwise, 'NULL;'))
$$;

-- capture_source: the body of a table's trigger function.
CREATE OR REPLACE FUNCTION terasocket.capture_source(table_name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    on_table   regclass := 'OPENTERA.' || capture_source.table_name;
    has_dead   boolean := EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = on_table AND a.attname = 'deleted_at' AND NOT a.attisdropped);
    o_lives    text := CASE WHEN has_dead THEN 'o.deleted_at IS NULL' ELSE 'true' END;
    n_lives    text := CASE WHEN has_dead THEN 'n.deleted_at IS NULL' ELSE 'true' END;
    ot         terasocket.object_types;
    link       terasocket.links;
    visible    text[];
    inserted   text := '';
    updated    text := '';
    deleted    text := '';
    truncated  text := '';
    failed     text := '';
    differs    text;
    more       text;
    changed    text;
    op         text;
    either     text;
BEGIN
    SELECT * INTO ot FROM terasocket.object_types o WHERE o.table_name = capture_source.table_name;
    IF FOUND THEN
        visible   := array_remove(ot.keys || ot.noticed_keys, ot.id_key);
        inserted  := terasocket.recording(ot.object_type, 'C', ot.rights_keys <> '{}',
                         format('SELECT n.%I::bigint FROM new_rows n WHERE %s', ot.id_key, n_lives));
        deleted   := terasocket.recording(ot.object_type, 'D', ot.rights_keys <> '{}',
                         format('SELECT o.%I::bigint FROM old_rows o WHERE %s', ot.id_key, o_lives));
        -- A changed primary key is a delete and a create; a change of a deleted row is recorded too: it may have been deleted in the same
        -- transaction. Nearly always a row stays alive with its rights; otherwise a second query reads more. (FULL JOIN: a nested loop
        -- must not be chosen for a statement of one row, since the cached plan also serves one of 20,000 rows.)
        differs   := terasocket.differs(on_table, visible);
        more      := CASE WHEN ot.rights_keys = '{}' THEN 'false' ELSE terasocket.differs(on_table, ot.rights_keys) END;
        changed   := format('old_rows o FULL JOIN new_rows n ON n.%1$I = o.%1$I WHERE %2$s OR %3$s',
                         ot.id_key, differs, terasocket.differs(on_table, ARRAY['deleted_at', ot.id_key]));
        updated   := terasocket.recording(ot.object_type, 'U', false,
            format('SELECT CASE WHEN n.%1$I = o.%1$I AND (%2$s) = (%3$s) AND NOT (%4$s) THEN n.%1$I::bigint END FROM %5$s', ot.id_key, o_lives, n_lives, more, changed),
            format($code$SELECT array_agg(coalesce(n.%1$I, o.%1$I)::bigint),
                   array_agg(CASE WHEN o.%1$I IS NULL THEN 'C' WHEN n.%1$I IS NULL THEN 'D' WHEN (%2$s) = (%3$s) OR %4$s THEN 'U' WHEN %2$s THEN 'S' ELSE 'R' END),
                   array_agg(%5$L AND (o.%1$I IS NULL OR n.%1$I IS NULL OR %6$s)) INTO ids, ops, rights FROM %7$s;
            PERFORM terasocket.record_many(%8$L, ids, ops, rights);$code$,
            ot.id_key, o_lives, n_lives, differs, ot.rights_keys <> '{}', more, changed, ot.object_type));
        truncated := format('PERFORM terasocket.record(%L, ''T'', %L, NULL);', ot.object_type, ot.rights_keys <> '{}');
        failed    := terasocket.failing(ot.object_type, ot.id_key);
    END IF;
    FOR link IN SELECT * FROM terasocket.links l WHERE l.table_name = capture_source.table_name ORDER BY l.what LOOP
        -- OpenTera tests a service's links for deletion after an outer join: deleted ones count too
        op        := CASE WHEN link.is_announced THEN 'L' ELSE 'l' END;
        either    := CASE WHEN link.what = 'service' THEN 'true' ELSE '(' || o_lives || ' OR ' || n_lives || ')' END;
        inserted  := inserted || terasocket.recording(link.what, op, link.rights,
            format('SELECT DISTINCT n.%1$I::bigint FROM new_rows n WHERE n.%1$I IS NOT NULL AND (%2$s)', link.id_key, CASE WHEN link.what = 'service' THEN 'true' ELSE n_lives END));
        deleted   := deleted || terasocket.recording(link.what, op, link.rights,
            format('SELECT DISTINCT o.%1$I::bigint FROM old_rows o WHERE o.%1$I IS NOT NULL AND (%2$s)', link.id_key, CASE WHEN link.what = 'service' THEN 'true' ELSE o_lives END));
        updated   := updated || terasocket.recording(link.what, op, link.rights, format($code$
                SELECT DISTINCT i.id::bigint
                FROM   old_rows o FULL JOIN new_rows n ON n.%2$I = o.%2$I, LATERAL (VALUES (o.%1$I), (n.%1$I)) i (id)
                WHERE  i.id IS NOT NULL AND (%3$s) AND (%4$s)$code$,
            link.id_key, terasocket.primary_key(on_table), terasocket.differs(on_table, ARRAY['deleted_at', link.id_key] || link.keys), either));
        truncated := truncated || format(' PERFORM terasocket.record(%L, %L, %L, NULL);', link.what, op, link.rights);
        failed    := failed || terasocket.failing(link.what, link.id_key);
    END LOOP;
    RETURN format($code$
DECLARE
    ids     bigint[];
    ops     text[];
    rights  boolean[];
    changed bigint[];
    state text; message text; context text;
BEGIN
    -- terasocket.changes_overflow(), in its place: a call costs as much as all of this
    IF pg_relation_size('terasocket.changes') > (CASE WHEN current_setting('terasocket.max_changes_bytes', true) ~ '^[0-9]{1,15}$'
        THEN current_setting('terasocket.max_changes_bytes')::bigint ELSE 1073741824 END) THEN
        -- no gateway has run for long: the next one begins anew
        INSERT INTO terasocket.changes (what, op) VALUES ('everything', 'U');
    ELSIF TG_OP = 'INSERT' THEN%s
    ELSIF TG_OP = 'UPDATE' THEN%s
    ELSIF TG_OP = 'DELETE' THEN%s
    ELSE
        %s
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN serialization_failure OR deadlock_detected THEN
        RAISE;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;%s
        RETURN NULL;
END $code$, inserted, updated, deleted, truncated, failed);
END $$;

-- failing: what a trigger function does if it cannot record changes: the ids of the statement, up to 100,000, go to capture_errors.
CREATE OR REPLACE FUNCTION terasocket.failing(what text, id_key text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format($code$
        changed := NULL;
        BEGIN
            IF TG_OP IN ('INSERT', 'UPDATE') THEN
                changed := changed || ARRAY(SELECT DISTINCT n.%2$I::bigint FROM new_rows n WHERE n.%2$I IS NOT NULL LIMIT 100001);
            END IF;
            IF TG_OP IN ('UPDATE', 'DELETE') THEN
                changed := changed || ARRAY(SELECT DISTINCT o.%2$I::bigint FROM old_rows o WHERE o.%2$I IS NOT NULL LIMIT 100001);
            END IF;
        EXCEPTION WHEN undefined_column THEN
            NULL;   -- all of that type
        END;
        PERFORM terasocket.capture_failed(TG_TABLE_NAME, TG_OP, state, message, context, %1$L, 
            CASE WHEN cardinality(changed) <= 100000 THEN ARRAY(SELECT DISTINCT i.id FROM unnest(changed) i (id) ORDER BY 1) END);$code$,
        what, id_key)
$$;

-- primary_key: the name of its column.
CREATE OR REPLACE FUNCTION terasocket.primary_key(on_table regclass) RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE  i.indrelid = on_table AND i.indisprimary
$$;

-- generate_capture: creates the trigger function of a table, or replaces it if it would differ. Touches no table.
CREATE OR REPLACE FUNCTION terasocket.generate_capture(table_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name    text := 'capture_' || generate_capture.table_name;
    source  text := format('CREATE OR REPLACE FUNCTION terasocket.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
                           'SET search_path = pg_catalog, pg_temp SET lock_timeout = ''100ms'' SET jit = off AS %L',
                           name, terasocket.capture_source(generate_capture.table_name));
    mark    text := 'generated by terasocket.generate_capture(): ' || md5(source);
BEGIN
    IF EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'terasocket'::regnamespace AND p.proname = name AND obj_description(p.oid, 'pg_proc') = mark) THEN
        RETURN false;
    END IF;
    EXECUTE source;
    EXECUTE format('COMMENT ON FUNCTION terasocket.%I() IS %L', name, mark);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION terasocket.%I() FROM PUBLIC', name);
    RETURN true;
END $$;

-- wanted_triggers: the triggers of a captured table.
CREATE OR REPLACE FUNCTION terasocket.wanted_triggers(table_name text) RETURNS TABLE (name text, definition text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'terasocket_' || lower(w.op),
           format('AFTER %s ON OPENTERA.%I %s FOR EACH STATEMENT EXECUTE FUNCTION terasocket.%I()', w.op, wanted_triggers.table_name, w.tables,
                  'capture_' || wanted_triggers.table_name)
    FROM  (VALUES ('INSERT', 'REFERENCING NEW TABLE AS new_rows'), ('UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'),
                  ('DELETE', 'REFERENCING OLD TABLE AS old_rows'), ('TRUNCATE', '')) w (op, tables)
$$;

-- missing_triggers: our triggers that are missing or disabled on OpenTera's tables.
CREATE OR REPLACE FUNCTION terasocket.missing_triggers() RETURNS TABLE (table_name text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.table_name, w.name
    FROM   terasocket.capture_tables() t, LATERAL terasocket.wanted_triggers(t.table_name) w
    WHERE  NOT EXISTS (SELECT FROM pg_trigger g
                       WHERE g.tgrelid = to_regclass('OPENTERA.' || t.table_name) AND g.tgname = w.name AND g.tgenabled IN ('O', 'A')
                         AND g.tgfoid = to_regproc('terasocket.capture_' || t.table_name))
$$;

-- attach_table: creates the trigger function of a table, and its triggers if they are missing. Only then does it lock the table, waiting
-- up to lock_timeout: SHARE ROW EXCLUSIVE, which does not conflict with OpenTera's main session. (DROP TRIGGER does: it is for PostgreSQL
-- 13, which cannot replace a trigger that is disabled or calls another function.)
CREATE OR REPLACE FUNCTION terasocket.attach_table(table_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    PERFORM terasocket.generate_capture(attach_table.table_name);
    FOR t IN SELECT w.* FROM terasocket.wanted_triggers(attach_table.table_name) w
             JOIN terasocket.missing_triggers() m ON m.table_name = attach_table.table_name AND m.name = w.name LOOP
        IF current_setting('server_version_num')::integer >= 140000 THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER %I %s', t.name, t.definition);
        ELSE
            EXECUTE format('DROP TRIGGER IF EXISTS %I ON OPENTERA.%I', t.name, attach_table.table_name);
            EXECUTE format('CREATE TRIGGER %I %s', t.name, t.definition);
        END IF;
    END LOOP;
END $$;

-- refresh_capture: generates the trigger functions again whose tables have other columns now, and returns how many. Gateways call it
-- every minute; one at a time works: the one that locks the row of terasocket.functions.
CREATE OR REPLACE FUNCTION terasocket.refresh_capture() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM terasocket.functions FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    RETURN (SELECT count(*) FROM terasocket.capture_tables() t WHERE terasocket.generate_capture(t.table_name));
END $$;

-- detach: drops the triggers and the generated functions.
CREATE OR REPLACE FUNCTION terasocket.detach() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT g.tgname, g.tgrelid::regclass AS on_table
             FROM   pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
             WHERE  p.pronamespace = 'terasocket'::regnamespace AND NOT g.tgisinternal
               AND  g.tgrelid NOT IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'terasocket'::regnamespace)
             ORDER  BY 2, 1 LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.on_table);
    END LOOP;
    FOR t IN SELECT p.oid::regprocedure AS function FROM pg_proc p
             WHERE p.pronamespace = 'terasocket'::regnamespace AND obj_description(p.oid, 'pg_proc') LIKE 'generated by terasocket.generate_capture()%' LOOP
        EXECUTE format('DROP FUNCTION %s', t.function);
    END LOOP;
END $$;

-- our_indexes: OpenTera has no index on any foreign key. These are the ones that the rules follow.
CREATE OR REPLACE FUNCTION terasocket.our_indexes() RETURNS TABLE (index_name text, table_name text, column_name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'terasocket_' || i.table_name || '_' || i.column_name, i.table_name, i.column_name
    FROM  (VALUES
        ('t_users_users_groups', 'id_user'), ('t_users_users_groups', 'id_user_group'),
        ('t_services_access', 'id_user_group'), ('t_services_access', 'id_service_role'),
        ('t_services_roles', 'id_project'), ('t_services_roles', 'id_site'), ('t_services_roles', 'id_service'),
        ('t_projects', 'id_site'), ('t_services_projects', 'id_service'), ('t_services_sites', 'id_service'),
        ('t_devices_sites', 'id_device'), ('t_devices_participants', 'id_device'), ('t_devices_participants', 'id_participant'),
        ('t_sessions_types_sites', 'id_session_type'), ('t_tests_types_sites', 'id_test_type'),
        ('t_sessions', 'id_creator_participant'), ('t_sessions_users', 'id_session'), ('t_sessions_participants', 'id_session'),
        ('t_sessions_participants', 'id_participant'), ('t_sessions_devices', 'id_session'), ('t_sessions_devices', 'id_device'),
        ('t_assets', 'id_session'), ('t_tests', 'id_session'), ('t_tests', 'id_test_type'),
        ('t_tests_invitations', 'id_participant'), ('t_tests_invitations', 'id_session')) i (table_name, column_name)
    JOIN   pg_attribute a ON a.attrelid = to_regclass('OPENTERA.' || i.table_name) AND a.attname = i.column_name AND NOT a.attisdropped
$$;

-- wanted_indexes: the statements that create the missing ones. They cannot run in a transaction.
CREATE OR REPLACE FUNCTION terasocket.wanted_indexes() RETURNS TABLE (index_name text, statement text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.index_name, format('CREATE INDEX CONCURRENTLY %I ON OPENTERA.%I (%I)', o.index_name, o.table_name, o.column_name)
    FROM   terasocket.our_indexes() o
    WHERE  NOT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = to_regclass('OPENTERA.' || o.index_name) AND i.indisvalid)
$$;
