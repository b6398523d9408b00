-- The snapshot now, the seqs of all rows that the cursor does not see, ascending, the oldest seq of the log, 0 when there is
-- none, and whether a row is there.
-- $1 text: the cursor, a pg_snapshot; $2 text: only rows that this other snapshot sees, or null for all; $3 bigint: that row
-- Index: events_transaction, twice: a transaction that is open for hours does not make this read hours of the log
SELECT pg_current_snapshot()::text,
       ARRAY(SELECT m.seq
             FROM  (SELECT e.seq, e.xid
                    FROM   pg_snapshot_xip($1::text::pg_snapshot) running (xid)
                    JOIN   terasocket.events e ON e.xid = running.xid
                    UNION  ALL
                    SELECT e.seq, e.xid
                    FROM   terasocket.events e
                    WHERE  e.xid >= pg_snapshot_xmax($1::text::pg_snapshot)
                      AND  e.xid < coalesce(pg_snapshot_xmax($2::text::pg_snapshot), '9223372036854775807'::xid8)) m
             WHERE  $2::text IS NULL OR pg_visible_in_snapshot(m.xid, $2::text::pg_snapshot)
             ORDER  BY m.seq),
       coalesce((SELECT min(seq) FROM terasocket.events), 0),
       EXISTS (SELECT FROM terasocket.events e WHERE e.seq = $3)
