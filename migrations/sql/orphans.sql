-- The trigger functions of our schema that no trigger calls. No parameters.
SELECT p.proname::text
FROM   pg_proc p
WHERE  p.pronamespace = 'terasocket'::regnamespace AND p.prorettype = 'trigger'::regtype
AND    NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)
