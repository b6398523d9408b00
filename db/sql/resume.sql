-- What a client may have missed: every row of a transaction that had not ended when the row of its cursor was recorded.
-- $1 text: the snapshot of that row; $2 bigint: the cursor; $3 bigint: rows behind this seq; $4: how many at most
-- Index: events_transaction, or the primary key
SELECT e.seq, e.xid, e.at, e.topic, e.type, coalesce(e.op, ''), coalesce(e.object_type, ''), coalesce(e.object_id, 0),
       e.body::text, e.audience::text,
       CASE WHEN e.former_body IS NULL THEN '' ELSE e.former::text END, coalesce(e.former_body::text, '')
FROM   terasocket.events e
WHERE  e.xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot)
  AND  e.seq <> $2 AND e.seq > $3
ORDER  BY e.seq
LIMIT  $4
