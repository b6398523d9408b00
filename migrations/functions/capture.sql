-- Capture: records in the writer's transaction that something changed. No body, no keys, no audience: announce() computes those from the
-- committed state. attach_table() creates a trigger function for each table (file attach.sql).
--
-- It never makes OpenTera's own write fail, nor wait longer than its lock_timeout: errors are recorded in capture_errors, with the ids,
-- and the change is announced from there. Only serialization failures and deadlocks (40001, 40P01) are raised, since they are the
-- writer's own.

-- hint: one NOTIFY: {"xid": "771", "what": "participant", "op": "U", "ids": [12]}, always under 8,000 bytes. Nothing is sent while a
-- gateway polls (file poll.sql), when the notification queue is half full (some listener is stuck; a full queue makes commits fail), or
-- after SET terasocket.notify = off (a transaction that has notified cannot be prepared): gateways then find the change by themselves.
-- The transaction has an id before it checks whether a gateway polls. A time more than a second ahead comes from another clock.
CREATE OR REPLACE FUNCTION terasocket.hint(what text, op text, ids bigint[]) RETURNS void
LANGUAGE sql AS $$   -- inlined into the calling statement
    SELECT CASE WHEN current_setting('terasocket.notify', true) IS DISTINCT FROM 'off'
        AND (pg_sequence_last_value('terasocket.polled_until') - date_part('epoch', clock_timestamp()) * 1000000 BETWEEN 0 AND 1000000) IS NOT TRUE
        AND pg_notification_queue_usage() < 0.5
        THEN pg_notify('terasocket', format('{"xid": "%s", "what": "%s", "op": "%s"%s}', pg_current_xact_id(), what, op,
            CASE WHEN cardinality(ids) <= 100 THEN ', "ids": [' || array_to_string(ids, ', ') || ']' END)) END
$$;

-- record: records a change outside of the generated functions.
CREATE OR REPLACE FUNCTION terasocket.record(what text, op text, rights boolean, ids bigint[], body jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO terasocket.changes (what, op, rights, ids, body)
    SELECT record.what, record.op, record.rights, array_agg(i.id ORDER BY i.n), record.body
    FROM   unnest(record.ids) WITH ORDINALITY i (id, n)
    GROUP  BY (i.n - 1) / 1000
    UNION ALL
    SELECT record.what, record.op, record.rights, NULL, record.body WHERE record.ids IS NULL;
    PERFORM terasocket.hint(record.what, record.op, record.ids);
END $$;

-- record_many: the changes of one statement, 1,000 ids of the same kind per row.
CREATE OR REPLACE FUNCTION terasocket.record_many(what text, ids bigint[], ops text[], rights boolean[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO terasocket.changes (what, op, rights, ids)
    SELECT record_many.what, d.op, d.rights, array_agg(d.id ORDER BY d.id)
    FROM  (SELECT d.*, (row_number() OVER (PARTITION BY d.op, d.rights ORDER BY d.id) - 1) / 1000 AS part
           FROM unnest(record_many.ids, record_many.ops, record_many.rights) d (id, op, rights)) d
    GROUP  BY d.op, d.rights, d.part
    ORDER  BY d.op <> 'D';   -- an object that takes over the UUID of another must follow it
    PERFORM terasocket.hint(record_many.what, record_many.ops[1], NULL);
END $$;

-- changes_overflow: whether changes exceeds its bound: the setting terasocket.max_changes_bytes (ALTER DATABASE ... SET), 1 GiB unless
-- set.
CREATE OR REPLACE FUNCTION terasocket.changes_overflow() RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    setting text := nullif(current_setting('terasocket.max_changes_bytes', true), '');
BEGIN
    RETURN pg_relation_size('terasocket.changes') > CASE WHEN setting ~ '^[0-9]{1,15}$' THEN setting::bigint ELSE 1073741824 END;
END $$;

-- capture_failed: records an error, and what has to be announced because of it: ids, or the whole type (null).
CREATE OR REPLACE FUNCTION terasocket.capture_failed(table_name text, op text, state text, message text, context text, what text, ids bigint[])
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'terasocket: % of % was not recorded as it should: % (SQLSTATE %)', op, table_name, message, state
        USING HINT = 'OpenTera''s own write is not affected. See terasocket.capture_errors.';
    INSERT INTO terasocket.capture_errors (table_name, op, sqlstate, message, context, what, ids)
    VALUES (table_name, op, state, message, context, what, ids);
EXCEPTION
    WHEN serialization_failure OR deadlock_detected THEN
        RAISE;
    WHEN OTHERS THEN
        RAISE WARNING 'terasocket: could not record that either: %', SQLERRM;
END $$;
