-- These rows, each with its snapshot, in the order of seq.
-- $1 bigint[] seqs
-- Index: the primary key
SELECT e.seq, e.xid, e.at, e.topic, e.type, coalesce(e.op, ''), coalesce(e.object_type, ''), coalesce(e.object_id, 0),
       e.body::text, e.audience::text,
       CASE WHEN e.former_body IS NULL THEN '' ELSE e.former::text END, coalesce(e.former_body::text, ''), e.snapshot::text
FROM   terasocket.events e
WHERE  e.seq = ANY ($1)
ORDER  BY e.seq
