-- The rows that clients have heard last: seq, transaction and snapshot.
-- $1 bigint[]: the cursors; one that the log does not hold, or that is of another timeline, gives no row
-- Index: the primary key
SELECT e.seq, e.xid, e.snapshot::text
FROM   terasocket.events e
WHERE  e.seq = ANY ($1)
  AND  e.seq > (SELECT t.first_seq FROM terasocket.timeline t WHERE t.id = terasocket.this_timeline())
