-- How far the log reaches: the oldest seq, the transaction id below which others may have begun by then, the newest seq; 0
-- when there is none. No parameters.
-- Index: the primary key, from either end
SELECT coalesce(min(seq), 0),
       coalesce((SELECT greatest(e.xid, pg_snapshot_xmax(e.snapshot)) FROM terasocket.events e ORDER BY e.seq LIMIT 1), '0'),
       coalesce(max(seq), 0)
FROM   terasocket.events
