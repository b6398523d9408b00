-- The enabled subscription of logical replication that writes OpenTera's tables or our log in this database. No parameters.
-- Result: its name, '' for none
SELECT coalesce(min(u.subname), '')::text
FROM   pg_subscription u
JOIN   pg_stat_subscription s ON s.subname = u.subname
JOIN   pg_subscription_rel r ON r.srsubid = s.subid AND r.srrelid IN (to_regclass('t_users'), to_regclass('terasocket.events'))
WHERE  u.subenabled AND u.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
