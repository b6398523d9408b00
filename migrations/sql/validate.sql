-- Checks the bodies of all functions. Their creation skips that, since one may use another that is created after it.
DO $do$
DECLARE
    f     record;
BEGIN
    SET LOCAL check_function_bodies = on;
    FOR f IN SELECT p.oid, l.lanname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
             WHERE p.pronamespace = 'terasocket'::regnamespace AND l.lanname IN ('sql', 'plpgsql') ORDER BY 1 LOOP
        BEGIN
            IF f.lanname = 'sql' THEN
                PERFORM fmgr_sql_validator(f.oid);
            ELSE
                PERFORM plpgsql_validator(f.oid);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE EXCEPTION '%: %', f.oid::regprocedure, SQLERRM USING ERRCODE = SQLSTATE;
        END;
    END LOOP;
END $do$
