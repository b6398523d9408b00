-- Whether the log holds all that a client may have missed.
-- $1 bigint: the last seq that the client has heard
-- Result: the epoch; whether the log holds everything behind the client's seq, which was given out in the past that this
-- database holds; the oldest seq that it holds, 0 when there is none. What was missed before an epoch that begins with a gap
-- (the memory of announcements was filled anew) is not in the log.
-- Index: the primary keys of epochs and events
SELECT coalesce((SELECT max(p.begin) FROM terasocket.epochs p), 0),
       $1 >= t.seq AND $1 <= a.last_seq
       AND NOT EXISTS (SELECT FROM terasocket.epochs p WHERE (p.old_end < $1 OR p.is_gap) AND $1 < p.begin),
       coalesce((SELECT min(e.seq) FROM terasocket.events e WHERE e.seq > t.seq), 0)
FROM   terasocket.trimmed t, terasocket.announcer a
