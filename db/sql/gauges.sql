-- What operators want to know of the database, for one scrape. No parameters.
-- Result: used part of the queue of notifications (0 to 1); rows of the event log, by their numbers; age of its oldest
-- row in seconds, 0 without rows; attempts to record an error of capture, those that were rolled back or failed too, null
-- when this role may not know (GRANT SELECT ON SEQUENCE terasocket.capture_errors_id_seq).
-- Index: events_pkey, from either end.
SELECT pg_notification_queue_usage(),
       coalesce((SELECT max(seq) FROM terasocket.events) - (SELECT min(seq) FROM terasocket.events) + 1, 0),
       coalesce((SELECT extract(epoch FROM clock_timestamp() - at) FROM terasocket.events ORDER BY seq LIMIT 1), 0)::float8,
       CASE WHEN has_sequence_privilege('terasocket.capture_errors_id_seq', 'SELECT')
            THEN coalesce((SELECT last_value FROM pg_sequences WHERE schemaname = 'terasocket' AND sequencename = 'capture_errors_id_seq'), 0)
       END
