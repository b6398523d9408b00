-- Deliveries, the oldest first.
-- Each null for any: $1 bigint: a seq; $2 text: kind, and $3 the recipient's UUID; $4 and $5 timestamptz: not before, and before
-- Index: the primary key of deliveries, or deliveries_seqs
SELECT d.kind, d.uuid, d.principal, d.gateway, d.connection, d.opened, coalesce(d.address, ''), d.mode, d.frames,
       ARRAY(SELECT x FROM unnest(d.seqs) WITH ORDINALITY s (r, ord), LATERAL (VALUES (1, lower(s.r)), (2, upper(s.r) - 1)) v (i, x) ORDER BY s.ord, v.i),
       d.since, d.until
FROM   terasocket.deliveries d
WHERE  ($1::bigint IS NULL OR d.first_seq <= $1 AND d.last_seq >= $1 AND $1 <@ ANY (d.seqs))
AND    ($2::text IS NULL OR d.kind = $2 AND d.uuid IN ($3, lower($3)))
AND    ($4::timestamptz IS NULL OR d.until >= $4)
AND    ($5::timestamptz IS NULL OR d.since < $5)
ORDER  BY d.until, d.since, d.kind, d.uuid, d.connection, d.number
