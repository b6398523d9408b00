-- What clients may have missed: every row of a transaction that had not ended in a snapshot, each with the snapshot now.
-- $1 text: the snapshot; $2 bigint: rows behind this seq; $3: how many at most
-- Index: the primary key
SELECT e.seq, e.xid, e.at, e.topic, e.type, coalesce(e.op, ''), coalesce(e.object_type, ''), coalesce(e.object_id, 0),
       e.body::text, e.audience::text,
       CASE WHEN e.former_body IS NULL THEN '' ELSE e.former::text END, coalesce(e.former_body::text, ''),
       pg_current_snapshot()::text
FROM   terasocket.events e
WHERE  e.seq > $2 AND NOT pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot)
ORDER  BY e.seq
LIMIT  $3
