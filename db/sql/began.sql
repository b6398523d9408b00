-- The lowest seq of each transaction that one of these cursors may not see, in the order of their ids. A transaction that
-- was running when a cursor was recorded may have taken lower seqs than it.
-- $1 bigint[]: the cursors
-- Index: events_transaction, from the oldest transaction that was running then
SELECT e.xid, min(e.seq)
FROM   terasocket.events e
WHERE  e.xid >= (SELECT min(pg_snapshot_xmin(c.snapshot)) FROM terasocket.events c WHERE c.seq = ANY ($1))
GROUP  BY e.xid
ORDER  BY e.xid
