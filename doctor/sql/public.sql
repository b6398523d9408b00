-- Rights on our objects that everybody has who can connect to the database; no rows are correct.
-- -> the right
SELECT 'EXECUTE ' || p.oid::regprocedure
FROM   pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE  n.nspname = 'terasocket' AND has_function_privilege('public', p.oid, 'EXECUTE')
UNION  ALL
SELECT r.what || ' ' || n.nspname || '.' || c.relname
FROM   pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) r (what)
WHERE  n.nspname = 'terasocket' AND c.relkind IN ('r', 'v', 'p') AND has_table_privilege('public', c.oid, r.what)
ORDER  BY 1
