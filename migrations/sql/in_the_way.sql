-- Who else holds a lock on one of these tables, or, if asked, an old snapshot: the oldest transactions first, at most five. Only a
-- superuser or a member of pg_read_all_stats sees more than the pid of other roles' sessions.
-- $1 text[]: tables, as regclass. $2 boolean: old snapshots too
SELECT format('pid %s (%s, %s%s)', a.pid, coalesce(nullif(a.application_name, ''), a.usename, 'unknown'), coalesce(a.state, 'unknown state'),
              ' since ' || to_char(coalesce(a.xact_start, a.query_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
FROM   pg_stat_activity a
WHERE  a.pid <> pg_backend_pid() AND a.datname = current_database() AND a.application_name <> 'terasocket migrate'
AND    (EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted AND l.locktype = 'relation'
                AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                AND l.relation IN (SELECT to_regclass(t) FROM unnest($1::text[]) t))
     OR $2 AND a.backend_xmin IS NOT NULL)
ORDER  BY a.xact_start NULLS LAST
LIMIT  5
