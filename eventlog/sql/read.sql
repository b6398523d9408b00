-- The rows of the log after a seq, in order, each with the state of the log; one row without an event when there is none.
-- $1 bigint: the seq; $2 bigint: the last seq to return; $3 integer: maximum number of rows
-- Result: the epoch; the highest trimmed seq; in the first row, the snapshot of the last complete announcement, or null; then the row as
-- event.Record has it, its seq 0 when there is none.
-- Index: the primary key of events
SELECT s.epoch, s.trimmed, CASE WHEN coalesce(e.seq, $1::bigint + 1) = $1::bigint + 1 THEN s.snapshot END,
       coalesce(e.seq, 0), coalesce(e.announcement, 0), coalesce(e.at, 'epoch'), coalesce(e.topic, ''), coalesce(e.type, ''),
       coalesce(e.op, ''), coalesce(e.object_type, ''), coalesce(e.object_id, 0), coalesce(e.body::text, ''),
       coalesce(e.gone::text, ''), coalesce(e.present::text, ''), coalesce(e.former::text, ''), coalesce(e.former_as_of, 0)
FROM   (SELECT coalesce((SELECT max(p.begin) FROM terasocket.epochs p), 0) AS epoch, t.seq AS trimmed, a.snapshot::text AS snapshot
        FROM   (SELECT * FROM terasocket.trimmed LIMIT 1) t, terasocket.announcer a) s   -- LIMIT: without statistics the planner estimates 2,000 rows
LEFT   JOIN LATERAL (
        SELECT * FROM terasocket.events v
        WHERE  v.seq > greatest($1, s.trimmed) AND v.seq <= $2   -- skips the dead rows of what was trimmed
        ORDER  BY v.seq LIMIT $3) e ON true
ORDER  BY e.seq
