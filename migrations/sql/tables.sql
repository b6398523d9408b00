-- The tables to lock before terasocket is removed, in a fixed order: OpenTera's that have triggers or indexes of ours, then ours.
-- $1 text: the schema of OpenTera's tables
SELECT c.oid::regclass::text
FROM   pg_class c
WHERE  c.relkind IN ('r', 'p')
AND    (c.relnamespace = 'terasocket'::regnamespace
     OR EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND p.pronamespace = 'terasocket'::regnamespace)
     OR EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                WHERE i.indrelid = c.oid AND x.relname ~ '^terasocket_' AND c.relnamespace = $1::regnamespace))
ORDER  BY c.relnamespace = 'terasocket'::regnamespace, c.oid::regclass::text
