-- The rights that serve needs and a role lacks, one a row: on what serve uses directly, and on what is used by functions that
-- run with the caller's rights.
-- $1 oid of OpenTera's schema, $2 text[] functions that serve calls, $3 text: the role -> right, object, the statement that
-- grants it; for a missing function the right is '' and there is no statement
WITH RECURSIVE ours AS (
    SELECT n.oid FROM pg_namespace n WHERE n.nspname = 'terasocket'
), called AS (
    SELECT p.oid FROM pg_proc p, ours WHERE p.pronamespace = ours.oid AND p.proname = ANY ($2::text[])
    UNION
    SELECT q.oid
    FROM   called c
    JOIN   pg_proc p ON p.oid = c.oid AND NOT p.prosecdef,
           regexp_matches(p.prosrc, 'terasocket[.]([a-z_0-9]+)', 'g') word, ours, pg_proc q
    WHERE  q.pronamespace = ours.oid AND q.proname = word[1]
), named AS (
    SELECT word[1] AS namespace, word[2] AS name
    FROM   called c JOIN pg_proc p ON p.oid = c.oid AND NOT p.prosecdef,
           regexp_matches(p.prosrc, '(terasocket|)[.]([a-z_0-9]+)', 'g') word
), needed (what, object, priority) AS (
    SELECT 'USAGE', quote_ident(n.nspname), 1 FROM pg_namespace n
    WHERE  (n.nspname = 'terasocket' OR n.oid = $1::oid) AND NOT has_schema_privilege($3::text, n.oid, 'USAGE')
    UNION ALL
    SELECT 'EXECUTE', c.oid::regprocedure::text, 2 FROM called c WHERE NOT has_function_privilege($3::text, c.oid, 'EXECUTE')
    UNION ALL
    SELECT '', 'terasocket.' || f.name, 0 FROM unnest($2::text[]) f (name), ours
    WHERE  NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = ours.oid AND p.proname = f.name)
    UNION ALL
    SELECT 'SELECT', q.oid::regclass::text, 3   -- number of unrecorded changes, for the metrics
    FROM   pg_class q, ours WHERE q.relnamespace = ours.oid AND q.relname = 'capture_errors_id_seq' AND NOT has_sequence_privilege($3::text, q.oid, 'SELECT')
    UNION ALL
    SELECT t.what, format('%I.%I', n.nspname, c.relname), 3
    FROM  (SELECT DISTINCT 'SELECT', CASE WHEN d.name ~ '^t_' THEN $1::oid ELSE ours.oid END, d.name
           FROM   named d, ours WHERE d.namespace = 'terasocket' OR d.name ~ '^t_'
           UNION  SELECT 'INSERT', ours.oid, 'deliveries' FROM ours WHERE 'keep_deliveries' = ANY ($2::text[])
           UNION  SELECT w.what, ours.oid, w.name
           FROM   ours, (VALUES ('SELECT', 'schema_migrations'), ('SELECT', 'functions'),
                                ('SELECT', 'events'), ('DELETE', 'events'), ('SELECT', 'epochs'), ('SELECT', 'trimmed'), ('UPDATE', 'trimmed'),
                                ('SELECT', 'announcer'), ('UPDATE', 'announcer'),   -- for LOCK TABLE
                                ('SELECT', 'holdings'), ('SELECT', 'told'), ('SELECT', 'aliases'), ('SELECT', 'changes'), ('SELECT', 'set_aside')) w (what, name)) t (what, namespace, name)
    JOIN   pg_class c     ON c.relnamespace = t.namespace AND c.relname = t.name AND c.relkind IN ('r', 'v', 'p')
    JOIN   pg_namespace n ON n.oid = c.relnamespace
    WHERE  NOT has_table_privilege($3::text, c.oid, t.what)
)
SELECT DISTINCT n.what, n.object, n.priority,
       CASE WHEN n.what <> '' THEN format('GRANT %s ON %s%s TO %I;', n.what, CASE n.what WHEN 'USAGE' THEN 'SCHEMA ' WHEN 'EXECUTE' THEN 'FUNCTION ' ELSE '' END, n.object, $3::text)
       ELSE '' END
FROM   needed n
ORDER  BY n.priority, n.what, n.object
