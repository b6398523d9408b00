-- What kind of database this is, and who owns OpenTera's tables. No parameters.
-- The schema is '' if this role sees no t_users. A superuser may become any role.
SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'), pg_backend_pid(), pg_is_in_recovery(),
       coalesce(n.nspname, ''), coalesce(n.owner, ''), coalesce(n.owners, '{}'), session_user::text, coalesce(n.may_become, false),
       coalesce((SELECT s.nspowner::regrole::text FROM pg_namespace s WHERE s.nspname = 'terasocket'), ''),
       current_setting('deadlock_timeout')::interval
FROM   (VALUES (1)) one
LEFT   JOIN (SELECT t.relnamespace::regnamespace::text AS nspname, t.relowner::regrole::text AS owner,
                    pg_has_role(t.relowner, 'MEMBER') AS may_become,
                    (SELECT array_agg(DISTINCT c.relowner::regrole::text) FROM pg_class c
                     WHERE c.relnamespace = t.relnamespace AND c.relkind IN ('r', 'p') AND c.relname ~ '^t_') AS owners
             FROM pg_class t WHERE t.oid = to_regclass('t_users')) n ON true
