-- Checks the bodies of all functions, which is put off while they are made: one may use another that is made after it.
SET LOCAL check_function_bodies = on;
SELECT fmgr_sql_validator(p.oid) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE  p.pronamespace = 'terasocket'::regnamespace AND l.lanname = 'sql';
SELECT plpgsql_validator(p.oid) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE  p.pronamespace = 'terasocket'::regnamespace AND l.lanname = 'plpgsql'
