-- The triggers that must be there and are not, or do not fire: one row a table.
-- $1 oid of OpenTera's schema -> table, is_ours (a table of terasocket's), missing names, disabled names
WITH link (table_name) AS (VALUES
    ('t_devices_sites'), ('t_services_projects'), ('t_services_sites'), ('t_sessions_users'), ('t_sessions_participants'),
    ('t_sessions_types_sites'), ('t_tests_types_sites')
), expected (namespace, table_name, trigger_name, function_name) AS (
    SELECT $1::oid, o.table_name, t.trigger_name, t.function_name
    FROM   terasocket.object_types o,
           (VALUES ('terasocket_insert', 'capture'), ('terasocket_update', 'capture'), ('terasocket_delete', 'capture'),
                   ('terasocket_truncate', 'capture_truncate'), ('terasocket_remember', 'remember_deleted')) t (trigger_name, function_name)
    WHERE  t.trigger_name <> 'terasocket_remember' OR o.seen_through
    UNION ALL
    SELECT $1::oid, l.table_name, t.trigger_name, 'capture_link'
    FROM   link l, (VALUES ('terasocket_link_insert'), ('terasocket_link_update'), ('terasocket_link_delete')) t (trigger_name)
    UNION ALL
    SELECT $1::oid, r.table_name, 'terasocket_rights', 'note_rights'
    FROM   (VALUES ('t_users_users_groups'), ('t_services_access'), ('t_services_roles'), ('t_sessions_devices')) r (table_name)
    UNION ALL
    SELECT n.oid, o.table_name, o.trigger_name, o.function_name
    FROM   pg_namespace n,
           (VALUES ('events', 'notify', 'notify_events'), ('events', 'end_grace', 'end_grace'), ('pending', 'settle', 'settle')) o (table_name, trigger_name, function_name)
    WHERE  n.nspname = 'terasocket'
), found AS (
    SELECT e.namespace, e.table_name, e.trigger_name, g.tgenabled
    FROM   expected e
    JOIN   pg_class c        ON c.relnamespace = e.namespace AND c.relname = e.table_name
    LEFT   JOIN (pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid AND p.pronamespace = 'terasocket'::regnamespace)
           ON g.tgrelid = c.oid AND g.tgname = e.trigger_name AND p.proname = e.function_name
)
SELECT f.table_name::text, f.namespace <> $1::oid,
       coalesce(array_agg(f.trigger_name::text ORDER BY f.trigger_name) FILTER (WHERE f.tgenabled IS NULL), '{}'),
       coalesce(array_agg(f.trigger_name::text ORDER BY f.trigger_name) FILTER (WHERE f.tgenabled IN ('D', 'R')), '{}')
FROM   found f
GROUP  BY f.namespace, f.table_name
HAVING bool_or(f.tgenabled IS NULL OR f.tgenabled IN ('D', 'R'))
ORDER  BY f.table_name
