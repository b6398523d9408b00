-- Gauges of the database, for one scrape. No parameters.
-- Result: used part of the notification queue (0 to 1); rows of the log, by their seqs; age of the oldest in seconds, 0 without rows;
-- unannounced changes, counted up to 10,000, and the age of the oldest in seconds; objects set aside; attempts to record a capture error,
-- including failed or rolled-back ones, null when this role may not know (GRANT SELECT ON SEQUENCE terasocket.capture_errors_id_seq).
-- Index: the primary keys of events and changes
WITH waiting AS MATERIALIZED (
    SELECT c.at
    FROM  (SELECT w.at FROM terasocket.changes w, terasocket.announcer a
           WHERE w.xid >= coalesce(pg_snapshot_xmax(a.snapshot), '0')
           UNION ALL
           SELECT w.at FROM terasocket.announcer a, pg_snapshot_xip(a.snapshot) x (xid), terasocket.changes w WHERE w.xid = x.xid) c
    LIMIT 10000
)
SELECT pg_notification_queue_usage(),
       (SELECT coalesce(sum(greatest(0, p.last - greatest(p.begin, t.seq))), 0)
        FROM  (SELECT e.begin, coalesce(lead(e.old_end) OVER (ORDER BY e.begin), a.last_seq) AS last
               FROM terasocket.epochs e, terasocket.announcer a) p, (SELECT * FROM terasocket.trimmed LIMIT 1) t)::bigint,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - e.at) FROM terasocket.events e, (SELECT * FROM terasocket.trimmed LIMIT 1) t
                 WHERE e.seq > t.seq ORDER BY e.seq LIMIT 1), 0)::float8,
       (SELECT count(*) FROM waiting),
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(w.at)) FROM waiting w), 0)::float8,
       (SELECT count(*) FROM terasocket.set_aside),
       CASE WHEN has_sequence_privilege('terasocket.capture_errors_id_seq', 'SELECT')
            THEN coalesce((SELECT last_value FROM pg_sequences WHERE schemaname = 'terasocket' AND sequencename = 'capture_errors_id_seq'), 0)
       END
