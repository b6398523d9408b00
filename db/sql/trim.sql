-- Deletes the oldest rows of the event log that are beyond its bounds; none while another gateway does.
-- $1 interval: how long rows are kept; $2 bigint: how many; $3 integer: how many to delete at most
-- Index: the primary key, from its low end
DELETE FROM terasocket.events
WHERE  seq IN (SELECT e.seq
               FROM   terasocket.events e
               WHERE  (SELECT pg_try_advisory_xact_lock(hashtextextended('terasocket trim', 0)))
                 AND  e.seq <= (SELECT coalesce(max(k.seq), 0)
                                FROM  (SELECT o.seq, o.at FROM terasocket.events o ORDER BY o.seq LIMIT $3) k
                                WHERE k.at < now() - $1::interval
                                   OR k.seq <= (SELECT max(m.seq) FROM terasocket.events m) - $2)
               ORDER  BY e.seq
               LIMIT  $3)
