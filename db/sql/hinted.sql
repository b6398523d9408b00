-- The rows that hints point at, each with its snapshot, in the order of the hints (the order of the commits), then of seq.
-- $1 text[] xids, $2 bigint[] first seqs, $3 bigint[] last seqs, $4 how many rows at most
-- Index: events_transaction
SELECT e.seq, e.xid, e.at, e.topic, e.type, coalesce(e.op, ''), coalesce(e.object_type, ''), coalesce(e.object_id, 0),
       e.body::text, e.audience::text,
       CASE WHEN e.former_body IS NULL THEN '' ELSE e.former::text END, coalesce(e.former_body::text, ''), e.snapshot::text
FROM   unnest($1::text[]::xid8[], $2::bigint[], $3::bigint[]) WITH ORDINALITY h (xid, first, last, ord)
JOIN   terasocket.events e ON e.xid = h.xid AND e.seq BETWEEN h.first AND h.last
ORDER  BY h.ord, e.seq
LIMIT  $4
