-- Where clients stand in the log that have heard these rows: the row, its transaction and snapshot, and a seq behind which
-- everything is that this snapshot does not see and the snapshot now does, which is the last column. Seqs are taken in the order of time (the sequence has no cache): who
-- began after the snapshot took higher ones than a row that it sees; who was running then is looked at.
-- $1 bigint[]: the cursors; one that the log does not hold gives no row
-- Index: the primary key, events_transaction
SELECT e.seq, e.xid, e.snapshot::text,
       least((SELECT min(r.seq) - 1
              FROM   pg_snapshot_xip(e.snapshot) running (xid)
              JOIN   terasocket.events r ON r.xid = running.xid AND r.seq < e.seq),
             coalesce((SELECT v.seq
                       FROM   terasocket.events v
                       WHERE  v.seq < e.seq AND v.xid <> e.xid AND pg_visible_in_snapshot(v.xid, e.snapshot)
                       ORDER  BY v.seq DESC
                       LIMIT  1), 0)),
       pg_current_snapshot()::text
FROM   terasocket.events e
WHERE  e.seq = ANY ($1)
