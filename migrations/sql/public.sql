-- The statement that revokes EXECUTE on our functions from PUBLIC, '' if it has none. No parameters.
SELECT coalesce('REVOKE EXECUTE ON ROUTINE ' || string_agg(p.oid::regprocedure::text, ', ') || ' FROM PUBLIC', '')
FROM   pg_proc p
WHERE  p.pronamespace = 'terasocket'::regnamespace
AND    (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))
