-- The privileges of roles other than the owner on functions and views of our schema: the object, and the GRANT statement. No parameters.
SELECT p.oid::regprocedure::text AS object, true AS is_routine,
       format('GRANT %s ON ROUTINE %s TO %s%s', a.privilege_type, p.oid::regprocedure, a.grantee::regrole,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS statement
FROM   pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
WHERE  p.pronamespace = 'terasocket'::regnamespace AND a.grantee <> 0 AND a.grantee <> p.proowner
UNION  ALL
SELECT c.oid::regclass::text, false,
       format('GRANT %s ON %s TO %s%s', a.privilege_type, c.oid::regclass,
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM   pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE  c.relnamespace = 'terasocket'::regnamespace AND c.relkind = 'v' AND a.grantee <> c.relowner
