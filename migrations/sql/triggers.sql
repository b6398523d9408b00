-- The triggers that call functions of our schema, those functions, and whether the triggers are on our tables. No parameters.
SELECT format('TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) AS object, 'ROUTINE ' || p.oid::regprocedure::text AS calls,
       c.relnamespace = 'terasocket'::regnamespace AS is_ours
FROM   pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
WHERE  p.pronamespace = 'terasocket'::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0
