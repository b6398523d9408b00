-- Our indexes on OpenTera's tables, and whether they are valid: a failed CREATE INDEX CONCURRENTLY leaves an invalid one.
-- $1 text: the schema of OpenTera's tables
SELECT x.oid::regclass::text, i.indisvalid, x.relname::text, x.oid::text
FROM   pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
WHERE  x.relname ~ '^terasocket_' AND c.relnamespace = $1::regnamespace
ORDER  BY x.relname ~ '^terasocket_broken_' DESC, x.oid
