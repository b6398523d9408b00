-- Whether the log holds everything that a client may have missed.
-- $1 bigint: the client's cursor
-- Result: the epoch; whether the log holds everything after the cursor, and the rights before it that were not settled there, and the
-- cursor was given out in the past that this database holds; the oldest seq in the log, 0 when it is empty. What was missed before an
-- epoch that begins with a gap (the memory of announcements was refilled) is not in the log.
-- Index: the primary keys of epochs and events; events_aliases
SELECT coalesce((SELECT max(p.begin) FROM terasocket.epochs p), 0),
       $1 >= t.seq AND $1 <= a.last_seq
       AND (t.is_settled OR EXISTS (SELECT FROM terasocket.events e WHERE e.type IN ('terasocket.Alias', 'terasocket.Settled') AND e.type = 'terasocket.Settled'
                                    AND e.seq > t.seq AND e.seq <= $1))
       AND NOT EXISTS (SELECT FROM terasocket.epochs p WHERE (p.old_end < $1 OR p.is_gap) AND $1 < p.begin),
       coalesce((SELECT min(e.seq) FROM terasocket.events e WHERE e.seq > t.seq), 0)
FROM   (SELECT * FROM terasocket.trimmed LIMIT 1) t, terasocket.announcer a
