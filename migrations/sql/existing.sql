-- The functions and views of our schema, each with the transaction that last wrote it and whether a trigger on a foreign table calls it.
-- An index or trigger of our own tables is dropped with them. No parameters.
SELECT 'ROUTINE ' || p.oid::regprocedure::text AS object, p.oid::text || ' ' || p.xmin::text AS written,
       EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
               WHERE t.tgfoid = p.oid AND c.relnamespace <> p.pronamespace) AS is_called
FROM   pg_proc p
WHERE  p.pronamespace = 'terasocket'::regnamespace
UNION  ALL
SELECT 'VIEW ' || c.oid::regclass::text, c.oid::text || ' ' || r.xmin::text, false
FROM   pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
WHERE  c.relnamespace = 'terasocket'::regnamespace AND c.relkind = 'v'
