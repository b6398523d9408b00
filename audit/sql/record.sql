-- Records deliveries; may be repeated. It needs only the right to INSERT.
-- $1 text: the gateway; arrays of $2 kinds, $3 UUIDs, $4 principals, $5 connections, $6 times of opening, $7 addresses, $8 modes, $9
-- numbers of frames, $10 ranges of seqs as text, $11 and $12 times, $13 the gateway's numbers of the rows
-- Index: the primary key of deliveries
INSERT INTO terasocket.deliveries (kind, uuid, principal, gateway, number, connection, opened, address, mode, frames, seqs, first_seq, last_seq, since, until)
SELECT d.kind, d.uuid, d.principal, $1::text, d.number, d.connection, d.opened, nullif(d.address, ''), d.mode, d.frames, d.seqs::int8range[],
       b.first_seq, b.last_seq, d.since, d.until
FROM   unnest($2::text[], $3::text[], $4::integer[], $5::bigint[], $6::timestamptz[], $7::text[], $8::text[], $9::integer[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::bigint[])
       d (kind, uuid, principal, connection, opened, address, mode, frames, seqs, since, until, number),
       LATERAL (SELECT min(lower(r)) AS first_seq, max(upper(r)) - 1 AS last_seq FROM unnest(d.seqs::int8range[]) r) b
ON CONFLICT DO NOTHING
